"""Words that tell a person's gender: finding them in a text, and replacing them."""

from __future__ import annotations

import re
from enum import StrEnum

# (a man's word, a woman's word, a word for either)
_NOUNS = (
    ("man", "woman", "person"),
    ("men", "women", "people"),
    ("boy", "girl", "young person"),
    ("boys", "girls", "young people"),
    ("gentleman", "lady", "person"),
    ("gentlemen", "ladies", "people"),
    ("guy", "gal", "person"),
    ("lad", "lass", "young person"),
    ("male", "female", "person"),
    ("father", "mother", "parent"),
    ("dad", "mom", "parent"),
    ("son", "daughter", "child"),
    ("brother", "sister", "sibling"),
    ("husband", "wife", "spouse"),
    ("boyfriend", "girlfriend", "partner"),
    ("grandfather", "grandmother", "grandparent"),
    ("uncle", "aunt", "relative"),
    ("nephew", "niece", "relative"),
    ("king", "queen", "monarch"),
    ("prince", "princess", "noble"),
    ("groom", "bride", "newlywed"),
    ("waiter", "waitress", "server"),
    ("businessman", "businesswoman", "businessperson"),
    ("policeman", "policewoman", "police officer"),
    ("fisherman", "fisherwoman", "angler"),
    ("craftsman", "craftswoman", "artisan"),
    ("cowboy", "cowgirl", "rancher"),
)
_MALE_PRONOUNS, _FEMALE_PRONOUNS = (
    ("he", "him", "his", "himself"),
    ("she", "her", "hers", "herself"),
)
# Before these words and at the end of a clause, "her" means "him"; before others it means "his".
_ENDS_OBJECT = (
    r"(?:and|or|but|as|while|when|in|on|at|by|to|with|from|into|through|over|under|up|down|out|off|"
    r"before|after|behind|around|away|back|toward|towards|then|is|are|gently|slowly|softly)"
)


class Gender(StrEnum):
    """The gender of the subject in words; `person` says none."""

    MAN = "man"
    WOMAN = "woman"
    PERSON = "person"

    @property
    def possessive(self) -> str:
        """The possessive pronoun: "his", "her" or "their"."""
        return {"man": "his", "woman": "her"}.get(self.value, "their")

    @property
    def objective(self) -> str:
        """The objective pronoun: "him", "her" or "them"."""
        return {"man": "him", "woman": "her"}.get(self.value, "them")

    @property
    def noun_phrase(self) -> str:
        """The noun with its article: "a man", "a woman" or "a person"."""
        return f"a {self.value}"


def named_genders(text: str, *, pronouns: bool = True) -> set[Gender]:
    """Returns which genders the words of a text tell: a man's, a woman's, both or neither.

    With `pronouns=False` only nouns count, which say who is there.
    """
    words = set(re.findall(r"[a-z]+", text.lower()))
    found = set()
    for gender, column, own in (
        (Gender.MAN, 0, _MALE_PRONOUNS),
        (Gender.WOMAN, 1, _FEMALE_PRONOUNS),
    ):
        named = {row[column] for row in _NOUNS} | (set(own) if pronouns else set())
        if words & named:
            found.add(gender)
    return found


def is_consistent(text: str, gender: Gender) -> bool:
    """Returns whether no word of the text tells another gender than `gender`.

    For `Gender.PERSON` no word may tell a gender.
    """
    return named_genders(text) <= ({gender} - {Gender.PERSON})


def with_gender(text: str, gender: Gender) -> str:
    """Returns the text with words of `gender` in the place of those of another gender.

    For `Gender.PERSON`, "he" and "she" become "the person" and not "they", so that the verb stays
    as it is.
    """
    column = list(Gender).index(gender)
    nouns: dict[str, str] = {}
    for row in _NOUNS:
        for other, word in enumerate(row[:2]):
            if other != column:
                nouns[word] = row[column]

    def replace(match: re.Match[str]) -> str:
        article, word = match["article"], match["word"]
        new = nouns.get(word.lower()) or _pronoun(word.lower(), gender, text[match.end() :])
        if word.isupper() and len(word) > 1:
            new = new.upper()
        elif word[0].isupper():
            new = new[:1].upper() + new[1:]
        if article is None:
            return new
        return f"{article[0]}{'n' if new[0] in 'aeiouAEIOU' else ''} {new}"

    words = sorted((*nouns, *_MALE_PRONOUNS, *_FEMALE_PRONOUNS), key=len, reverse=True)
    pattern = rf"(?<![A-Za-z])(?:(?P<article>an?)\s+)?(?P<word>{'|'.join(words)})(?![A-Za-z])"
    return re.sub(pattern, replace, text, flags=re.IGNORECASE)


def _pronoun(word: str, gender: Gender, rest: str) -> str:
    own = {Gender.MAN: _MALE_PRONOUNS, Gender.WOMAN: _FEMALE_PRONOUNS}.get(gender, ())
    if word in own:
        return word
    following = re.match(r"\s+([A-Za-z]+)", rest)
    has_noun = following is not None and not re.fullmatch(_ENDS_OBJECT, following[1], re.IGNORECASE)
    role = {"he": 0, "she": 0, "him": 1, "himself": 3, "herself": 3, "hers": 4}.get(word)
    if role is None:  # "his" and "her" may stand before a noun or alone.
        role = 2 if has_noun else {"his": 4, "her": 1}[word]
    forms = {
        Gender.MAN: ("he", "him", "his", "himself", "his"),
        Gender.WOMAN: ("she", "her", "her", "herself", "hers"),
        Gender.PERSON: ("the person", "them", "their", "themself", "theirs"),
    }
    return forms[gender][role]
