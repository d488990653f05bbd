"""What clips are asked for: one on the command line, or a batch in a file of JSON lines."""

from __future__ import annotations

import argparse
import dataclasses
import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ..ltx.reference_layout import Decision
from ..method.guidance_curve import read_scale
from ..method.guidance_options import OPTION_NAMES, PRESETS, GuidanceOptions
from ..mini.drawing import FPS, NUM_FRAMES, SIDE_PX
from ..mini.text import MINIATURE
from ..prompts.gender import Gender
from .pipeline import Shot

# What LTX-2.3 makes well, within reach of one large GPU.
_LTX_SHOT = {"num_frames": 121, "height": 512, "width": 768}
_SHOT_NAMES = tuple(field.name for field in fields(Shot) if field.name != "guidance")
# Of the guidance's options, those that may be curves.
_SCALES = ("text_scale", "reference_scale")
_MINIATURE_SHOT = {"num_frames": NUM_FRAMES, "height": SIDE_PX, "width": SIDE_PX, "fps": FPS}


@dataclass(frozen=True, kw_only=True)
class Staging:
    """How a clip is made in two stages; `gender` None takes it from the photo or the prompt."""

    num_candidates: int
    gender: Gender | None
    face_detail: float | None = None
    """The sigma from which the first frame's face is made anew; None leaves it."""

    def __post_init__(self) -> None:
        if self.num_candidates < 1:
            raise ValueError(f"candidates was {self.num_candidates}; needs 1 or more.")
        if self.face_detail is not None and not 0 < self.face_detail < 1:
            raise ValueError(
                f"face-detail was {self.face_detail}; needs a sigma between 0 (as it is) and 1 "
                "(all anew), about 0.4."
            )


@dataclass(frozen=True, kw_only=True)
class Job:
    """One clip to make; `name` is that of its files."""

    name: str
    reference: Path
    prompt: str
    shot: Shot
    weights: str
    """Which ones make it."""
    staging: Staging | None = None
    """None makes it at once."""
    further: tuple[Path, ...] = ()
    """Photos beside `reference`: slots 1, 2, ..."""

    def __post_init__(self) -> None:
        if self.further and self.staging is not None:
            raise ValueError(
                f"reference was {len(self.references)} photos with --staged; needs one, whose "
                "likeness chooses the first frame: name one, or leave --staged out."
            )

    @property
    def references(self) -> tuple[Path, ...]:
        """All photos, in the order of their slots."""
        return self.reference, *self.further

    def asked(self) -> dict[str, Any]:
        """All that decides what the clip is, in plain words and numbers."""
        asked = dataclasses.asdict(self) | {"reference": str(self.reference)}
        asked["further"] = [str(path) for path in self.further]
        for name in ("staging", "further"):
            if not asked[name]:
                del asked[name]
        asked |= asked.pop("shot")
        return asked | asked.pop("guidance")


def read_jobs(args: argparse.Namespace, decision: Decision) -> list[Job]:
    """The clips to make; ValueError for what is missing, unknown or out of range.

    Scales that are not given are those that `decision` has from the weights or their adapter.
    """
    given = {key: getattr(args, key) for key in (*_SHOT_NAMES, *OPTION_NAMES)}
    defaults = _MINIATURE_SHOT if args.text_encoder == MINIATURE else _LTX_SHOT
    own = {key: getattr(decision, key) for key in _SCALES}
    defaults = defaults | {key: scale for key, scale in own.items() if scale is not None}
    if args.preset is not None:
        defaults = defaults | PRESETS[args.preset]
    common = defaults | {key: value for key, value in given.items() if value is not None}
    if args.batch is None:
        if args.reference is None or args.prompt is None:
            raise ValueError(
                "reference and prompt are needed: name a photo and say what the clip shows, or "
                "give --batch."
            )
        reference, *further = args.reference
        name = args.name or f"{reference.stem}_{args.seed}"
        shot = _shot(common)
        return [
            Job(
                name=name,
                reference=reference,
                further=tuple(further),
                prompt=args.prompt,
                shot=shot,
                weights=_weights(args),
                staging=_staging(args),
            )
        ]
    try:
        lines = args.batch.read_text().splitlines()
    except OSError as error:
        raise ValueError(f"batch {args.batch} could not be read ({error.strerror}).") from error
    jobs = [
        _read_job(line, f"batch {args.batch}, line {i}", args, common)
        for i, line in enumerate(lines, start=1)
        if line.strip()
    ]
    names = [job.name for job in jobs]
    doubles = sorted({name for name in names if names.count(name) > 1})
    if not jobs or doubles:
        found = f"two clips named {doubles[0]}" if doubles else "no clips"
        raise ValueError(f"batch {args.batch} has {found}; needs clips with a name of their own.")
    return jobs


def _read_job(line: str, where: str, args: argparse.Namespace, common: dict[str, Any]) -> Job:
    try:
        values = json.loads(line)
        photos, prompt = values.pop("reference"), values.pop("prompt")
        listed = photos if isinstance(photos, list) else [photos]
        reference, *further = [args.batch.parent / photo for photo in listed]
        asked = {key: values[key] for key in values if key != "name"}
        shot = _shot(common | asked)
    except (json.JSONDecodeError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{where} could not be used ({error}); needs a JSON object with reference (a photo, or "
            "a list of them), prompt and perhaps name, "
            f"{', '.join((*_SHOT_NAMES, *OPTION_NAMES[:-1]))} or {OPTION_NAMES[-1]}."
        ) from error
    name = values.get("name", f"{reference.stem}_{shot.seed}")
    return Job(
        name=str(name),
        reference=reference,
        further=tuple(further),
        prompt=str(prompt),
        shot=shot,
        weights=_weights(args),
        staging=_staging(args),
    )


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


def _weights(args: argparse.Namespace) -> str:
    names = [path.name for path in (args.checkpoint, args.lora) if path is not None]
    chosen = args.placement, args.reference_timestep, args.adapter
    return " + ".join([*names, *filter(None, chosen)])
