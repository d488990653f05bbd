"""The split without a language model, over the grammar of the sentences that people write."""

from __future__ import annotations

import gzip
import re
from functools import cache
from pathlib import Path

import pytest
import simplemma
from helpers.drawn_prompts import jumbles
from helpers.split_sentences import Row, read_rows
from hypothesis import given, settings
from hypothesis import strategies as st

from stdrc_core.prompts.build_lexicon import lexicon_lines, read_inflections, read_senses
from stdrc_core.prompts.gender import Gender
from stdrc_core.prompts.lexicon import entries as lexicon_entries
from stdrc_core.prompts.lexicon import forms_of, readings
from stdrc_core.prompts.spatial import broken_spatial_rules
from stdrc_core.prompts.split import split_prompt
from stdrc_core.prompts.temporal import broken_temporal_rules

# Words about the picture, which neither prompt needs: the first frame ends with "close-up".
FRAMING = {"close-up", "of", "medium", "extreme", "cinematic", "wide", "slow-motion", "shot"}
FRAMING |= {"shows", "captures", "portrait", "a", "tracking"}
FRAMING |= {"aerial", "view", "soft-focus"}
# "There is a man who" and "as she", of which the person stays.
FRAMING |= {"there", "is", "was", "who", "she", "he"}
ROWS = [row for rows in read_rows().values() for row in rows]


def words_of(text: str) -> list[str]:
    return re.findall(r"[a-z]+(?:[-'][a-z]+)*", text.lower())


@cache
def lemma(word: str) -> str:
    """The dictionary form by a lexicon that is not ours."""
    return simplemma.lemmatize(word, lang="en")


def faults(row: Row) -> list[str]:
    """What is wrong with the split of a row's prompt, one line each."""
    still, motion = split_prompt(row.text, None)
    found = []
    in_still, in_motion = words_of(still), words_of(motion)
    for verb in row.gone.split():
        if {verb, lemma(verb)} & ({*in_still} | {lemma(word) for word in in_still}):
            found.append(f"{verb} is in the first frame")
    lost = [word for word in row.kept.lower().split() if word not in in_still]
    found += [f"{word} is not in the first frame" for word in lost]
    if not motion.startswith(row.motion):
        found.append(f"the motion does not begin with {row.motion!r}")
    missing = {*words_of(row.text)} - {*in_still, *in_motion}
    if missing - FRAMING:
        found.append(f"lost: {missing}")
    found += broken_spatial_rules(still, None) + broken_temporal_rules(motion, None)
    return [f"{fault} ({still} | {motion})" for fault in found]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.text[:60])
def test_the_first_frame_stands_still_and_the_motion_begins_with_subject_and_verb(row: Row) -> None:
    assert faults(row) == []


@settings(max_examples=150, deadline=None)
@given(text=jumbles(), gender=st.sampled_from([*Gender, None]))
def test_any_text_is_split_and_keeps_the_rules(text: str, gender: Gender | None) -> None:
    still, motion = split_prompt(text, gender)
    assert broken_spatial_rules(still, gender) == broken_temporal_rules(motion, gender) == []


PERSONS = ("A woman", "The old fisherman", "A dancer", "An engineer")
ASIDES = ("", ", dressed in a green coat and a scarf,", " in a blue hat", ", holding a lamp,")
PLACES = ("in a garden", "near an old bridge", "under a tree")
# Forms of verbs for a subject in the third person, by hand: base, present, past, with "is".
VERBS = (
    ("wander", "wanders", "wandered", "is wandering"),
    ("sing", "sings", "sang", "is singing"),
    ("stumble", "stumbles", "stumbled", "is stumbling"),
    ("freeze", "freezes", "froze", "is freezing"),
    ("whittle", "whittles", "whittled", "is whittling"),
    ("shiver", "shivers", "shivered", "is shivering"),
    ("pirouette", "pirouettes", "pirouetted", "is pirouetting"),
)


@settings(max_examples=150, deadline=None)
@given(
    person=st.sampled_from(PERSONS),
    aside=st.sampled_from(ASIDES),
    verb=st.sampled_from(VERBS),
    tense=st.integers(1, 3),
    adverb=st.sampled_from(("", "slowly ", "quietly ")),
    place=st.sampled_from(PLACES),
    tail=st.sampled_from(("", ", her eyes bright", " while a lantern flickers")),
)
def test_every_tense_and_every_aside(
    person: str, aside: str, verb: tuple[str, ...], tense: int, adverb: str, place: str, tail: str
) -> None:
    still, motion = split_prompt(f"{person}{aside} {adverb}{verb[tense]} {place}{tail}.", None)
    assert verb[0] not in {lemma(word) for word in words_of(still)}, still
    for kept in (*words_of(aside), *words_of(place)):
        assert kept in words_of(still) or kept in ("and", "the", "a", "an"), still
    # The motion begins with the subject, and nothing but "in a blue hat" stands before its verb.
    between = aside if aside == " in a blue hat" else ""
    assert motion.startswith(f"{person}{between} {adverb}{verb[tense]} {place}"), motion


@pytest.mark.parametrize(
    ("word", "base"),
    [("drifted", "drift"), ("froze", "freeze"), ("lying", "lie"), ("swum", "swim")],
)
def test_the_lexicon_knows_forms(word: str, base: str) -> None:
    assert base in {each.base for each in readings(word) if each.part == "v"}


def test_the_lexicon_agrees_with_another_one() -> None:
    """Nine of ten forms of common verbs have the same dictionary form in both."""
    common = [
        (form, base)
        for base, fields in lexicon_entries().items()
        if any(field[0] == "v" and int(field[1:].split(":")[0] or 0) >= 50 for field in fields)
        and " " not in base
        for form in (each[0] for each in forms_of(base).values())
    ]
    same = sum(lemma(form) in (base, form) for form, base in common)
    assert len(common) > 4000
    assert same >= 0.9 * len(common), same / len(common)


SENSES = """walk%2:38:00:: 01908923 1 184
walk%1:04:00:: 00284412 1 4
diver%1:18:00:: 10006511 1 0
running_shoe%1:06:00:: 04120842 1 0
sing%2:36:00:: 01729431 1 30
idea%1:09:00:: 05833840 1 0
pick_up%2:35:00:: 01982395 1 17
slowly%4:02:00:: 00161927 1 27
"""


def test_the_lexicon_is_made_of_its_sources(tmp_path: Path) -> None:
    (tmp_path / "index.sense").write_text(SENSES, encoding="utf-8")
    table = tmp_path / "infl_lu.csv.gz"
    with gzip.open(table, "wt", encoding="utf-8") as file:
        file.write("sing,verb,sang,sung,singing,sings\nwalk,verb,walked,,walking,walks\n")
    made = lexicon_lines(*read_senses(tmp_path), *read_inflections(table))
    assert made == [
        "diver\tn2p",
        "pick up\tv",
        "running shoe\tn",
        "sing\tv302:sings,singing,sang,sung",
        "walk\tv1842\tn42i",
    ]
