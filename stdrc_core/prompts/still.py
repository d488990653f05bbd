"""What of a sentence stands still: the words that a first frame keeps, in phrases.

The sentence's words are gone through in order. Verbs of action are left out with their adverbs, and
of what follows one only things and places are kept; all that tells how somebody or something looks
is kept.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from .clauses import Says, VerbGroup, verb_groups
from .grammar import Token, read_sentence
from .lexicon import Kind, is_phrasal, present_participle, readings
from .noun_phrases import is_person, noun_phrase_end
from .tags import VERBS, Tag
from .tense import base_of
from .words import Noun, names, words

# A preposition of motion -> the one in its place in a still picture, for a place that one is in and
# for one that one is on: "through a park" becomes "in a park".
_STILL_PREPOSITIONS = {
    "through": ("in", "on"),
    "across": ("in", "on"),
    "into": ("in", "on"),
    "around": ("in", "on"),
    "along": ("by", "on"),
    "down": ("in", "on"),
    "up": ("on", "on"),
    "onto": ("on", "on"),
    "off": ("on", "on"),
    "from": ("near", "on"),
    "past": ("near", "near"),
    "to": ("near", "near"),
    "toward": ("near", "near"),
    "towards": ("near", "near"),
}
# "climbs out of a pool" becomes "near a pool".
_FROM = ("out", "off", "clear", "ahead")
# These stay as they are after an object: "ties a ribbon around a neck".
_AFTER_OBJECT = ("across", "around")
# These are left out before a person: "waves to a boy".
_TOWARD_PERSONS = ("on", "at", "to", "toward", "towards", "for", "around")
_OPEN = frozenset({Tag.AND, Tag.PREPOSITION, Tag.TO, Tag.CONJUNCTION, Tag.RELATIVE, Tag.DETERMINER})


# What stands before the subject of a clause.
_CLAUSE_MARKS = (Tag.MARK, Tag.CONJUNCTION, Tag.RELATIVE, Tag.AND)


@dataclass
class _Still:
    """Goes through one sentence; `kept` holds for each word what is kept of it."""

    text: str
    subject: str
    seen: set[str]
    tokens: list[Token] = field(init=False)
    kept: list[str | None] = field(init=False)
    acting: bool = False
    """Whether what follows belongs to an action."""
    is_light: bool = False
    """Whether that action's verb says nothing without its object."""

    def __post_init__(self) -> None:
        self.tokens = read_sentence(self.text)
        self.kept = [None] * len(self.tokens)

    def phrases(self) -> list[str]:
        groups = {each.start: each for each in verb_groups(self.tokens)}
        i = 0
        while i < len(self.tokens):
            if i in groups:
                self._verb(groups[i])
                i = groups[i].end
            else:
                i = self._other(i)
        return self._strung()

    def _keep(self, start: int, end: int) -> int:
        for i in range(start, end):
            token = self.tokens[i]
            self.kept[i] = self.text[token.start : token.end]
        return end

    def _verb(self, group: VerbGroup) -> None:
        last = group.end - 1
        self._without_lead(group)
        self.acting = False
        if group.says is Says.BE:
            return
        if self._has_lost_object(group):
            self.acting = True
            return
        if group.says is Says.HAVE:
            self.kept[last] = "with"
        elif group.says is Says.STATE and self.tokens[last].tag is not Tag.INFINITIVE:
            if group.passive or not group.finite:
                self._keep(last, group.end)
            else:
                self.kept[last] = present_participle(group.base)
        elif self._is_description(group):
            self._keep(group.start if not group.passive else last, group.end)
        else:
            self.is_light = group.base in words("verbs", "light")
            self.acting = group.base not in words("verbs", "shown") or not group.passive

    def _is_description(self, group: VerbGroup) -> bool:
        """Returns whether a participle tells how something is: "strapped", "her hair is tied"."""
        if self.tokens[group.start].word == "having":
            return False
        if not group.passive:
            return self.tokens[group.end - 1].tag is Tag.ED and not group.finite
        start = group.start
        while start and self.tokens[start - 1].tag not in _CLAUSE_MARKS:
            start -= 1
        end = noun_phrase_end(self.tokens, start)
        return end > start and not is_person(self.tokens[end - 1])

    def _has_lost_object(self, group: VerbGroup) -> bool:
        """Returns whether the verb is of a pronoun that is left out: "carries it"."""
        after = self.tokens[group.end] if group.end < len(self.tokens) else None
        return (
            after is not None
            and after.tag is Tag.OBJECT_PRONOUN
            and group.base in words("verbs", "wear")
        )

    def _without_lead(self, group: VerbGroup) -> None:
        """Leaves out what only led to a verb: "before" of "before leaving", "to" of "to sit"."""
        i = group.start - 1
        if i >= 0 and self.tokens[i].tag in (Tag.PREPOSITION, Tag.TO, Tag.ADVERB):
            self.kept[i] = None

    def _other(self, i: int) -> int:
        token = self.tokens[i]
        if token.tag is Tag.MARK:
            self.acting = False
            return i + 1
        if token.tag in (Tag.SUBJECT_PRONOUN, Tag.CONJUNCTION):
            self.acting = False
            if token.word in ("he", "she", "they") and not self.seen:
                self.kept[i] = self.subject
                self.seen.add(self.subject)
            return i + 1
        if token.tag in (Tag.RELATIVE, Tag.QUOTE, Tag.OBJECT_PRONOUN):
            return i + 1
        if token.tag is Tag.AND:
            return self._keep(i, i + 1)
        if token.tag in (Tag.PREPOSITION, Tag.TO):
            return self._with_preposition(i)
        end = noun_phrase_end(self.tokens, i)
        if end > i:
            if self._is_kept(i, end):
                self._keep(i, end)
            return end
        if token.tag is Tag.ADJECTIVE and self._goes_on(i):
            return self._keep(i, i + 1)
        return i + 1 if self.acting else self._keep(i, i + 1)

    def _goes_on(self, i: int) -> bool:
        """Returns whether an adjective tells of the thing before it: "a yard full of flowers"."""
        return (
            0 < i < len(self.tokens) - 1
            and self.kept[i - 1] is not None
            and self.tokens[i - 1].tag is Tag.NOUN
            and self.tokens[i + 1].tag is Tag.PREPOSITION
        )

    def _with_preposition(self, i: int) -> int:
        start = i + 1
        while start < len(self.tokens) and self.tokens[start].tag is Tag.PREPOSITION:
            start += 1
        end = noun_phrase_end(self.tokens, start)
        if end == start:
            is_last = start >= len(self.tokens) or self.tokens[start].tag in (Tag.MARK, Tag.TO)
            return start if self.acting or is_last else self._keep(i, start)
        if not self._is_kept(start, end):
            return end
        self._keep(i, end)
        word = self.tokens[i].word
        if self.acting and word == "by" and is_person(self.tokens[end - 1]):
            self.kept[i:end] = [None] * (end - i)
        elif self.acting:
            self.kept[i:start] = [None] * (start - i)
            self.kept[start - 1] = self._still_preposition(start - 1, end)
        return end

    def _still_preposition(self, i: int, end: int) -> str | None:
        """Returns what stands for the preposition at `i` of a phrase, None for nothing."""
        word = self.tokens[i].word
        if i and self.tokens[i - 1].tag in VERBS and is_phrasal(base_of(self.tokens[i - 1]), word):
            return None
        if word in _TOWARD_PERSONS and is_person(self.tokens[end - 1]):
            return None
        if word == "out" and i and self.tokens[i - 1].tag in VERBS:
            # "shakes out her hair", "looks out the window"
            is_own = self.tokens[i + 1].word in ("his", "her", "its", "their")
            return None if is_own else "near"
        if word == "of" and i and self.tokens[i - 1].word in _FROM:
            return "near"
        follows_object = i > 0 and self.tokens[i - 1].tag is Tag.NOUN
        if word not in _STILL_PREPOSITIONS or (word in _AFTER_OBJECT and follows_object):
            return self.text[self.tokens[i].start : self.tokens[i].end]
        phrase = " ".join(each.word for each in self.tokens[i + 1 : end])
        is_surface = any(each.word in words("nouns", "surface") for each in self.tokens[i:end])
        if names(phrase, Noun.FACE):
            return word if word in _AFTER_OBJECT else "on"
        if word == "from" and names(phrase, Noun.PLACE):
            return "at"
        return _STILL_PREPOSITIONS[word][is_surface]

    def _is_kept(self, start: int, end: int) -> bool:
        """Returns whether a noun phrase is kept: not the camera, and after an action only things.

        A phrase such as "the woman" is not kept where "a woman" is already.
        """
        nouns = [each for each in self.tokens[start:end] if each.tag is Tag.NOUN]
        self.seen |= {each.word[:-2] for each in self.tokens[start:end] if _is_persons(each)}
        phrase = " ".join(each.word for each in self.tokens[start:end])
        if any(each.word in words("nouns", "camera") for each in nouns):
            return False
        head = nouns[-1].word
        if is_person(nouns[-1]):
            is_again = self.tokens[start].word == "the" and head in self.seen
            self.seen.add(head)
            return not is_again
        if not self.acting:
            return True
        if any(names(phrase, noun) for noun in (Noun.FACE, Noun.CLOTHES, Noun.PLACE)):
            return True
        if head in words("nouns", "unseen"):
            return False
        if head in words("nouns", "seen") or head in words("nouns", "surface"):
            return True
        # What the lexicon has not is likelier a thing ("sandcastle") than an idea.
        return any(
            each.reading.kind is Kind.THING if each.reading else not self.is_light for each in nouns
        )

    def _strung(self) -> list[str]:
        """Returns the kept words in phrases; a phrase ends where a word was left out."""
        phrases: list[str] = []
        run: list[int] = []
        for i, kept in enumerate((*self.kept, None)):
            if kept is not None:
                run.append(i)
                continue
            phrases += self._phrase(run)
            run = []
        return [*dict.fromkeys(phrases)]

    def _phrase(self, run: list[int]) -> list[str]:
        while run and self._is_open(run):
            run = run[:-1]
        while run and self.tokens[run[0]].tag is Tag.AND:
            run = run[1:]
        if all(self.tokens[i].tag is Tag.ADVERB for i in run):
            return []
        out = ""
        for i in run:
            gap = self.text[self.tokens[i - 1].end : self.tokens[i].start] if i else ""
            out += (gap if out else "") + (self.kept[i] or "")
        return [_balanced(out)]

    def _is_open(self, run: list[int]) -> bool:
        """Returns whether a phrase cannot end with its last word: "the", "than", "not"."""
        i = run[-1]
        token = self.tokens[i]
        if len(run) > 1 and token.word in words("tags", "numbers"):
            return False
        return token.word in ("not", "never") or (token.tag in _OPEN and self.kept[i] != "with")


def _is_persons(token: Token) -> bool:
    """Returns whether a word is the possessive of a person: "man's"."""
    if not token.word.endswith("'s"):
        return False
    return any(each.kind is Kind.PERSON for each in readings(token.word[:-2]))


def _balanced(phrase: str) -> str:
    """Returns the phrase without brackets and weights if one of a pair was left out."""
    if phrase.count("(") == phrase.count(")"):
        return phrase
    return "".join(each for each in phrase if each not in "()")


def still_phrases(sentence: str, subject: str, seen: set[str]) -> list[str]:
    """Returns the phrases of a sentence that a first frame keeps.

    `subject` is said for a pronoun that begins the prompt. `seen` has the persons that earlier
    sentences named; those of this one are added to it.
    """
    return _Still(sentence, subject, seen).phrases()
