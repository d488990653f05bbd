"""From a prompt to its two halves: what is asked of a language model, and what comes of it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from .answers import Part, read_answer
from .gender import Gender, named_genders
from .instructions import spatial_instruction, temporal_instruction
from .spatial import ANY_LANGUAGE, SpatialRule, broken_spatial_rules, closed_up, repaired_spatial
from .split import split_prompt
from .temporal import TemporalRule, broken_temporal_rules, repaired_temporal, with_facial_cue
from .text import count_words, is_english, one_line

# LTX reads 1024 tokens; this many words may not fit.
MAX_PROMPT_WORDS = 500


@dataclass(frozen=True, kw_only=True)
class Subject:
    """Whom the prompt is about. `gender` None: a man and a woman, who are not to be mixed up.

    `source` says where that was taken from: one sentence for the report.
    """

    gender: Gender | None
    source: str


@dataclass(frozen=True, kw_only=True)
class Request:
    """A checked prompt and its subject."""

    prompt: str
    subject: Subject

    @property
    def instructions(self) -> tuple[str, str]:
        """For the spatial parser and for the temporal polisher."""
        gender = self.subject.gender
        return spatial_instruction(self.prompt, gender), temporal_instruction(self.prompt, gender)


@dataclass(frozen=True, kw_only=True)
class Decoupled:
    """The first frame's prompt and the motion's; `notes` say in sentences how they were made."""

    spatial: str
    temporal: str
    notes: tuple[str, ...]

    @property
    def report(self) -> str:
        """The notes, one a line."""
        return "\n".join(self.notes)


def find_subject(
    prompt: str, asked: Gender | None, seen: Gender | None, about_photo: str
) -> Subject:
    """Whose gender the prompts will have: `asked` for by hand, else `seen` in the photo, else the
    prompt's own words; where none says it, a person's.

    `about_photo` says what the photo gave, or why nothing; it goes into the report.
    """
    named = named_genders(prompt, pronouns=False) if is_english(prompt) else set()
    if len(named) > 1:
        return Subject(
            gender=None,
            source="Gender: the prompt names a man and a woman; words of both are left alone.",
        )
    named = named or (named_genders(prompt) if is_english(prompt) else set())
    own = next(iter(named)) if len(named) == 1 else None
    if asked is not None:
        found, source = asked, "set by hand"
    elif seen is not None:
        found, source = seen, about_photo
    elif own is not None:
        found, source = own, f"by the prompt's own words{_aside(about_photo)}"
    else:
        found = Gender.PERSON
        source = f"not told by the prompt{_aside(about_photo)}; set it by hand to have it"
    told = f"Gender: {found}, {source}."
    if own is not None and own is not found:
        told += f" The prompt's words are for a {own} and are changed."
    return Subject(gender=found, source=told)


def make_request(prompt: str, subject: Subject) -> Request:
    """Raises ValueError for an empty prompt or one of more than 500 words."""
    check_prompt(prompt)
    return Request(prompt=one_line(prompt), subject=subject)


def check_prompt(prompt: str) -> None:
    """Raises ValueError for an empty prompt or one of more than 500 words."""
    num_words = count_words(prompt)
    if not any(letter.isalpha() for letter in prompt):
        raise ValueError("prompt has no words; needs who does what and where: write one sentence.")
    if num_words > MAX_PROMPT_WORDS:
        raise ValueError(
            f"prompt has {num_words} words; needs {MAX_PROMPT_WORDS} or fewer, beyond which the "
            "text encoder may not read it: shorten it."
        )


def decouple(
    request: Request, spatial_answer: str | None = None, temporal_answer: str | None = None
) -> Decoupled:
    """The two prompts, from a language model's answers or, for None, without one.

    Raises ValueError for an answer without a prompt in it.
    """
    spatial, spatial_note = _spatial(request, spatial_answer)
    temporal, temporal_note = _temporal(request, temporal_answer)
    return Decoupled(
        spatial=spatial,
        temporal=temporal,
        notes=(request.subject.source, spatial_note, temporal_note),
    )


def _spatial(request: Request, raw: str | None) -> tuple[str, str]:
    gender = request.subject.gender
    if raw is None and is_english(request.prompt):
        return split_prompt(request.prompt, gender)[0], _split_note(Part.SPATIAL)
    said = request.prompt if raw is None else read_answer(raw, Part.SPATIAL)
    if not is_english(said):
        return closed_up(said), _foreign_note(Part.SPATIAL, ANY_LANGUAGE)
    return _repaired(
        Part.SPATIAL,
        said,
        broken_spatial_rules(said, gender),
        lambda: repaired_spatial(said, gender),
    )


def _temporal(request: Request, raw: str | None) -> tuple[str, str]:
    gender = request.subject.gender
    if raw is None and is_english(request.prompt):
        return split_prompt(request.prompt, gender)[1], _split_note(Part.TEMPORAL)
    said = request.prompt if raw is None else read_answer(raw, Part.TEMPORAL)
    if not is_english(said):
        return with_facial_cue(said, gender), _foreign_note(
            Part.TEMPORAL, {TemporalRule.FACE, TemporalRule.LENGTH}
        )
    return _repaired(
        Part.TEMPORAL,
        said,
        broken_temporal_rules(said, gender),
        lambda: repaired_temporal(said, gender),
    )


def _repaired(
    part: Part,
    said: str,
    broken: Collection[SpatialRule | TemporalRule],
    repair: Callable[[], str],
) -> tuple[str, str]:
    if not broken:
        return said, f"{part.capitalize()}: the answer keeps all rules; unchanged."
    rules = "; ".join(broken)
    return repair(), f'{part.capitalize()}: repaired ({rules}). The answer was: "{said}"'


def _split_note(part: Part) -> str:
    return f"{part.capitalize()}: made by rules, without a language model."


def _foreign_note(part: Part, rules: Collection[SpatialRule | TemporalRule]) -> str:
    asked = "; ".join(sorted(rules))
    return (
        f"{part.capitalize()}: not English, and our rules know English alone; passed through, with "
        f"what needs no grammar ({asked})."
    )


def _aside(about_photo: str) -> str:
    return f" ({about_photo})" if about_photo else ""
