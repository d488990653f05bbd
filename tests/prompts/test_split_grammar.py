"""The split without a language model, over the grammar of the sentences that people write."""

from __future__ import annotations

import re
from functools import cache

import pytest
import simplemma
from helpers.split_sentences import Row, read_rows

from stdrc_core.prompts.spatial import broken_spatial_rules
from stdrc_core.prompts.split import split_prompt
from stdrc_core.prompts.temporal import broken_temporal_rules

# Words about the picture, which neither prompt needs: the first frame ends with "close-up".
FRAMING = {"close-up", "of", "medium", "extreme", "cinematic", "wide", "slow-motion", "shot"}
FRAMING |= {"shows", "captures", "portrait", "a"}
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
