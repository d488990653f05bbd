"""What a clip is asked to be; the command line tells of it before anything heavy is imported."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..method.guidance_options import EXACT, GuidanceOptions

if TYPE_CHECKING:
    from ..method.windows import Windows


@dataclass(frozen=True, kw_only=True)
class Shot:
    """What a clip is asked to be, beside its photo and prompt."""

    num_frames: int
    """How many frames the clip has: 8n + 1."""
    height: int
    """The frames' height in pixels, a multiple of 32."""
    width: int
    """The frames' width in pixels, a multiple of 32."""
    fps: float = 24.0
    """Frames per second, above 0."""
    seed: int = 0
    """The seed of the noise."""
    num_steps: int = 30
    """How many sampling steps are taken, at least 1."""
    window: int | None = None
    """How many frames a window has that the clip is made of, 8n + 1; None makes it in one."""
    window_overlap: int = 16
    """How many frames a window shares with the one before it, 8n."""
    guidance: GuidanceOptions = EXACT
    """How the run is guided."""

    def __post_init__(self) -> None:
        """Raises ValueError for a size that the VAE cannot make, a frame rate out of range, and a
        window that is not longer than its overlap."""
        from ..method.grid import LTX_SCALE_FACTORS
        from ..video import check_num_frames

        check_num_frames(self.num_frames)
        for name in ("height", "width"):
            side, step = getattr(self, name), getattr(LTX_SCALE_FACTORS, name)
            if side < step or side % step:
                raise ValueError(f"{name} was {side}; needs a multiple of {step} pixels.")
        if not 0 < self.fps < float("inf"):
            raise ValueError(f"fps was {self.fps}; needs a frame rate above 0.")
        self.windows  # noqa: B018 (it checks the numbers)

    @property
    def windows(self) -> Windows | None:
        """The windows in latent frames; None for a clip that is made in one."""
        if self.window is None:
            return None
        # It imports torch, which --help does without.
        from ..method.windows import Windows

        return Windows.of_pixels(self.window, self.window_overlap)

    def guided(self, **changes: Any) -> Shot:
        """Returns the same shot with these options of its guidance changed."""
        return replace(self, guidance=replace(self.guidance, **changes))
