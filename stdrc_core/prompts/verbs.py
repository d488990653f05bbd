"""English verbs of what a person does in a clip, in the forms that prompts have them.

A list (words.toml), not a grammar: a verb that is not here is not seen as an action.
"""

from __future__ import annotations

from functools import cache

from .words import IN_WORD, any_of, word_lists, words

# A form after one of these is no verb: a walking stick, the dance.
_NOT_AFTER = ("a", "an", "the", "his", "her", "their", "its", "of", "no", "this", "that")


def third_person(verb: str) -> str:
    """He, she or the person ...: "walk" to "walks"."""
    if verb.endswith(("s", "x", "z", "ch", "sh", "o")):
        return f"{verb}es"
    return f"{verb[:-1]}ies" if _ends_in_lone_y(verb) else f"{verb}s"


def participle(verb: str) -> str:
    """ "walk" to "walking"."""
    if verb == "lie":
        return "lying"
    if verb.endswith("e") and not verb.endswith("ee"):
        return f"{verb[:-1]}ing"
    return f"{verb}{verb[-1]}ing" if verb in words("verbs", "doubling") else f"{verb}ing"


def past(verb: str) -> str:
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
    """Each form that says of one person what he or she does, to its verb."""
    found: dict[str, str] = {}
    for verb in (each for kind in ("action", "facial", "posture") for each in words("verbs", kind)):
        for form in (third_person(verb), participle(verb)):
            found.setdefault(form, verb)
    return found


@cache
def action_pattern() -> str:
    """A regular expression, without groups of its own, of a verb that tells an action.

    Without past forms: most of them are said of things (a checked wall, closed eyes).
    """
    before = "".join(rf"(?<!\b{word}\s)" for word in _NOT_AFTER)
    bases = any_of({*base_of_form().values()})
    return rf"(?:{before}{any_of(base_of_form())}|(?<=\bthey\s){bases})(?![{IN_WORD}])"


@cache
def past_pattern() -> str:
    """The same of past forms, which only right after the subject are sure to be actions."""
    return rf"{any_of({past(verb) for verb in base_of_form().values()})}(?![{IN_WORD}])"


def _ends_in_lone_y(verb: str) -> bool:
    return verb.endswith("y") and verb[-2] not in "aeou"
