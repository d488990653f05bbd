"""The regular forms of English verbs and nouns; lexicon.tsv holds the others."""

from __future__ import annotations


def regular_verb_forms(base: str) -> tuple[str, str, str, str]:
    """Returns third person, present participle, past and past participle, without doubling.

    For example walks, walking, walked, walked.
    """
    if base.endswith("e") and not base.endswith(("ee", "oe", "ye")):
        participle = f"{base[:-2]}ying" if base.endswith("ie") else f"{base[:-1]}ing"
    else:
        participle = f"{base}ing"
    if base.endswith("e"):
        past = f"{base}d"
    else:
        past = f"{base[:-1]}ied" if _ends_in_lone_y(base) else f"{base}ed"
    return regular_plural(base), participle, past, past


def regular_plural(noun: str) -> str:
    """Returns the plural of a noun, which is also the third person of a verb: boxes, flies."""
    if noun.endswith(("s", "x", "z", "ch", "sh")):
        return f"{noun}es"
    return f"{noun[:-1]}ies" if _ends_in_lone_y(noun) else f"{noun}s"


def _ends_in_lone_y(word: str) -> bool:
    return word.endswith("y") and word[-2:-1] not in ("a", "e", "o", "u")
