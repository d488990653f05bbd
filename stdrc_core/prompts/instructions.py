"""The instructions that ask a language model for the two decoupled prompts, in our own words."""

from __future__ import annotations

from .gender import Gender
from .spatial import CLOSE_UP, MAX_PHRASE_WORDS, MAX_SPATIAL_WORDS
from .temporal import MAX_TEMPORAL_WORDS

_FORM = (
    "Answer in English, whatever the language of the request, with the {what} alone: no title, no "
    "quotes, no list, no markdown, no explanation."
)


def spatial_instruction(prompt: str, gender: Gender | None) -> str:
    """Returns the instruction to list in phrases what of `prompt` stands still.

    `gender` is the subject's; None stands for a man and a woman.
    """
    return f"""\
You describe one still picture: the first frame of a video. From the request below, take what can \
be seen before anything moves, and leave the motion out.

Rules:
1. Short phrases divided by commas, {MAX_PHRASE_WORDS} words each at most, {MAX_SPATIAL_WORDS} \
words in all; no sentences.
2. In this order: the person, the face and its expression, hair and clothing, the place, the light.
3. {_about(gender)}
4. Nothing below the knees: no feet, no shoes. Nobody else: no crowd, no people in the background.
5. Keep what the request says, and add only what it implies.
6. The last phrase is: {CLOSE_UP}

Example request: A young man in a blue raincoat jumps over puddles in a busy street, laughing.
Example answer: a young man, wide laughing smile, wet dark hair, blue raincoat, rainy street, grey \
daylight, {CLOSE_UP}

{_FORM.format(what="phrases")}

Request: {prompt}"""


def temporal_instruction(prompt: str, gender: Gender | None) -> str:
    """Returns the instruction to describe the motion of `prompt`, the subject's action first.

    `gender` is the subject's; None stands for a man and a woman.
    """
    return f"""\
You describe how a video moves that starts from a still picture of one person. Rewrite the request \
below for a video generator.

Rules:
1. The first sentence begins with the person and says at once what he or she does; everything else \
follows in the order in which it happens.
2. {_about(gender)}
3. Put right what cannot be: one body, one place, actions that can follow each other.
4. Say how the face moves: the eyes, the mouth, a change of expression.
5. Keep every action that the request names, and add no person, cut or camera move.
6. Plain present tense, one paragraph, {MAX_TEMPORAL_WORDS // 2} words at most.

Example request: In a busy street a young man in a blue raincoat, she jumps over puddles.
Example answer: A young man in a blue raincoat jumps over a puddle and lands with a splash in a \
busy street. He looks up, his eyes widen, and he breaks into a laugh.

{_FORM.format(what="paragraph")}

Request: {prompt}"""


def _about(gender: Gender | None) -> str:
    if gender is None:
        return "Tell the people of the request apart, and keep who is who."
    if gender is Gender.PERSON:
        return 'Call the main person "the person", never a man or a woman, never he or she.'
    other = Gender.WOMAN if gender is Gender.MAN else Gender.MAN
    return (
        f"The main person is a {gender}: only words for a {gender} "
        f"({gender.possessive}, ...), never for a {other}."
    )
