"""Clips longer than the model's window: windows over time that overlap, joined in every step.

A video of T latent frames is cut into windows of L frames, each O frames into the one before. Every
window is predicted as a clip of its own, with the references at its own T, and a frame's velocity
is the weighted mean of its windows' (MultiDiffusion):

    v_f = sum_w p(f - start_w) v_w,f / sum_w p(f - start_w)        p(i) = min(i + 1, L - i)

Latent frame 0 of a clip holds one pixel frame, all others hold eight. A window that begins later
therefore has the frame before it as its frame 0, which is left out of the result. Windows, weights
and that frame are those of ComfyUI's Context Windows (schedule `standard_static`, fuse method
`pyramid`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .grid import LTX_SCALE_FACTORS

# The model of one window: (video, t, context, reference, number of clean frames) -> velocity, as
# `sampling.Velocity` has them.
WindowVelocity = Callable[[Tensor, Tensor, Tensor, Tensor | None, int], Tensor]


@dataclass(frozen=True, kw_only=True)
class Windows:
    """How a long video is cut."""

    length: int
    """Latent frames of a window, 1 or more."""
    overlap: int
    """Latent frames that a window shares with the one before it, 0 to `length` - 1."""

    def __post_init__(self) -> None:
        """Raises ValueError for a window that is not longer than its overlap."""
        if not 0 <= self.overlap < self.length:
            raise ValueError(
                f"a window of {self.length} latent frames has an overlap of {self.overlap}; needs "
                "an overlap of 0 or more that is shorter than the window."
            )

    @classmethod
    def of_pixels(cls, num_frames: int, overlap: int) -> Windows:
        """The windows of `num_frames` pixel frames, 8n + 1, that overlap by `overlap`, 8n.

        Raises ValueError for other numbers, and for a window that is not longer than its overlap.
        """
        step = LTX_SCALE_FACTORS.time
        if num_frames < 1 or num_frames % step != 1:
            raise ValueError(f"window was {num_frames} frames; needs 8n + 1, for example 49.")
        if overlap < 0 or overlap % step:
            raise ValueError(
                f"window_overlap was {overlap} frames; needs a multiple of {step}, for example 16."
            )
        length = (num_frames - 1) // step + 1
        if overlap // step >= length:
            raise ValueError(
                f"window was {num_frames} frames and window_overlap {overlap}; needs a window that "
                "is longer than its overlap: make the window longer or the overlap shorter."
            )
        return cls(length=length, overlap=overlap // step)

    def over(self, num_frames: int) -> list[range]:
        """The windows of a video of `num_frames` latent frames; all but a short video's are full.

        The last one begins where it ends with the video.
        """
        if num_frames <= self.length:
            return [range(num_frames)]
        step, last = self.length - self.overlap, num_frames - self.length
        starts = [*range(0, last, step), last]
        return [range(start, start + self.length) for start in starts]

    def shuffled(self, noise: Tensor, seed: int) -> Tensor:
        """FreeNoise (Qiu et al. 2024): noise `[B, C, T, H, W]` in which windows share their frames.

        The first L frames stay as they are. Each further run of L - O frames has the frames that
        stand L before it, in another order: windows then differ less, and join better. `seed` draws
        the orders, as in ComfyUI's Context Windows with freenoise.
        """
        noise, num_frames = noise.clone(), noise.shape[2]
        generator = torch.Generator().manual_seed(seed)
        step = self.length - self.overlap
        for start in range(0, num_frames - self.length, step):
            place = start + self.length
            count = min(step, num_frames - place)
            order = torch.randperm(count, generator=generator) + start
            noise[:, :, place : place + count] = noise[:, :, order.to(noise.device)]
        return noise

    def velocity(
        self,
        predict: WindowVelocity,
        num_clean_frames: int,
        video: Tensor,
        t: Tensor,
        context: Tensor,
        reference: Tensor | None,
    ) -> Tensor:
        """The velocity `[B, C, T, H, W]` of a long video, joined from those of its windows.

        The video's first `num_clean_frames` are clean, in each window that they are in. The
        parameters from `video` on are those of `sampling.Velocity`.
        """
        windows = self.over(video.shape[2])
        if len(windows) == 1:
            return predict(video, t, context, reference, num_clean_frames)
        total = torch.zeros_like(video)
        weights = video.new_zeros(video.shape[2], 1, 1)
        own = pyramid(self.length).to(video)[:, None, None]
        for window in windows:
            frames = slice(window.start, window.stop)
            num_before = min(window.start, 1)
            part = video[:, :, window.start - num_before : window.stop]
            clean = min(max(0, num_clean_frames - (window.start - num_before)), part.shape[2])
            velocity = predict(part, t, context, reference, clean)[:, :, num_before:]
            total[:, :, frames] += velocity * own
            weights[frames] += own
        return total / weights


def pyramid(length: int) -> Tensor:
    """The weights p of a window's frames, `[length]`: 1 at both ends, the highest in the middle."""
    place = torch.arange(length)
    return torch.minimum(place + 1, length - place).float()
