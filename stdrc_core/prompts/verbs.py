"""English verbs for what a person does in a clip, in the forms in which prompts use them.

The verbs are a list (words.toml): a verb that is not on it is not seen as an action.
"""

from __future__ import annotations

from functools import cache

from .words import IN_WORD, any_of, word_lists, words

# After one of these words, a form is not a verb: "a walking stick", "the dance".
_NOT_AFTER = ("a", "an", "the", "his", "her", "their", "its", "of", "no", "this", "that")


def third_person(verb: str) -> str:
    """Returns the form for he or she: "walks" for "walk"."""
    if verb.endswith(("s", "x", "z", "ch", "sh", "o")):
        return f"{verb}es"
    return f"{verb[:-1]}ies" if _ends_in_lone_y(verb) else f"{verb}s"


def participle(verb: str) -> str:
    """Returns the present participle: "walking" for "walk"."""
    if verb == "lie":
        return "lying"
    if verb.endswith("e") and not verb.endswith("ee"):
        return f"{verb[:-1]}ing"
    return f"{verb}{verb[-1]}ing" if verb in words("verbs", "doubling") else f"{verb}ing"


def past(verb: str) -> str:
    """Returns the past tense: "walked" for "walk"."""
    irregular = word_lists()["past"]
    if verb in irregular:
        return irregular[verb]
    if verb.endswith("e"):
        return f"{verb}d"
    if _ends_in_lone_y(verb):
        return f"{verb[:-1]}ied"
    return f"{verb}{verb[-1]}ed" if verb in words("verbs", "doubling") else f"{verb}ed"


@cache
def base_of_form() -> dict[str, str]:
    """Returns a table from the third persons and participles of all listed verbs to the verbs."""
    found: dict[str, str] = {}
    for verb in (each for kind in ("action", "facial", "posture") for each in words("verbs", kind)):
        for form in (third_person(verb), participle(verb)):
            found.setdefault(form, verb)
    return found


@cache
def action_pattern() -> str:
    """Returns a regular expression for a verb in a present form, without capturing groups.

    Past forms are left out, because most of them describe things ("a checked wall", "closed eyes").
    """
    before = "".join(rf"(?<!\b{word}\s)" for word in _NOT_AFTER)
    bases = any_of({*base_of_form().values()})
    return rf"(?:{before}{any_of(base_of_form())}|(?<=\bthey\s){bases})(?![{IN_WORD}])"


@cache
def past_pattern() -> str:
    """Returns a regular expression for a verb in the past tense, without capturing groups.

    Use it only right after the subject, where a past form is sure to be an action.
    """
    return rf"{any_of({past(verb) for verb in base_of_form().values()})}(?![{IN_WORD}])"


def _ends_in_lone_y(verb: str) -> bool:
    return verb.endswith("y") and verb[-2] not in "aeou"
