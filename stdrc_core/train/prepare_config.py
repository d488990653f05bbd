"""What `prepare` cuts clips to, and how the work is done."""

from __future__ import annotations

from dataclasses import dataclass

from ..method.grid import LTX_SCALE_FACTORS
from ..video import check_num_frames


@dataclass(frozen=True, kw_only=True)
class PrepareConfig:
    """What clips are cut to, and how the work is done.

    Sides are in pixels, `fps` in frames a second. Raises ValueError for a number out of its range.
    """

    num_frames: int
    height: int
    width: int
    fps: float
    min_cosine: float = 0.25
    """Least mean cosine of the clip's faces with the reference; with ArcFace two persons are below
    0.2."""
    shard_size: int = 32
    """How many samples a file of the cache holds."""
    rank: int = 0
    world_size: int = 1
    retry: bool = False
    """Whether clips that an earlier run set aside are tried again."""

    def __post_init__(self) -> None:
        check_num_frames(self.num_frames)
        step = LTX_SCALE_FACTORS.height
        for name in ("height", "width"):
            if getattr(self, name) < step or getattr(self, name) % step:
                raise ValueError(
                    f"{name} was {getattr(self, name)}; needs a multiple of {step}, such as 512."
                )
        if not 0 < self.fps < 1000:
            raise ValueError(f"fps was {self.fps}; needs frames per second such as 24.")
        if not -1 <= self.min_cosine <= 1:
            raise ValueError(f"min_cosine was {self.min_cosine}; needs a cosine from -1 to 1.")
        if self.shard_size < 1:
            raise ValueError(f"shard_size was {self.shard_size}; needs 1 or more.")
        if not 0 <= self.rank < self.world_size:
            raise ValueError(
                f"rank was {self.rank} of world_size {self.world_size}; needs 0 <= rank < "
                "world_size."
            )

    @property
    def window_s(self) -> float:
        """Length of a training clip in seconds."""
        return self.num_frames / self.fps
