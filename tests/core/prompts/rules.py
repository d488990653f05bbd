"""The rules of prompts written once more, with other words and other means than the code's."""

from __future__ import annotations

import re


def listed(text: str) -> set[str]:
    return set(text.split())


FEET = listed("foot feet toes ankles shoe shoes boots sneakers sandals heels socks barefoot")
OTHERS = listed("people crowd crowds friends strangers tourists passersby onlookers crowded")
OTHERS |= listed("pedestrians audience men women children colleagues")
MALE = listed("he him his himself man boy gentleman father king waiter")
FEMALE = listed("she her hers herself woman girl lady mother queen waitress")
FACE = listed("expression face eyes gaze smile smiles smiling grins laughs laughing frowns")
FACE |= listed("blink eyebrows lips gazes laugh blinks grin")


def words_of(text: str) -> list[str]:
    return re.findall(r"[a-z]+", text.lower())


def other_gender(text: str, gender: str | None) -> set[str]:
    """Words in the text that the subject's gender does not have."""
    unwanted = {"man": FEMALE, "woman": MALE, "person": MALE | FEMALE, None: set()}[gender]
    return unwanted & set(words_of(text))


def spatial_faults(text: str, gender: str | None) -> list[str]:
    faults = []
    if not text.lower().endswith("close-up"):
        faults.append("end")
    for phrase in text.split(","):
        if not phrase.strip():
            faults.append("empty phrase")
        if len(phrase.split()) > 12:
            faults.append(f"long phrase: {phrase}")
        if phrase.split() and phrase.split()[0].lower() in ("he", "she", "they", "it"):
            faults.append(f"a sentence: {phrase}")
    if any(mark in f"{text} " for mark in (". ", "! ", "? ", "; ", ": ", "\n")):
        faults.append("sentence")
    # "Foot of" a hill is none of a person's, and a men's coat is no crowd.
    seen = set(words_of(re.sub(r"\bfoot\s+of\b|[a-z]+['\u2019]s", "", text, flags=re.IGNORECASE)))
    faults += sorted(seen & (FEET | OTHERS))
    if len(text.split()) > 80:
        faults.append("long")
    return faults + sorted(other_gender(text, gender))


def temporal_faults(text: str, gender: str | None, subjects: set[str]) -> list[str]:
    """`subjects` are the nouns that the text may be about; pronouns besides."""
    faults = []
    clause = re.split(r"[,.;!?:]", text, maxsplit=1)[0]
    named = [
        word for word in clause.lower().split()[:6] if word in subjects | {"he", "she", "they"}
    ]
    if not named:
        faults.append(f"no subject first: {clause}")
    elif not set(words_of(clause.lower().split(named[0], 1)[1])):
        faults.append(f"no action first: {clause}")
    if not set(words_of(text)) & FACE:
        faults.append("no face")
    if len(text.split()) > 200:
        faults.append("long")
    return faults + sorted(other_gender(text, gender))
