"""Asks for a caption until the answer is one."""

from __future__ import annotations

from collections.abc import Callable

from PIL import Image

from .caption_text import (
    AGAIN,
    INSTRUCTION,
    CaptionError,
    cleaned,
    looks_in,
    problem_of,
    without_looks,
)

NUM_FRAMES, MOST_SIDE_PX = 4, 512
_TRIES = 3


def ask(answer: Callable[[str], str]) -> str:
    """The caption that `answer(instruction)` gives, after as many tries as it may take.

    An answer that tells the looks of a face is asked for again, and then loses those parts. Raises
    CaptionError where no answer is a caption.
    """
    instruction, text, problem = INSTRUCTION, "", None
    for _ in range(_TRIES):
        text = cleaned(answer(instruction))
        problem = problem_of(text)
        if problem is None:
            word = looks_in(text)
            if word is None:
                return text
            problem = f"it told of the face's looks ({word!r})"
        instruction = INSTRUCTION + AGAIN.format(problem=problem)
    rest = without_looks(text)
    if problem_of(text) is None and problem_of(rest) is None:
        return rest
    raise CaptionError(f"the captioner's answer was of no use {_TRIES} times; the last: {problem}")


def shrunk(image: Image.Image) -> Image.Image:
    """A frame no larger than a captioner needs it."""
    small = image.convert("RGB")
    small.thumbnail((MOST_SIDE_PX, MOST_SIDE_PX))
    return small
