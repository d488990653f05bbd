"""Chooses a part of speech for each word of a sentence by Viterbi's algorithm.

Of all sequences of tags that one is taken whose sum of logarithms is the greatest: over the words,
over neighbouring tags, and over what a sentence needs: a verb in each clause, and the number of its
subject. All numbers are ours, set by hand.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from .lexicon import Form, Kind, Reading, forms_of
from .tags import VERBS, Candidates, Tag
from .words import words

# Logarithms for a tag after another one; what is not here counts _RARE.
_RARE = -7.0
# For a sentence without a verb.
_NO_VERB = -3.0
_AFTER_SUBJECT = (Tag.PREPOSITION, Tag.TO, Tag.PRESENT, Tag.AUXILIARY, Tag.ED, Tag.ING, Tag.MARK)
_IN_LIST = (Tag.DETERMINER, Tag.ADJECTIVE, Tag.NOUN, Tag.AND)
_OPENS = (Tag.CONJUNCTION, Tag.RELATIVE, Tag.SUBJECT_PRONOUN)
_ENDS_WATCHING = (*_OPENS, Tag.MARK, Tag.AND, Tag.TO)
_PAIRS = ((Tag.PRESENT, Tag.MARK), (Tag.PRESENT, Tag.AND), (Tag.PREPOSITION, Tag.OBJECT_PRONOUN))
_AFTER_VERB = "D0 P-.2 R-.2 N-1 J-1.5 U-.7 K-.7 C-1 S-.7 T-.7 G-2 V-4 Q-1 W-2 .-.3"
_AFTER = {
    "^": "D0 N-.7 J-1 O-.3 P-.7 G-1.5 S-1 R-1.2 V-1.7 F-4 A-4 Q-3 T-2 K-3 C-3 U-6",
    "D": "J0 N0 D-1.5 R-3 Q-3",
    "J": "N0 J-.7 C-1.3 P-1.3 K-.7 S-2 T-1.5 .-1 R-3 A-4 F-5 V-5 G-4 W-3 D-4",
    "N": "N-1.6 P-.3 F-.8 V-1 G-1.2 A-.5 C-.7 K-.3 W-.8 S-.8 R-1 T-1.3 .0 J-3 D-2.5 O-3.5 Q-3",
    "O": "F0 A-.2 V-.2 R-.7 K-4 G-4 D-4 .-3 C-3",
    "U": "P-.5 K-.5 C-1 .-.3 R-1 S-1 G-1.5 I-1.5 T-1.5 D-2 J-2 F-5 A-5",
    "P": "D0 N-.5 J-.8 G-1.5 U-1 R-3 P-1.5 Q-2 W-2 T-4",
    "C": "D-.5 N-.8 J-.8 P-1 G-1 V-1 F-1 R-1 O-1 S-1.5 A-1.5 T-2 I-2.5 W-2.5",
    "S": "D0 O0 N-.5 J-1 G-.9 P-1.7 V-2.5 R-2 C-4",
    "W": "F0 A0 V0 R-1 D-1.5 O-1 N-.8 J-1.5 P-4",
    "A": "G0 V0 R-.4 I0 A-.3 J-.5 D-.5 P-.7 N-1.5 T-2 U-3 O-3 K-2.5 .-3",
    "F": _AFTER_VERB,
    "V": _AFTER_VERB + " F-5 A-5",
    "G": _AFTER_VERB + " F-4 A-4",
    "I": _AFTER_VERB,
    "R": "F-.7 V-.7 G-.7 J-.8 R-1 P-.7 K-.8 C-1 S-1 D-1.2 N-2.5 O-2 U-3 A-1 .-.5 I-1.2 T-1 W-3",
    "T": "I0 D0 N-.7 J-1 U-.7 R-2 Q-3 A-2",
    "K": "D-.5 N-.7 J-.8 P-.7 G-.7 V-.9 F-1.5 C-.5 S-.6 O-.6 W-.8 R-.8 A-1.5 Q-1 T-1.5 K-2 I-4",
    "Q": "D-1 N-1 J-1 O-1 P-1 G-1 V-1 F-1 A-1 C-.5 S-1 R-1 K-.3 .0 W-2 T-1",
}  # fmt: skip
# How many of the best states are followed from word to word.
_MAX_STATES = 32


@dataclass(frozen=True)
class _State:
    """What the words so far leave to the next one."""

    tag: str = "^"
    has_verb: bool = False
    """Whether the sentence has a verb."""
    has_relative: bool = False
    """Whether it has the verb of a clause of "who"."""
    owes: str = ""
    """The tag of what began a clause, such as "while", that has no verb yet."""
    clause_has_verb: bool = False
    """Whether no mark or conjunction came since the last finite verb."""
    number: str = ""
    """Whether the subject is "one" or "many"; empty before it is known."""
    is_past_subject: bool = False
    """Whether the words are beyond the subject's own noun phrase, so that it stays as it is."""
    has_and: bool = False
    """Whether "and" came before, so that a verb may be in the plural."""
    num_marks: int = 0
    """How many marks came, of 2 at most."""
    is_of_one: bool = False
    """Whether the last word is a noun of one person."""
    is_bare: bool = False
    """Whether the last noun is in the singular and follows a comma without an article."""
    is_open: bool = False
    """Whether an article came that has no noun yet."""
    watches: str = ""
    """"verb" where the last verb may have what another one does after it ("watches the waves
    crash"), "alive" once a person or an animal followed that verb."""
    after: str = ""
    """The tag before the last one, where it is a verb and the last one a mark or "and" ("leaps, "),
    or a preposition and the last one its pronoun ("behind him ")."""
    listing: str = ""
    """"mark" after a comma, "nouns" once nouns alone followed, so that "and" joins one more;
    "verbs" once a verb followed at once, "more verbs" after the next ("turns, and bows")."""


def best_tags(found: list[Candidates]) -> list[Tag]:
    """Returns the tag of each word."""
    best: dict[_State, float] = {_State(): 0.0}
    came_from: list[dict[_State, tuple[_State, Tag]]] = []
    for each in found:
        reached: dict[_State, float] = {}
        steps: dict[_State, tuple[_State, Tag]] = {}
        for state, score in best.items():
            for tag, (own, reading) in each.tags.items():
                total = score + own + _transition(state.tag, tag) + _fit(state, tag, reading)
                then = _next(state, tag, each.word, reading)
                if then not in reached or total > reached[then]:
                    reached[then], steps[then] = total, (state, tag)
        kept = sorted(reached, key=lambda state: reached[state], reverse=True)[:_MAX_STATES]
        best = {state: reached[state] for state in kept}
        came_from.append(steps)
    state = max(best, key=lambda state: best[state] + _transition(state.tag, ".") + _end(state))
    tags = []
    for steps in reversed(came_from):
        state, tag = steps[state]
        tags.append(tag)
    return tags[::-1]


def _next(state: _State, tag: Tag, word: str, reading: Reading | None) -> _State:
    is_finite = tag in (Tag.PRESENT, Tag.AUXILIARY) or (
        tag is Tag.ED and state.tag != Tag.AUXILIARY and not _is_of_state(reading)
    )
    opens = tag in _OPENS
    owes = state.owes
    if opens:
        owes = tag
    elif is_finite or tag in (Tag.ING, Tag.ED, Tag.MARK):
        owes = ""
    has_verb = is_finite and not state.owes
    number, is_past = state.number, state.is_past_subject
    ends_first_clause = tag is Tag.MARK and state.clause_has_verb and not state.has_verb
    if opens or ends_first_clause:
        # The subject is yet to come, as after "As waves crash,".
        number, is_past = "", False
    elif tag is Tag.NOUN and not is_past:
        is_plural = reading is not None and reading.is_plural
        number = "many" if is_plural or state.has_and else "one"
        if word in words("nouns", "collective"):
            number = "any"
    is_past = is_past or (number != "" and tag in _AFTER_SUBJECT)
    starts_bare = state.tag in ("^", Tag.MARK) or (state.is_bare and state.tag == Tag.ADJECTIVE)
    return _State(
        tag=tag,
        has_verb=state.has_verb or has_verb,
        has_relative=state.has_relative or (is_finite and state.owes == Tag.RELATIVE),
        owes=owes,
        clause_has_verb=(is_finite and state.owes != Tag.RELATIVE)
        or (state.clause_has_verb and not opens and tag not in (Tag.MARK, Tag.AND)),
        number=number,
        is_past_subject=is_past,
        has_and=word == "and" or (state.has_and and not opens and tag is not Tag.PRESENT),
        is_open=tag is Tag.DETERMINER or (state.is_open and tag is Tag.ADJECTIVE),
        watches=_watches(state, tag, reading),
        num_marks=min(state.num_marks + (tag is Tag.MARK), 2),
        is_of_one=tag is Tag.NOUN
        and reading is not None
        and reading.kind is Kind.PERSON
        and not reading.is_plural,
        after=state.tag if (state.tag, tag) in _PAIRS else "",
        listing=_listing(state, tag),
        is_bare=(state.is_bare and tag is Tag.PRESENT)
        or (
            starts_bare
            and (tag is Tag.ADJECTIVE or (tag is Tag.NOUN and not (reading and reading.is_plural)))
        ),
    )


def _watches(state: _State, tag: Tag, reading: Reading | None) -> str:
    if tag in VERBS:
        return "verb" if reading is not None and reading.base in words("verbs", "watch") else ""
    if not state.watches or tag in _ENDS_WATCHING:
        return ""
    is_alive = reading is not None and reading.kind in (Kind.PERSON, Kind.ANIMAL)
    return "alive" if is_alive else "verb" if tag is Tag.NOUN else state.watches


def _listing(state: _State, tag: Tag) -> str:
    if tag is Tag.MARK:
        return "more verbs" if state.listing == "verbs" else "mark"
    if state.listing == "verbs" or (state.listing and tag is Tag.PRESENT):
        is_at_once = state.tag == Tag.MARK or state.listing in ("verbs", "more verbs")
        return "verbs" if is_at_once else ""
    if state.listing == "more verbs":
        return state.listing if tag is Tag.AND else ""
    if not state.listing or tag not in _IN_LIST:
        return ""
    return "nouns" if tag is Tag.NOUN else state.listing


def _fit(state: _State, tag: Tag, reading: Reading | None) -> float:
    """Returns what speaks for a tag or against it: number, tense, verbs that are owed or many."""
    less = 0.0
    if state.owes and tag in (Tag.MARK, Tag.CONJUNCTION):
        less -= 3.0
    elif state.owes and tag in (Tag.PRESENT, Tag.AUXILIARY, Tag.ED):
        less += 1.0
    if tag is Tag.MARK and state.tag == Tag.PRESENT and state.is_bare and state.is_past_subject:
        # "cherry blossoms," has a noun.
        less -= 4.0
    follows_noun = state.tag in (Tag.NOUN, Tag.ADVERB)
    is_base = reading is not None and reading.form is Form.BASE
    if tag is Tag.PRESENT and is_base and state.number == "one" and state.tag != Tag.AUXILIARY:
        less -= 1.5 if state.has_and else 6.0
    elif tag is Tag.PRESENT and follows_noun:
        if is_base and state.number not in ("many", "any"):
            less -= 1.5 if state.has_and else 6.0
        elif not is_base and state.number == "many":
            less -= 5.0
        less -= 4.0 if state.is_bare and state.is_past_subject else 0.0
    if state.watches and tag is Tag.INFINITIVE and state.tag in (Tag.NOUN, Tag.OBJECT_PRONOUN):
        less += 1.0 if state.tag != Tag.NOUN else 7.5 if state.watches == "alive" else 5.5
    if state.is_of_one and tag is Tag.NOUN and reading is not None and reading.is_plural:
        # "The astronomer peers": names of things rarely begin with one person.
        less -= 1.5
    if tag is Tag.PRESENT and state.tag == Tag.MARK and state.num_marks == 1 and not state.has_verb:
        # "The teller, rings on her fingers, waves"
        less -= 2.5
    if state.is_open and state.tag == Tag.ADJECTIVE and tag is Tag.ING:
        # "a misty clearing" has a noun.
        less -= 4.0
    if state.after == Tag.PRESENT and tag is Tag.PRESENT:
        # "leaps, twists and lands"
        less += 2.5
    if state.after == Tag.PREPOSITION and tag in (Tag.PRESENT, Tag.ED, Tag.AUXILIARY):
        # "the dog behind her barks"
        less += 6.0 if tag is Tag.ED else 3.5
    if tag is Tag.PRESENT and state.tag == Tag.AND and state.listing == "nouns":
        less -= 4.0
    if tag is Tag.PRESENT and state.tag == Tag.AND and state.listing == "more verbs":
        less += 2.5
    if tag in (Tag.PRESENT, Tag.AUXILIARY) and state.clause_has_verb and follows_noun:
        less -= 2.5
    is_past = reading is not None and reading.form is Form.PAST
    if tag is Tag.ED and state.tag == "^" and is_past:
        # "Rose" at the beginning is a name.
        less -= 0.0 if reading and _is_participle_too(reading.base) else 5.0
    return less


def _end(state: _State) -> float:
    missing = 0.0 if state.has_verb else _NO_VERB / 2 if state.has_relative else _NO_VERB
    if state.tag == Tag.PRESENT and state.is_bare and state.is_past_subject:
        missing -= 4.0
    return missing - (3.0 if state.owes else 0.0)


def _is_of_state(reading: Reading | None) -> bool:
    return reading is not None and reading.base in words("verbs", "state")


def _is_participle_too(base: str) -> bool:
    return not set(forms_of(base)[Form.PAST]).isdisjoint(forms_of(base)[Form.PAST_PARTICIPLE])


@cache
def _transition(before: str, tag: str) -> float:
    for each in _AFTER[before].split():
        if each[0] == tag:
            return float(each[1:])
    return _RARE if tag != "." else -3.0
