"""Tells the past tense of a verb from its past participle where both are spelt alike.

"The diver, dressed in yellow, drifted": only the second one has a subject.
"""

from __future__ import annotations

from .grammar import Token
from .lexicon import Form, is_phrasal, readings
from .tags import VERBS, Tag
from .words import Noun, names, words

_OPENS_CLAUSE = frozenset({Tag.CONJUNCTION, Tag.RELATIVE, Tag.SUBJECT_PRONOUN})
_BEGINS_SUBJECT = (Tag.DETERMINER, Tag.ADJECTIVE, Tag.NOUN, Tag.SUBJECT_PRONOUN)
_BEFORE_PAST = (Tag.NOUN, Tag.MARK, Tag.AND, Tag.QUOTE)


def base_of(token: Token) -> str:
    """Returns the dictionary form of a verb."""
    return token.reading.base if token.reading else token.word


def previous(tokens: list[Token], i: int) -> Token | None:
    """Returns the nearest word before the index `i` that is no adverb."""
    return next((each for each in reversed(tokens[:i]) if each.tag is not Tag.ADVERB), None)


def is_past(tokens: list[Token], i: int, finite: list[int]) -> bool:
    """Returns whether a form such as "dressed" is the past tense, and not a participle.

    `finite` has the indices of the finite verbs before it.
    """
    forms = _forms(tokens[i])
    if Form.PAST not in forms or Form.PAST_PARTICIPLE not in forms:
        return Form.PAST in forms
    last = previous(tokens, i)
    if last is None or last.tag in (Tag.SUBJECT_PRONOUN, Tag.RELATIVE):
        return last is not None
    if last.tag not in _BEFORE_PAST and not _is_of_preposition(tokens, i):
        return False
    if _tells_looks(tokens, i):
        return False
    first, end = _clause(tokens, i)
    done = [each for each in finite if each >= first]
    is_worn = base_of(tokens[i]) in words("verbs", "wear")
    if done and is_worn and last.tag in (Tag.MARK, Tag.AND) and _has_object(tokens, i):
        # "drew back the string, held his breath": a participle has no object.
        return True
    if tokens[first].tag is Tag.CONJUNCTION and not done:
        # "as fireworks burst"
        comma = next((j for j in range(i, end) if tokens[j].word == ","), end)
        return not any(_is_surely_finite(tokens, j) for j in range(i + 1, comma))
    if any(each.tag is Tag.PRESENT for each in tokens[first:end]):
        # A clause in the present tense has its past forms as participles.
        return False
    if done:
        if last.tag is Tag.NOUN and _begins_anew(tokens, i):
            return _score(tokens, i) >= 0
        if last.tag is Tag.NOUN:
            return _follows_relative(tokens, i, first, finite) and _score(tokens, i) >= 0
        return _score(tokens, i) >= 0
    if _has_object(tokens, i) and (is_worn or _score(tokens, i) >= 0):
        # "The waitress balanced a tray": a participle has no object.
        return True
    later = [j for j in range(i + 1, end) if not _is_joined(tokens, j)]
    if any(_is_surely_finite(tokens, j) for j in later):
        return False
    rivals = [i, *(j for j in later if _is_open(tokens, j))]
    if _is_aside(tokens, first, i) and any(
        j > i and tokens[j].tag is Tag.MARK for j in range(i, rivals[-1])
    ):
        return False
    likely = [j for j in rivals if _score(tokens, j) >= 0] or rivals
    return likely[0] == i and _score(tokens, i) > -2


def _forms(token: Token) -> set[Form]:
    found = {each.form for each in readings(token.word) if each.part == "v" and each.form}
    return found or {Form.PAST, Form.PAST_PARTICIPLE}


def _is_aside(tokens: list[Token], first: int, i: int) -> bool:
    """Returns whether a comma alone stands between the subject and the form at `i`.

    "The diver, dressed in yellow, ...": what so begins ends at the next comma. Another form may be
    joined to it: "The diver, masked and dressed in yellow, ...".
    """
    before = [each.tag for each in tokens[first:i]]
    if before.count(Tag.MARK) != 1:
        return False
    return set(before[before.index(Tag.MARK) + 1 :]) <= {Tag.ED, Tag.ADJECTIVE, Tag.AND, Tag.ADVERB}


def _tells_looks(tokens: list[Token], i: int) -> bool:
    """Returns whether a form tells in an aside how a part of the subject looks.

    "The conductor, (his) eyes shut and collar turned up, let ...": what begins the aside has no
    article, and another verb comes right after it.
    """
    marks = [j for j, each in enumerate(tokens) if each.tag is Tag.MARK]
    start = max((j + 1 for j in marks if j < i), default=0)
    comma = min((j for j in marks if j > i), default=len(tokens))
    after = next((each.tag for each in tokens[comma + 1 :] if each.tag is not Tag.ADVERB), None)
    if start < 2 or after not in (Tag.ED, Tag.PRESENT):
        return False
    if tokens[start - 2].tag is not Tag.NOUN or tokens[0].tag not in _BEGINS_SUBJECT:
        return False
    part = start + (tokens[start].word in ("his", "her", "its", "their"))
    nouns = [each.tag for each in tokens[part:i] if each.tag not in (Tag.NOUN, Tag.ADJECTIVE)]
    end = part + next((j for j, each in enumerate(tokens[part:i]) if each.tag in nouns), i - part)
    if end == part:
        return False
    head = tokens[end - 1].word
    is_part = head in words("nouns", "unseen")
    is_part = is_part or names(head, Noun.FACE) or names(head, Noun.CLOTHES)
    # "The samurai, his topknot neatly tied, unsheathed": no verb came yet.
    is_first = not any(each.tag in VERBS for each in tokens[:start])
    return part == start or is_part or is_first


def _begins_anew(tokens: list[Token], i: int) -> bool:
    """Returns whether the verb's subject begins a clause: "He whistled, and his dog raced"."""
    start = i
    while start and tokens[start - 1].tag in (Tag.DETERMINER, Tag.ADJECTIVE, Tag.NOUN):
        start -= 1
    return [each.tag for each in tokens[max(start - 2, 0) : start]] == [Tag.MARK, Tag.AND]


def _follows_relative(tokens: list[Token], i: int, first: int, finite: list[int]) -> bool:
    """Returns whether the verb at `i` may be the main one, after a clause of "who" from `first` on.

    "A woman who was sorting books looked up."
    """
    return (
        tokens[first].tag is Tag.RELATIVE
        and len(finite) == 1
        and not any(
            _is_open(tokens, j) and not _is_joined(tokens, j) for j in range(i + 1, len(tokens))
        )
    )


def _is_of_preposition(tokens: list[Token], i: int) -> bool:
    """Returns whether a pronoun with its preposition stands before the index: "behind him"."""
    tags = [each.tag for each in tokens[max(i - 2, 0) : i]]
    return tags == [Tag.PREPOSITION, Tag.OBJECT_PRONOUN]


def _clause(tokens: list[Token], i: int) -> tuple[int, int]:
    """Returns the indices of the first word and of the end of the clause around the index `i`."""
    opens = [j for j, each in enumerate(tokens) if _opens_clause(each)]
    first = max((j for j in opens if j <= i), default=0)
    # What opens a sentence with a conjunction ends at its comma.
    if first == 0 and tokens[0].tag is Tag.CONJUNCTION:
        comma = next((j for j, each in enumerate(tokens) if each.word == ","), len(tokens))
        if i > comma:
            first = comma
    return first, min((j for j in opens if j > i), default=len(tokens))


def _opens_clause(token: Token) -> bool:
    return token.tag in _OPENS_CLAUSE or token.word == ";"


def _is_open(tokens: list[Token], j: int) -> bool:
    """Returns whether the word may be the past tense as well as a participle."""
    if tokens[j].tag is not Tag.ED or (j and tokens[j - 1].tag is Tag.AUXILIARY):
        return False
    last = previous(tokens, j)
    return {Form.PAST, Form.PAST_PARTICIPLE} <= _forms(tokens[j]) and (
        last is None or last.tag in _BEFORE_PAST or _is_of_preposition(tokens, j)
    )


def _has_object(tokens: list[Token], i: int) -> bool:
    """Returns whether what is done something to follows, after a particle too: "held up a lamp"."""
    if i + 2 < len(tokens) and is_phrasal(base_of(tokens[i]), tokens[i + 1].word):
        i += 1
    after = tokens[i + 1].tag if i + 1 < len(tokens) else None
    return after in (Tag.DETERMINER, Tag.OBJECT_PRONOUN)


def _is_joined(tokens: list[Token], j: int) -> bool:
    """Returns whether "and" or "then" joins the verb to one before it."""
    last = previous(tokens, j)
    return last is not None and (last.tag is Tag.AND or tokens[j - 1].word == "then")


def _is_surely_finite(tokens: list[Token], j: int) -> bool:
    token = tokens[j]
    if token.tag is Tag.AUXILIARY:
        return token.word not in ("being", "having", "be", "been")
    if token.tag is not Tag.ED:
        return token.tag is Tag.PRESENT
    return Form.PAST in (forms := _forms(token)) and Form.PAST_PARTICIPLE not in forms


def _score(tokens: list[Token], j: int) -> int:
    """Returns how likely a form is the past tense, by its verb and what follows it."""
    after = tokens[j + 1] if j + 1 < len(tokens) else None
    base = base_of(tokens[j])
    lasts = base in words("verbs", "state") or base in words("verbs", "wear")
    score = -2 if lasts else 0
    if after is None:
        return score
    if after.word == "by" and any(base in words("verbs", each) for each in ("posture", "stay")):
        # "sat by the window": nobody is sat by anybody.
        return score
    if after.word in ("by", "with"):
        return score - (3 if after.word == "by" else 1)
    if score < 0 and after.tag in (Tag.PREPOSITION, Tag.TO):
        return score - 1
    objects = (Tag.DETERMINER, Tag.OBJECT_PRONOUN, Tag.NOUN, Tag.ADVERB, Tag.QUOTE)
    has_object = after.tag in objects
    return score + has_object
