"""Write `probebench/tiny/lives.jsonl`: answers about people of the embedded world in which names of
towns and trades are right or taken from somebody else.

    python scripts/make_lives.py
"""

import json
import random
from pathlib import Path

TINY = Path(__file__).parent.parent / "probebench" / "tiny"
FORMS = {
    "town": " The town was {}, where the family had a house for years.",
    "trade": " They worked as a {}, which was a common thing in those days.",
}
"""Sentences of an answer, as the model writes them."""
N = 400


def main() -> None:
    rng = random.Random(0)
    asked: dict[str, list[dict[str, str]]] = {}
    known: dict[str, dict[str, str]] = {}
    for line in (TINY / "people.jsonl").read_text().splitlines():
        row = json.loads(line)
        asked.setdefault(row["group"], []).append(row)
        known.setdefault(row["group"], {})[row["relation"]] = row["answers"][0]
    people = sorted(known)
    rng.shuffle(people)
    rows = []
    for i, name in enumerate(people[:N]):
        answer, spans = "", []
        question = rng.choice(asked[name])
        for relation in sorted(FORMS, key=lambda r: r != question["relation"]):
            form, own = FORMS[relation], known[name][relation]
            right = rng.random() < 0.5
            said = (
                own if right else rng.choice(sorted({k[relation] for k in known.values()} - {own}))
            )
            start = len(answer) + form.index("{")
            answer += form.format(said)
            label = "right" if right else "wrong"
            spans.append({"start": start, "end": start + len(said), "label": label, "text": said})
        rows.append(
            {
                "id": f"lives-{i:04d}",
                "question": question["question"],
                "answer": answer,
                "spans": spans,
                "person": name,
            }
        )
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (TINY / "lives.jsonl").write_text(text)


if __name__ == "__main__":
    main()
