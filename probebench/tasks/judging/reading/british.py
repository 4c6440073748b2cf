"""American spellings of British words, by word and by part of a word."""

from __future__ import annotations

import re

WORDS = {
    british: american
    for american, spellings in {
        "gray": "grey",
        "grays": "greys",
        "aluminum": "aluminium",
        "tire": "tyre",
        "tires": "tyres",
        "defense": "defence",
        "offense": "offence",
        "license": "licence",
        "pretense": "pretence",
        "practice": "practise",
        "program": "programme",
        "programs": "programmes",
        "jewelry": "jewellery",
        "jeweler": "jeweller",
        "plow": "plough",
        "plows": "ploughs",
        "mustache": "moustache",
        "check": "cheque",
        "checks": "cheques",
        "mold": "mould",
        "molds": "moulds",
        "skeptic": "sceptic",
        "skeptical": "sceptical",
        "curb": "kerb",
        "story": "storey",
        "stories": "storeys",
        "donut": "doughnut",
        "donuts": "doughnuts",
        "whiskey": "whisky",
        "pajamas": "pyjamas",
        "draft": "draught",
        "drafts": "draughts",
        "airplane": "aeroplane",
        "airplanes": "aeroplanes",
        "yogurt": "yoghurt yoghourt",
        "fulfill": "fulfil",
        "skillful": "skilful",
        "enrollment": "enrolment",
        "woolen": "woollen",
        "maneuver": "manoeuvre",
        "maneuvers": "manoeuvres",
        "cozy": "cosy",
        "artifact": "artefact",
        "artifacts": "artefacts",
        "inquiry": "enquiry",
        "judgment": "judgement",
        "acknowledgment": "acknowledgement",
        "aging": "ageing",
        "likable": "likeable",
        "orangutan": "orangutang",
        "molt": "moult",
        "smolder": "smoulder",
        "analyze": "analyse",
        "paralyze": "paralyse",
        "catalyze": "catalyse",
        "analyzed": "analysed",
        "paralyzed": "paralysed",
        "fetus": "foetus",
        "cesium": "caesium",
        "diarrhea": "diarrhoea",
        "estrogen": "oestrogen",
        "esophagus": "oesophagus",
        "edema": "oedema",
    }.items()
    for british in spellings.split()
}
PARTS = re.compile(
    r"sulph(?=ur|at|id|it)|(?<=[a-z]{3})ogue(?=s?$)|haem(?=[a-z]{3})|(?<=p)aed(?=iat)"
    r"|(?<=an)aem(?=i)|(?<=leuk)aem(?=i)|(?<=an)aesth|(?<=arch)aeo|(?<=encyclop)aed(?=ia)"
    r"|(?<=gyn)aec(?=olog)|(?<=pal)aeo|(?<=orthop)aed(?=ic)"
)
LETTERS = {"ogue": "og", "haem": "hem", "sulph": "sulf"}
DOUBLED = re.compile(
    r"(?<=avel|odel|ncel|abel|ewel|gnal|rvel|nsel)l(?=(?:er|ers|ed|ing|or|ors|ery)$)"
)


def american(word: str) -> str:
    """The American spelling of a lower-case word; the word itself where it has one spelling."""
    if (one := WORDS.get(word)) is not None:
        return one
    if len(word) < 6:
        return word
    word = PARTS.sub(lambda m: LETTERS.get(m.group()) or m.group().replace("ae", "e"), word)
    return DOUBLED.sub("", word)
