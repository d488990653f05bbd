"""Which clips are asked for: one by the command line, or many by a file of JSON lines."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..files import short_name
from ..folders import name_key, path_in
from ..method.guidance_curve import read_scale
from ..method.guidance_options import OPTION_NAMES, PRESETS, GuidanceOptions
from ..mini.drawing import FPS, NUM_FRAMES, SIDE_PX
from ..mini.text import MINIATURE
from ..prompts.gender import Gender
from ..shown_text import one_line
from ..text_files import check_whole, read_lines
from .shot import Shot

if TYPE_CHECKING:
    from ..ltx.reference_layout import Decision

# A size that LTX-2.3 makes well and that one large GPU can hold, and the miniature's own.
LTX_SHOT = {"num_frames": 121, "height": 512, "width": 768, "fps": Shot.fps}
MINIATURE_SHOT = {"num_frames": NUM_FRAMES, "height": SIDE_PX, "width": SIDE_PX, "fps": FPS}
SHOT_NAMES = tuple(field.name for field in fields(Shot) if field.name != "guidance")
# The options of the guidance that may be curves.
_SCALES = ("text_scale", "reference_scale")


@dataclass(frozen=True, kw_only=True)
class Staging:
    """How a clip is made in two stages (`staging`)."""

    num_candidates: int
    """How many first frames are made to choose from, at least 1."""
    gender: Gender | None
    """The subject's gender in both prompts; None takes it from the photo or the prompt."""
    face_detail: float | None = None
    """The noise level in (0, 1) from which the first frame's face is made anew, if it is."""

    def __post_init__(self) -> None:
        """Raises ValueError for a number out of its range."""
        if self.num_candidates < 1:
            raise ValueError(f"candidates was {self.num_candidates}; needs 1 or more.")
        if self.face_detail is not None and not 0 < self.face_detail < 1:
            raise ValueError(
                f"face-detail was {self.face_detail}; needs a sigma between 0 (as it is) and 1 "
                "(all anew), about 0.4."
            )


@dataclass(frozen=True, kw_only=True)
class Job:
    """One clip to make."""

    name: str
    """What the clip's files are called, without their endings."""
    reference: Path
    """The photo, or the one in slot 0."""
    prompt: str
    shot: Shot
    weights: str
    """The names of the checkpoint and the LoRA, and the layout that the user chose."""
    staging: Staging | None = None
    """How the clip is made in two stages; None if it is made at once."""
    further: tuple[Path, ...] = ()
    """The photos in slots 1, 2, ..."""
    pad_color: str | None = None
    """The colour beside the photos and where they are transparent; None is black."""

    @property
    def references(self) -> tuple[Path, ...]:
        """All photos, in the order of their slots."""
        return self.reference, *self.further

    def file(self, out: Path, ending: str) -> Path:
        """Returns the path of the clip's file with this ending, such as `mp4`, in folder `out`."""
        return out / f"{self.name}.{ending}"

    def asked(self) -> dict[str, Any]:
        """Returns all that decides what the clip is, as JSON can hold it: words and numbers."""
        asked = dataclasses.asdict(self) | {"reference": str(self.reference)}
        asked["further"] = [str(path) for path in self.further]
        for name in ("staging", "further", "pad_color"):
            if not asked[name]:
                del asked[name]
        asked |= asked.pop("shot")
        if asked["window"] is None:
            # Clips of before there were windows are the same ones.
            del asked["window"], asked["window_overlap"]
        guidance = asked.pop("guidance")
        return asked | {name: guidance[name] for name in OPTION_NAMES}


def read_jobs(args: argparse.Namespace, decision: Decision) -> list[Job]:
    """Returns the clips to make; raises ValueError for what is missing, unknown or out of range.

    A number that is not given is the preset's, else a scale that `decision` has from the weights or
    their adapter, else the default of this kind of model.
    """
    defaults = MINIATURE_SHOT if args.text_encoder == MINIATURE else LTX_SHOT
    common = _asked(args, decision, defaults)
    if args.batch is not None:
        return _read_batch(args, common)
    if args.reference is None or args.prompt is None:
        raise ValueError(
            "reference and prompt are needed: name a photo and say what the clip shows, or "
            "give --batch."
        )
    return [_job(args, args.reference, args.prompt, _shot(common), args.name or None)]


def beyond_training(job: Job, decision: Decision) -> list[str]:
    """Returns what the clip asks of the weights that they were not trained for, a sentence each."""
    is_staged = job.staging is not None
    return decision.beyond_training(
        range(len(job.references)),
        has_first_frame=is_staged,
        is_single_frame=is_staged or job.shot.num_frames == 1,
        num_frames=min(job.shot.num_frames, job.shot.window or job.shot.num_frames),
    )


def read_shot(args: argparse.Namespace, decision: Decision) -> Shot:
    """Returns the clip that the flags describe, at LTX's size and with the scales of `decision`
    where they leave them out.

    Raises ValueError for a number out of its range.
    """
    return _shot(_asked(args, decision, LTX_SHOT))


def _asked(
    args: argparse.Namespace, decision: Decision, defaults: dict[str, Any]
) -> dict[str, Any]:
    """The numbers of a clip: those that are given, else the preset's, else the scales that the
    weights say to begin with, else the defaults."""
    given = {key: getattr(args, key) for key in (*SHOT_NAMES, *OPTION_NAMES)}
    begin = {key: getattr(decision, key) for key in _SCALES}
    asked = dict(defaults)
    for own in (begin, {} if args.preset is None else PRESETS[args.preset], given):
        asked |= {key: value for key, value in own.items() if value is not None}
    return asked


def _read_batch(args: argparse.Namespace, common: dict[str, Any]) -> list[Job]:
    """Returns the clips of the file `args.batch`; `common` is what its lines may change."""
    try:
        lines = read_lines(args.batch, "batch")
    except OSError as error:
        raise ValueError(f"batch {args.batch} could not be read ({error.strerror}).") from error
    jobs = [
        _read_line(line, f"batch {args.batch}, line {i}", args, common)
        for i, line in enumerate(lines, start=1)
        if line.strip()
    ]
    if not jobs:
        raise ValueError(f"batch {args.batch} has no clips; needs clips with a name of their own.")
    _check_names(args.batch, [job.name for job in jobs])
    return jobs


def _check_names(batch: Path, names: Sequence[str]) -> None:
    """Raises ValueError for two clips whose files would be the same, on Windows or macOS at least.

    There, names that differ in case alone, or in how accents are composed, are one name.
    """
    seen: dict[str, str] = {}
    for name in names:
        other = seen.get(name_key(name))
        seen[name_key(name)] = name
        if other is not None:
            found = f"two clips named {name}"
            if other != name:
                found = f"clips named {other} and {name}, which are one name on Windows and macOS"
            raise ValueError(f"batch {batch} has {found}; needs clips with a name of their own.")


def _read_line(line: str, where: str, args: argparse.Namespace, common: dict[str, Any]) -> Job:
    """Returns the clip of one line; `where` is what the message of a mistake calls the line."""
    try:
        values = json.loads(line)
        photos, prompt = values.pop("reference"), values.pop("prompt")
        listed = photos if isinstance(photos, list) else [photos]
        reference, *further = [path_in(args.batch.parent, photo) for photo in listed]
        name = str(values.pop("name")) if "name" in values else None
        shot = _shot(common | values)
    except (json.JSONDecodeError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{where} could not be used ({error}); needs a JSON object with reference (a photo, or "
            "a list of them), prompt and perhaps name, "
            f"{', '.join((*SHOT_NAMES, *OPTION_NAMES[:-1]))} or {OPTION_NAMES[-1]}."
        ) from error
    return _job(args, [reference, *further], str(prompt), shot, name)


def _job(
    args: argparse.Namespace, references: Sequence[Path], prompt: str, shot: Shot, name: str | None
) -> Job:
    """Returns one clip to make; without a name its files are called by the photo and the seed."""
    reference, *further = references
    check_whole(prompt, "prompt")
    return Job(
        name=f"{_photo_name(reference)}_{shot.seed}" if name is None else name,
        reference=reference,
        further=tuple(further),
        pad_color=_pad_color(args),
        prompt=prompt,
        shot=shot,
        weights=_weights(args),
        staging=_staging(args),
    )


def _photo_name(photo: Path) -> str:
    """The photo's name as clips are called by it, with the ends of lines that a name may hold."""
    return short_name(one_line(photo.stem))


def _shot(values: dict[str, Any]) -> Shot:
    """Raises ValueError for numbers out of their ranges, TypeError for a key that is unknown."""
    values = values | {key: read_scale(values[key]) for key in _SCALES if key in values}
    options = {key: values.pop(key) for key in OPTION_NAMES if key in values}
    return Shot(**values, guidance=GuidanceOptions(**options))


def _staging(args: argparse.Namespace) -> Staging | None:
    if not args.staged:
        if args.face_detail is not None:
            raise ValueError(
                "face-detail was given without --staged; it is a pass over the first frame: add "
                "--staged or leave it out."
            )
        return None
    return Staging(
        num_candidates=args.num_candidates, gender=args.subject, face_detail=args.face_detail
    )


def _pad_color(args: argparse.Namespace) -> str | None:
    """Raises ValueError for text that is no colour."""
    # It imports torch, which --help does without.
    from ..photo_file import read_color

    return args.pad_color if any(read_color(args.pad_color)) else None


def _weights(args: argparse.Namespace) -> str:
    names = [path.name for path in (args.checkpoint, *args.lora) if path is not None]
    chosen = args.placement, args.reference_timestep, args.adapter
    return " + ".join([*names, *filter(None, chosen)])
