"""Prompts in the style of the papers: one sentence of subject, clothing, action, place, face."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

SUBJECTS = {
    "a woman": "woman",
    "A young man": "man",
    "an elderly woman": "woman",
    "A person": "person",
    "the chef": "person",
    "A little girl": "woman",
    "A tall bearded man": "man",
}
CLOTHES = (
    "in a red coat",
    "wearing glasses and a grey sweater",
    "in a white dress and sandals",
    "with long dark hair",
    "wearing boots and a straw hat",
    "",
)
ACTIONS = {
    "walks": "walks slowly",
    "reading": "is reading a book",
    "dances": "dances gracefully",
    "turns": "turns to the camera",
    "plays": "plays the guitar",
    "lifts": "lifts a cup of tea",
}
PLACES = (
    "in a snowy park",
    "through a crowded market",
    "on a beach at sunset",
    "in a library surrounded by people",
    "with friends in a kitchen",
    "at the foot of a mountain",
)
FACES = ("smiling softly", "with a calm expression", "while eyes blink", "")
ORDERS = ("plain", "place first", "clothes apart")


@dataclass(frozen=True)
class Drawn:
    text: str
    gender: str
    action: str


@st.composite
def sentences(draw: st.DrawFn) -> Drawn:
    subject = draw(st.sampled_from(sorted(SUBJECTS)))
    clothes, place = draw(st.sampled_from(CLOTHES)), draw(st.sampled_from(PLACES))
    action, face = draw(st.sampled_from(sorted(ACTIONS))), draw(st.sampled_from(FACES))
    order = draw(st.sampled_from(ORDERS))
    if order == "place first":
        body = f"{place.capitalize()}, {subject} {clothes} {ACTIONS[action]}"
    elif order == "clothes apart":
        body = f"{subject}, {clothes}, {ACTIONS[action]} {place}".replace(", ,", ",")
    else:
        body = f"{subject} {clothes} {ACTIONS[action]} {place}"
    text = " ".join(f"{body}{', ' * bool(face)}{face}.".split())
    return Drawn(text=text, gender=SUBJECTS[subject], action=action)


_JUMBLE = (
    "a the woman man person she he her his walks smiling in with and red coat shoes feet people "
    "crowd park close-up close-up, barefoot eyes, turns. boots . , ; : ! ? \n - the foot of her's "
    "women's another man wearing surrounded by crowded dress, \u201cquoted\u201d (aside) caf\u00e9 "
    "x y 3.5 full of they it is has while behind next to ... \U0001f600 \u4eba"
)


def jumbles() -> st.SearchStrategy[str]:
    """Any words in any order, as a broken language model has them, and any text at all."""
    return st.lists(st.sampled_from(_JUMBLE.split(" ")), max_size=60).map(" ".join) | st.text(
        max_size=80
    )
