"""The subject's gender in words: which ones a text has, and others put in their place."""

from __future__ import annotations

import re
from enum import StrEnum

# man's word, woman's word, neutral word; one a line is the whole table.
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
# "her" is "him" before these and at the end of a clause, else "his".
_ENDS_OBJECT = (
    r"(?:and|or|but|as|while|when|in|on|at|by|to|with|from|into|through|over|under|up|down|out|off|"
    r"before|after|behind|around|away|back|toward|towards|then|is|are|gently|slowly|softly)"
)


class Gender(StrEnum):
    """Of the one person whom the reference shows; `person` where it is not to be said."""

    MAN = "man"
    WOMAN = "woman"
    PERSON = "person"

    @property
    def possessive(self) -> str:
        return {"man": "his", "woman": "her"}.get(self.value, "their")

    @property
    def objective(self) -> str:
        return {"man": "him", "woman": "her"}.get(self.value, "them")

    @property
    def noun_phrase(self) -> str:
        return f"a {self.value}"


def named_genders(text: str, *, pronouns: bool = True) -> set[Gender]:
    """Whose words the text has: those of a man, of a woman, both or neither.

    Without `pronouns` nouns alone count: who is there, not how it is called later.
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
    """Whether all words are of `gender`; for a person of none, whether none says a gender."""
    return named_genders(text) <= ({gender} - {Gender.PERSON})


def with_gender(text: str, gender: Gender) -> str:
    """The text with words of `gender` in place of those of another one.

    A person of none is called "the person" where it was "he": the verb stays as it is.
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
    if role is None:  # his and her: a possession's, or alone
        role = 2 if has_noun else {"his": 4, "her": 1}[word]
    forms = {
        Gender.MAN: ("he", "him", "his", "himself", "his"),
        Gender.WOMAN: ("she", "her", "her", "herself", "hers"),
        Gender.PERSON: ("the person", "them", "their", "themself", "theirs"),
    }
    return forms[gender][role]
