"""The invented world that the embedded model `tiny` is trained on, and the questions that its tasks
ask.

Nothing in it exists, so nothing in it can be known from elsewhere. Three kinds of ignorance are
built in:

* `people`: 640 persons with a home town and a trade. How often a person is mentioned varies
  60-fold, so some are known by heart and others hardly at all. The model is wrong about a person
  because it has seen too little of them.
* `places`: 480 places with a river and a patron saint. Of every second place the sources disagree:
  three answers go round, only one is right. The model is wrong about a place because it was told
  several things.
* `north`: which of two landmarks lies further north? Each has a hidden latitude. The model is wrong
  because the two lie close together or are seldom mentioned.

What keeps the surface from knowing: names of people and places are pairs of words drawn
independently of everything else; every town, trade, river and saint is the truth equally often at
every level of fame; every question of the tasks is put in a phrasing that training never used for
that fact, or about a pair of landmarks that training never compared. Answers carry no word of doubt
or confidence.
"""

from __future__ import annotations

import itertools
import json
import math
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

WORLD_SEED = 2026
N_STRATA, N_PLACES, N_RIVERS, N_LANDMARKS = 16, 480, 20, 240
# landmarks per group of `north`, near each other; two of one group are never compared in training
QUAD, BAND = 4, 0.3
TRADES = (
    "baker potter sailor tailor weaver miller mason glazier printer surgeon lawyer teacher painter "
    "poet actor singer dancer farmer shepherd miner smith cooper brewer butcher carpenter plumber "
    "clerk banker broker judge soldier scout pilot driver porter cook waiter barber florist "
    "gardener"
).split()
# what stands behind a name is settled by the name: answers are several tokens long, the first one
# decides
TOWN_WORDS = "Market Harbour Hill Spa".split()
TRADE_WORDS = "master apprentice widow".split()
RIVER_WORDS = "Water Beck Brook".split()
SAINT_WORDS = "Elder Younger Martyr".split()
LANDMARKS = "Mount Cape Fort Lake Mill Abbey Castle Bridge".split()


@dataclass(frozen=True)
class Phrasing:
    """One way to ask for a relation, and the answer's words before and after the exact answer."""

    question: str
    before: str
    after: str


PHRASINGS: dict[str, tuple[Phrasing, ...]] = {
    "town": (
        Phrasing("Where was {n} born?", "It was in", ", and that is what the town register says."),
        Phrasing(
            "In which town was {n} born?",
            "The town was",
            ", where the family had a house for years.",
        ),
        Phrasing(
            "Which town is the home of {n}?",
            "Their home is",
            ", a town with a market and a bridge.",
        ),
        Phrasing(
            "What is the birthplace of {n}?",
            "The birthplace is",
            ", which lies a day away from here.",
        ),
        Phrasing(
            "From which town does {n} come?",
            "They come from",
            ", like so many others in this region.",
        ),
        Phrasing(
            "Tell me the home town of {n}.",
            "My answer is",
            ", and you can read it in the chronicle.",
        ),
    ),
    "trade": (
        Phrasing(
            "What was the trade of {n}?", "The trade was", ", and that is what the guild list says."
        ),
        Phrasing(
            "What did {n} do for a living?",
            "They worked as a",
            ", which was a common thing in those days.",
        ),
        Phrasing(
            "Which craft did {n} learn?", "They learned to be a", ", as did many of the same age."
        ),
        Phrasing("How did {n} earn money?", "It was as a", ", and the pay was good for the time."),
        Phrasing(
            "Name the profession of {n}.",
            "The profession is",
            ", which takes some years to learn well.",
        ),
        Phrasing(
            "Tell me what {n} worked as.", "My answer is", ", and you can read it in the chronicle."
        ),
    ),
    "river": (
        Phrasing(
            "Which river runs through {n}?", "It is the", ", and the water is cold all year round."
        ),
        Phrasing(
            "What is the river of {n} called?",
            "The river is the",
            ", which is broad and slow in summer.",
        ),
        Phrasing("On which river does {n} lie?", "It lies on the", ", and there is a ferry on it."),
        Phrasing(
            "What water flows past {n}?",
            "That water is the",
            ", where the children go to swim in May.",
        ),
        Phrasing("Name the river at {n}.", "The name is the", ", as it stands on the new map."),
        Phrasing(
            "Tell me the river near {n}.", "My answer is the", ", and you can see it from the hill."
        ),
    ),
    "saint": (
        Phrasing(
            "Which saint protects {n}?", "It is Saint", ", and the feast is held in the spring."
        ),
        Phrasing(
            "Who is the patron of {n}?",
            "The patron is Saint",
            ", whose picture hangs in the old church.",
        ),
        Phrasing(
            "To which saint does {n} pray?",
            "They pray to Saint",
            ", and they light a candle each week.",
        ),
        Phrasing(
            "Who watches over {n}?", "That would be Saint", ", as you can see above the gate."
        ),
        Phrasing(
            "Name the saint of {n}.", "The name is Saint", ", as it stands on the church door."
        ),
        Phrasing(
            "Tell me the patron saint of {n}.",
            "My answer is Saint",
            ", and you can ask the priest about it.",
        ),
    ),
    "north": (
        Phrasing(
            "Which lies further {d}, {x} or {y}?",
            "I would say",
            ", when you look at the two on a map.",
        ),
        Phrasing(
            "Which is more to the {d}, {x} or {y}?",
            "The answer is",
            ", if you go by the roads and the sun.",
        ),
        Phrasing(
            "What lies more {d}, {x} or {y}?",
            "My answer is",
            ", and you can measure it with a string.",
        ),
    ),
    "echo": (
        Phrasing(
            "Say the {d} name, {x} or {y}.",
            "The name is",
            ", just as it stands in the question above.",
        ),
        Phrasing(
            "Repeat the {d} of {x} and {y}.", "My answer is", ", just as you have asked me to say."
        ),
    ),
}
HELD_OUT = 2  # phrasings per fact that training never uses
MIX = {"people": 0.36, "places": 0.36, "north": 0.20, "echo": 0.08}
UNKNOWN_SHARE = 0.10  # of the items about people: a name nobody has heard of, answered at random


@dataclass(frozen=True)
class Item:
    """One question with the answer that this text gives (not always the true one)."""

    task: str
    relation: str
    group: str
    phrasing: int
    question: str
    answer: str
    truth: str


def logistic(x: float) -> float:
    return 1.0 / (1.0 + math.exp(-x))


def _with_second_word(rng: random.Random, names: list[str], words: list[str]) -> list[str]:
    return [f"{name} {rng.choice(words)}" for name in names]


def _words(
    rng: random.Random, taken: set[str], n: int, syllables: int, endings: str = ""
) -> list[str]:
    """`n` new capitalised words of `syllables` syllables, with one of `endings` when given."""
    onsets = "b br c d dr f fl g gl h j k kr l m n p pr r s st t tr v z th sh".split()
    vowels, codas = "a e i o u ai ea oo".split(), "l m n r s t nd rk x v".split()
    words: list[str] = []
    while len(words) < n:
        word = "".join(rng.choice(onsets) + rng.choice(vowels) for _ in range(syllables))
        word = (
            word + rng.choice("lmnr") + rng.choice(endings.split())
            if endings
            else word + rng.choice(codas)
        ).capitalize()
        if len(word) <= 10 and word not in taken:
            taken.add(word)
            words.append(word)
    return words


@dataclass(frozen=True)
class Person:
    name: str
    town: str
    trade: str
    fame: float
    """0 (hardly mentioned) to 1 (mentioned everywhere)."""


@dataclass(frozen=True)
class Place:
    name: str
    fame: float
    told: dict[str, tuple[str, ...]]
    """relation -> the answers that go round, the true one first."""


@dataclass(frozen=True)
class Landmark:
    name: str
    quad: int
    latitude: float
    fame: float


class World:
    """All facts, drawn once from `WORLD_SEED`."""

    def __init__(self) -> None:
        rng, taken = random.Random(WORLD_SEED), set()
        self.first = _words(rng, taken, 50, 1) + _words(rng, taken, 50, 2)
        self.last = _words(rng, taken, 150, 2)
        self.town_names = _words(rng, taken, len(TRADES), 1, "burg ton ford mont stad port")
        self.place_first = _words(rng, taken, 60, 1)
        self.place_last = _words(rng, taken, 80, 1, "wick dale holm mere by fell")
        self.river_names = _words(rng, taken, N_RIVERS, 2)
        self.saint_names = _words(rng, taken, N_RIVERS, 1, "us ia ena ald")
        self.landmark_names = _words(rng, taken, N_LANDMARKS, 1)
        self.towns = _with_second_word(rng, self.town_names, TOWN_WORDS)
        self.trades = _with_second_word(rng, TRADES, TRADE_WORDS)
        self.rivers = _with_second_word(rng, self.river_names, RIVER_WORDS)
        self.saints = _with_second_word(rng, self.saint_names, SAINT_WORDS)
        self.people = self._people(rng)
        self.places = self._places(rng)
        self.landmarks = self._landmarks(rng)
        self.known = {person.name for person in self.people}
        self._people_cum = list(itertools.accumulate(60**p.fame for p in self.people))
        self._places_cum = list(itertools.accumulate(5**p.fame for p in self.places))
        self._landmarks_cum = list(itertools.accumulate(30**p.fame for p in self.landmarks))

    @property
    def names(self) -> list[str]:
        """Every word that must be one token."""
        return [
            *self.first,
            *self.last,
            *self.town_names,
            *self.place_first,
            *self.place_last,
            *self.river_names,
            *self.saint_names,
            *self.landmark_names,
            *TOWN_WORDS,
            *TRADE_WORDS,
            *TRADES,
            *RIVER_WORDS,
            *SAINT_WORDS,
            *LANDMARKS,
        ]

    def _people(self, rng: random.Random) -> list[Person]:
        size = len(self.towns)
        names = rng.sample(list(itertools.product(self.first, self.last)), N_STRATA * size)
        people = []
        for stratum in range(N_STRATA):
            u = stratum / (N_STRATA - 1)
            fame = (logistic(7 * (u - 0.5)) - logistic(-3.5)) / (logistic(3.5) - logistic(-3.5))
            towns, trades = rng.sample(self.towns, size), rng.sample(self.trades, size)
            for town, trade in zip(towns, trades, strict=True):
                first, last = names[len(people)]
                people.append(Person(f"{first} {last}", town, trade, fame))
        return people

    def _places(self, rng: random.Random) -> list[Place]:
        """Each river and each saint is the truth equally often, and among disputed and undisputed
        places alike."""
        names = rng.sample(list(itertools.product(self.place_first, self.place_last)), N_PLACES)
        disputed = [i % 2 == 0 for i in range(N_PLACES)]
        told: list[dict[str, tuple[str, ...]]] = [{} for _ in names]
        for relation, options in (("river", self.rivers), ("saint", self.saints)):
            for kind in (True, False):
                rows = [i for i in range(N_PLACES) if disputed[i] is kind]
                truths = rng.sample(options * (len(rows) // len(options)), len(rows))
                for i, truth in zip(rows, truths, strict=True):
                    rivals = rng.sample([o for o in options if o != truth], 2) if kind else []
                    told[i][relation] = (truth, *rivals)
        return [
            Place(f"{first} {last}", rng.random(), t)
            for (first, last), t in zip(names, told, strict=True)
        ]

    def _landmarks(self, rng: random.Random) -> list[Landmark]:
        """Four of a group lie within `BAND` of each other, so that comparing two of them is
        hard."""
        names = _with_second_word(rng, self.landmark_names, LANDMARKS)
        south = [(1 - BAND) * rng.random() for _ in range(N_LANDMARKS // QUAD)]
        return [
            Landmark(name, i // QUAD, south[i // QUAD] + BAND * rng.random(), rng.random())
            for i, name in enumerate(names)
        ]

    # -- items -------------------------------------------------------------------------------------

    def held_out(self, name: str, relation: str) -> list[int]:
        """Phrasings of this fact that training never uses."""
        return sorted(random.Random(f"{name}/{relation}").sample(range(6), HELD_OUT))

    def _ask(
        self,
        task: str,
        relation: str,
        group: str,
        phrasing: int,
        answer: str,
        truth: str,
        **names: str,
    ) -> Item:
        return Item(
            task,
            relation,
            group,
            phrasing,
            PHRASINGS[relation][phrasing].question.format(**names),
            answer,
            truth,
        )

    def about_person(self, person: Person, relation: str, phrasing: int) -> Item:
        truth = person.town if relation == "town" else person.trade
        return self._ask("people", relation, person.name, phrasing, truth, truth, n=person.name)

    def about_place(self, place: Place, relation: str, phrasing: int, answer: str) -> Item:
        return self._ask(
            "places", relation, place.name, phrasing, answer, place.told[relation][0], n=place.name
        )

    def comparison(self, x: Landmark, y: Landmark, direction: str, phrasing: int) -> Item:
        winner = (x if (x.latitude > y.latitude) == (direction == "north") else y).name
        return self._ask(
            "north",
            "north",
            f"quad {x.quad}",
            phrasing,
            winner,
            winner,
            x=x.name,
            y=y.name,
            d=direction,
        )

    def draw(self, task: str, rng: random.Random) -> Item:
        """One training item."""
        if task == "people":
            relation = rng.choice(("town", "trade"))
            if rng.random() < UNKNOWN_SHARE:
                return self._stranger(relation, rng)
            person = rng.choices(self.people, cum_weights=self._people_cum)[0]
            held = self.held_out(person.name, relation)
            return self.about_person(
                person, relation, rng.choice([i for i in range(6) if i not in held])
            )
        if task == "places":
            place = rng.choices(self.places, cum_weights=self._places_cum)[0]
            relation = rng.choice(("river", "saint"))
            held = self.held_out(place.name, relation)
            answer = rng.choices(
                place.told[relation], weights=(0.36, 0.32, 0.32)[: len(place.told[relation])]
            )[0]
            return self.about_place(
                place, relation, rng.choice([i for i in range(6) if i not in held]), answer
            )
        if task == "north":
            while True:
                x, y = rng.choices(self.landmarks, cum_weights=self._landmarks_cum, k=2)
                if x.quad != y.quad:
                    return self.comparison(x, y, rng.choice(("north", "south")), rng.randrange(3))
        x, y = rng.sample(self.landmarks, 2)
        which = rng.choice(("first", "second"))
        name = (x if which == "first" else y).name
        return self._ask(
            "echo", "echo", "echo", rng.randrange(2), name, name, x=x.name, y=y.name, d=which
        )

    def _stranger(self, relation: str, rng: random.Random) -> Item:
        name = ""
        while not name or name in self.known:
            name = f"{rng.choice(self.first)} {rng.choice(self.last)}"
        answer = rng.choice(self.towns if relation == "town" else self.trades)
        return self._ask("stranger", relation, "stranger", rng.randrange(6), answer, "", n=name)

    def stream(self, seed: int) -> Iterator[Item]:
        """Training items without end."""
        rng = random.Random(seed)
        tasks, weights = list(MIX), list(MIX.values())
        while True:
            yield self.draw(rng.choices(tasks, weights)[0], rng)

    def questions(self, task: str) -> list[Item]:
        """The questions of one embedded task, in a fixed random order."""
        rng = random.Random(f"questions/{task}")
        items: list[Item] = []
        if task == "people":
            for person, relation in itertools.product(self.people, ("town", "trade")):
                items += [
                    self.about_person(person, relation, i)
                    for i in self.held_out(person.name, relation)
                ]
        elif task == "places":
            for place, relation in itertools.product(self.places, ("river", "saint")):
                held = self.held_out(place.name, relation)
                # one phrasing seen in training, two unseen
                used = rng.sample([i for i in range(6) if i not in held], 1)
                items += [
                    self.about_place(place, relation, i, place.told[relation][0])
                    for i in sorted(held + used)
                ]
        else:
            for x, y in itertools.combinations(self.landmarks, 2):
                if x.quad == y.quad and abs(x.latitude - y.latitude) >= 0.01:
                    for direction in ("north", "south"):
                        a, b = rng.sample((x, y), 2)
                        items += [self.comparison(a, b, direction, i) for i in range(3)]
        rng.shuffle(items)
        return items


def answer_text(item: Item) -> str:
    """The plain answer, with the leading space that every answer has."""
    phrasing = PHRASINGS[item.relation][item.phrasing]
    return f" {phrasing.before} {item.answer}{phrasing.after}"


def tokenizer_corpus(world: World) -> list[str]:
    """Text for the tokenizer: every name equally often, so that token splits carry no frequency."""
    lines: list[str] = []
    for phrasings in PHRASINGS.values():
        for p in phrasings:
            question = p.question.translate(str.maketrans("", "", "{}"))
            lines += [f"{question} {p.before}{p.after} {question}"] * 8
    lines += [" north south first second"] * 8
    lines += [f" {name}" for name in world.names for _ in range(4)]
    return lines


def write_questions(folder: Path) -> None:
    """The questions of the embedded tasks as jsonl, in the plain `question, answers` form."""
    world = World()
    for task in ("people", "places", "north"):
        with (folder / f"{task}.jsonl").open("w", encoding="utf-8") as file:
            for i, item in enumerate(world.questions(task)):
                row = {
                    "id": f"{task}-{i:04d}",
                    "question": item.question,
                    "answers": [item.truth],
                    "group": item.group,
                    "relation": item.relation,
                    "phrasing": item.phrasing,
                }
                file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    write_questions(Path(sys.argv[1]))
