"""The options of an evaluation, checked."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, field_validator

from ..faces.gallery import GalleryRule
from ..faces.similarity import NUM_SCORED_FRAMES
from .metric_registry import COLUMNS


class Options(BaseModel):
    """What `python -m stdrc_core.evaluate --videos ...` is asked for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    videos: Path
    """The folder of the clips."""
    pairs: Path
    """A file of JSON lines with `video`, `prompt` and `reference`."""
    metrics: tuple[str, ...] = ("facesim_arc", "tic")
    """Which metrics to score by; they are put into the order of `COLUMNS`."""
    out: Path
    """The folder of scores and reports."""
    faces: Path | None = None
    """The folder of an InsightFace pack."""
    weights: Path = Path("weights")
    """The folder of all other weights."""
    frames: int = Field(default=NUM_SCORED_FRAMES, ge=0)
    """How many frames of a clip, evenly spread, FaceSim, TIC and CLIP-Score look at; 0 is all."""
    batch_size: int = Field(default=16, ge=1)
    """How many frames a network takes at once."""
    clips_at_once: int = Field(default=8, ge=1)
    """How many clips are read together, so that their frames may share a batch."""
    device: str = "cpu"
    """The device of the networks: cpu, cuda, cuda:1, ..."""
    gallery: GalleryRule = GalleryRule.MEAN
    """What FaceSim compares with where a clip has several photos: their mean, or the nearest."""
    vbench_python: Path | None = None
    """The Python of the environment that VBench is installed in; motion smoothness needs it."""

    @field_validator("metrics")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [name for name in names if name not in COLUMNS]
        if unknown or not names:
            found = repr(unknown[0]) if unknown else "empty"
            raise ValueError(f"metrics was {found}; needs some of {', '.join(COLUMNS)}.")
        return tuple(name for name in COLUMNS if name in names)
