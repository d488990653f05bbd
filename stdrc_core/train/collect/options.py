"""What `collect` looks for in footage, and how the work is done."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class CollectConfig:
    """The options of `collect`. Raises ValueError for a number out of its range."""

    num_frames: int = 121
    """How many frames `prepare` will take of a clip; with `fps` it is the length of a clip."""
    fps: float = 24.0
    """The frame rate that `prepare` will resample to."""
    num_persons: int = 1
    """How many persons a clip shows all the time, no more and no fewer."""
    min_face_px: int = 96
    """The least height and width of a face, in pixels of the footage."""
    min_sharpness: float = 0.32
    """The least sharpness of a face, 0 to 1 (`face_looks.sharpness`)."""
    max_burnt: float = 0.15
    """The largest share of a face's pixels that may be burnt out, or in the dark."""
    max_yaw_deg: float = 50.0
    """By how many degrees a face may be turned aside in most frames."""
    min_motion: float = 0.0025
    """By how much a face has to move in a clip, in face widths (`windows.motion`)."""
    shot_threshold: float = 27.0
    """PySceneDetect's threshold of a cut: the mean change of hue, saturation and brightness."""
    sample_fps: float = 4.0
    """How many frames a second are searched for faces where nobody comes or goes."""
    same_person: float | None = None
    """The least mean cosine of two groups of faces of one person; None takes it from the pack's own
    verification curve on the footage (`verification.threshold`)."""
    min_reference_cosine: float | None = None
    """The least cosine of a reference with the clip's face; None takes `same_person`."""
    num_references: int = 1
    """How many references a person has in a clip, at most."""
    jobs: int = 2
    """How many files this process works on at a time."""
    rank: int = 0
    world_size: int = 1

    def __post_init__(self) -> None:
        for name, low, high, example in (
            ("num_frames", 9, math.inf, "121"),
            ("fps", 1, 240, "24"),
            ("num_persons", 1, 8, "1"),
            ("min_face_px", 16, 4096, "96"),
            ("min_sharpness", 0, 1, "0.32"),
            ("max_burnt", 0, 1, "0.15"),
            ("max_yaw_deg", 1, 90, "50"),
            ("min_motion", 0, 10, "0.0025"),
            ("shot_threshold", 1, 255, "27"),
            ("sample_fps", 0.5, 240, "4"),
            ("same_person", -1, 1, "0.4"),
            ("min_reference_cosine", -1, 1, "0.4"),
            ("num_references", 1, 8, "1"),
            ("jobs", 1, 64, "2"),
            ("world_size", 1, math.inf, "1"),
        ):
            value = getattr(self, name)
            # NaN compares as false, so it is refused too.
            if value is not None and not low <= value <= high:
                most = f" to {high:g}" if high < math.inf else " or more"
                raise ValueError(f"{name} was {value}; needs {low:g}{most}, for example {example}.")
        if self.num_frames % 8 != 1:
            raise ValueError(f"num_frames was {self.num_frames}; needs 8n + 1, for example 121.")
        if not 0 <= self.rank < self.world_size:
            raise ValueError(
                f"rank was {self.rank}; needs 0 to {self.world_size - 1}, one less than world_size."
            )

    @property
    def window_s(self) -> float:
        """The length of a clip in seconds."""
        return self.num_frames / self.fps

    @property
    def scan_settings(self) -> dict[str, Any]:
        """What a scan of a file rests on; a scan made with other settings is made again."""
        return {"shot_threshold": self.shot_threshold, "sample_fps": self.sample_fps}

    def resolved(self) -> dict[str, Any]:
        """All that the data set rests on, as JSON takes it."""
        settings = asdict(self)
        for name in ("jobs", "rank", "world_size"):
            del settings[name]
        return settings
