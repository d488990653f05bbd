"""Turns a prompt into its two decoupled prompts, with a language model's answers or by rules."""

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

# LTX's text encoder reads 1024 tokens, and more words than this may not fit.
MAX_PROMPT_WORDS = 500


@dataclass(frozen=True, kw_only=True)
class Subject:
    """The person whom the prompt is about."""

    gender: Gender | None
    """The person's gender. None stands for a man and a woman, whose words are to be left alone."""
    source: str
    """The gender and where it was taken from, as one or two sentences for the report."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """A checked prompt and its subject."""

    prompt: str
    """The user's prompt, on one line."""
    subject: Subject
    """The person whom the prompt is about."""

    @property
    def instructions(self) -> tuple[str, str]:
        """What a language model is asked for the spatial prompt, and for the temporal one."""
        gender = self.subject.gender
        return spatial_instruction(self.prompt, gender), temporal_instruction(self.prompt, gender)


@dataclass(frozen=True, kw_only=True)
class Decoupled:
    """The two decoupled prompts."""

    spatial: str
    """The prompt of the first frame."""
    temporal: str
    """The prompt of the motion."""
    notes: tuple[str, ...]
    """How the gender was found and the two prompts were made, in sentences."""

    @property
    def report(self) -> str:
        """The notes, each on a line of its own."""
        return "\n".join(self.notes)


def find_subject(
    prompt: str, asked: Gender | None, seen: Gender | None, about_photo: str
) -> Subject:
    """Returns the subject of a prompt, with the gender that the decoupled prompts will have.

    A prompt whose nouns name a man and a woman keeps both. Else the gender is the one `asked` for
    by hand, or if none is, the one `seen` in the photo, or that of the prompt's own words. Where
    none of these says it, the subject is a person without a gender. `about_photo` says what the
    photo told, or why it told nothing; it goes into the report.
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
    """Returns the request for a prompt. Raises ValueError as `check_prompt` does."""
    check_prompt(prompt)
    return Request(prompt=one_line(prompt), subject=subject)


def check_prompt(prompt: str) -> None:
    """Raises ValueError for a prompt without words, or of more than 500 words."""
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
    """Returns the two prompts, made from a language model's answers.

    Where an answer is None, rules make that prompt without a language model. Raises ValueError for
    an answer without a prompt in it.
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
