"""Words that are only a kind of thing or a given name, and words that make another thing of a
name."""

from __future__ import annotations

from probebench.tasks.judging.reading.spelling import stem

DISTINGUISHING = frozenset(
    (
        "north south east west northern southern eastern western new northeast northwest "
        "southeast southwest equatorial papua inner outer upper lower baja democratic quincy"
    ).split()
)
"""Words of names that make another thing of the rest: West Virginia, South Sudan, New Mexico, John
Quincy Adams."""
RANKS = frozenset("vice deputy assistant lieutenant associate under".split())
"""Words before an office that make another office of it."""
OFFICES = frozenset(
    (
        "president minister governor chancellor general mayor premier secretary marshal principal "
        "director commander sheriff admiral colonel chairman prime attorney"
    ).split()
)
GENERIC = frozenset(
    (
        "sea ocean river lake mount mt mountain island isle bay gulf strait peninsula desert "
        "valley bear wolf fox whale shark bird fish snake man woman boy girl king queen prince "
        "princess city state county country town village street road avenue park bridge tower "
        "castle university college school church hospital museum war battle treaty act club "
        "band party league cup prize award company corporation league film book song novel "
        "album president"
    ).split()
)
"""Words of names that say nothing alone: the Sea of the Red Sea."""
CITIES = frozenset(
    (
        "mexico kansa kansas oklahoma panama guatemala kuwait iowa michigan nebraska virginia "
        "jersey belize"
    ).split()
)
"""Places of which "City" makes another place."""
GIVEN = frozenset(
    stem(name)
    for name in (
        "james john robert michael william david richard joseph thomas charles christopher daniel "
        "matthew anthony mark donald steven paul andrew joshua kenneth kevin brian george edward "
        "ronald timothy jason jeffrey ryan jacob gary nicholas eric jonathan stephen larry justin "
        "scott brandon benjamin samuel gregory frank alexander raymond patrick jack dennis jerry "
        "tyler aaron jose adam henry nathan douglas peter zachary kyle walter ethan jeremy harold "
        "keith christian roger arthur albert jesse ralph roy louis philip bruce fred mary patricia "
        "jennifer linda elizabeth barbara susan jessica sarah karen lisa nancy betty margaret "
        "sandra ashley kimberly emily donna michelle carol amanda dorothy melissa deborah "
        "stephanie rebecca sharon laura cynthia kathleen amy angela shirley anna brenda pamela "
        "emma nicole helen samantha katherine christine debra rachel carolyn janet catherine maria "
        "heather diane ruth julie olivia joyce virginia victoria kelly lauren christina joan "
        "evelyn judith megan andrea cheryl hannah jacqueline martha gloria teresa ann anne marie "
        "sara frances kathryn janice jean alice julia judy sophia grace denise amber "
        "doris marilyn danielle beverly isabella theresa diana natalie brittany marion"
    ).split()
)
"""Given names that do not tell who it is."""
