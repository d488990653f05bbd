"""What an evaluation is asked for, checked."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, field_validator

from ..faces.similarity import NUM_SCORED_FRAMES
from .metric_registry import COLUMNS


class Options(BaseModel):
    """Of `python -m stdrc_core.evaluate --videos ...`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    videos: Path
    """Folder of the clips."""
    pairs: Path
    """JSON lines of `video`, `prompt` and `reference`."""
    metrics: tuple[str, ...] = ("facesim_arc", "tic")
    out: Path
    faces: Path | None = None
    """Folder of an InsightFace pack."""
    weights: Path = Path("weights")
    """Folder of the other weights."""
    frames: int = Field(default=NUM_SCORED_FRAMES, ge=0)
    """Of a clip, evenly spread, that FaceSim and CLIP look at; 0 is all of them."""
    batch_size: int = Field(default=16, ge=1)
    """Frames that a network takes at once."""
    clips_at_once: int = Field(default=8, ge=1)
    """Clips whose frames may share a batch."""
    device: str = "cpu"
    vbench_python: Path | None = None
    """Python of the environment that VBench is installed in."""

    @field_validator("metrics")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [name for name in names if name not in COLUMNS]
        if unknown or not names:
            found = repr(unknown[0]) if unknown else "empty"
            raise ValueError(f"metrics was {found}; needs some of {', '.join(COLUMNS)}.")
        return tuple(name for name in COLUMNS if name in names)
