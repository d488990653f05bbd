"""Which clip was made from which prompt and photos: a file of JSON lines."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from ..folders import path_in
from ..text_files import check_whole, read_lines

_EXAMPLE = '{"video": "a.mp4", "prompt": "a person reads", "reference": "a.png"}'


class Pair(BaseModel):
    """A line of the file: a clip, and the prompt and photos that it was made from.

    Other keys are passed over. The lines of a training manifest will do, since `caption` is another
    name of `prompt`.
    """

    model_config = ConfigDict(frozen=True)

    video: str = Field(min_length=1)
    """Its path below the folder of videos, which is the clip's name everywhere."""
    prompt: str | None = Field(default=None, validation_alias=AliasChoices("prompt", "caption"))
    references: tuple[Path, ...] = Field(
        default=(), validation_alias=AliasChoices("reference", "references")
    )
    """The photo's path, from the folder of the pairs file, or those of several photos of one
    person."""
    person: str | None = Field(default=None, validation_alias="identity")
    """Who it is, by the key `identity`; without it each photo, as its path is written here, is a
    person of its own, and several are the person of the first."""

    @model_validator(mode="before")
    @classmethod
    def _is_of_one_person(cls, line: Any) -> Any:
        persons = line.get("persons") if isinstance(line, dict) else None
        if isinstance(persons, list) and len(persons) > 1:
            raise ValueError(
                f"persons was {persons}, and FaceSim is of one person: leave the line out"
            )
        return line

    @field_validator("references", mode="before")
    @classmethod
    def _as_several(cls, value: Any) -> Any:
        if value is None:
            return ()
        return value if isinstance(value, list | tuple) else (value,)

    def lacks(self, key: str) -> bool:
        """Whether the line does not have this key, `prompt` or `reference`."""
        return self.prompt is None if key == "prompt" else not self.references


def read_pairs(path: Path, videos: Path, needs: Collection[str]) -> list[Pair]:
    """The pairs of a file; `needs` are the keys that each must have.

    Raises ValueError for a file or line that cannot be used, and for a clip or photo that is not
    there.
    """
    if not videos.is_dir():
        raise ValueError(
            f"videos {videos} is no folder; needs the folder of clips: check --videos."
        )
    try:
        lines = read_lines(path, "pairs")
    except OSError as error:
        raise ValueError(
            f"pairs {path} could not be read ({error}); needs a file of JSON lines such as "
            f"{_EXAMPLE}."
        ) from error
    pairs: list[Pair] = []
    places: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"line {number} of pairs {path}"
        pair = _read(line, where, path.parent)
        for key in needs:
            if pair.lacks(key):
                raise ValueError(
                    f"{where} has no {key}, which the metrics asked for need: add it, or leave "
                    "those metrics out."
                )
        if pair.video in places:
            raise ValueError(
                f"{where} names video {pair.video} as line {places[pair.video]} does; needs each "
                "video once."
            )
        places[pair.video] = number
        pairs.append(pair)
    if not pairs:
        raise ValueError(f"pairs {path} is empty; needs JSON lines such as {_EXAMPLE}.")
    _check_files(path, videos, pairs, places)
    return pairs


def _read(line: str, where: str, folder: Path) -> Pair:
    try:
        pair = Pair.model_validate(json.loads(line))
    except json.JSONDecodeError as error:
        raise ValueError(f"{where} is not JSON ({error}); needs a line like {_EXAMPLE}.") from error
    except ValidationError as error:
        first = error.errors()[0]
        what = ".".join(map(str, first["loc"])) or "it"
        raise ValueError(
            f"{where} could not be used ({what}: {first['msg']}); needs a line like {_EXAMPLE}."
        ) from error
    check_whole(pair.prompt or "", f"the prompt in {where}")
    # The clip's results will lie below --out, under this name.
    if Path(pair.video).is_absolute() or ".." in Path(pair.video).parts:
        raise ValueError(
            f"{where} names video {pair.video}; needs a path below the folder of videos."
        )
    if not pair.references:
        return pair
    person = pair.person or str(pair.references[0])
    try:
        references = tuple(path_in(folder, str(each)) for each in pair.references)
    except ValueError as error:
        raise ValueError(f"{where} names reference {error}.") from error
    if len(set(references)) < len(references):
        raise ValueError(f"{where} names a reference twice; needs each photo once.")
    return pair.model_copy(update={"references": references, "person": person})


def _check_files(path: Path, videos: Path, pairs: Sequence[Pair], places: dict[str, int]) -> None:
    unknown = [pair.video for pair in pairs if not (videos / pair.video).is_file()]
    if unknown:
        raise ValueError(
            f"line {places[unknown[0]]} of pairs {path} names video {unknown[0]}"
            f"{_and_more(len(unknown))}, which is not in {videos}: check --videos, write / between "
            "folders, or take the line out."
        )
    missing = [
        (places[pair.video], photo)
        for pair in pairs
        for photo in pair.references
        if not photo.is_file()
    ]
    if missing:
        place, photo = missing[0]
        raise ValueError(
            f"line {place} of pairs {path} names reference {photo}{_and_more(len(missing))}, which "
            "is not there; needs a photo: check the path, which begins at the pairs file's own "
            "folder."
        )


def _and_more(count: int) -> str:
    return "" if count == 1 else f" (and {count - 1} more like it)"
