"""From a photo and a prompt to a clip, without ComfyUI: encode, sample by Eq. 13, decode.

The equations are in docs/method.md, sections 2 and 5.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..ltx.backbone import VideoBackbone
from ..ltx.reference_layout import DEFAULT_LAYOUT, ReferenceLayout
from ..ltx.vae import VideoVAE
from ..method.flow import add_noise
from ..method.grid import LTX_SCALE_FACTORS, latent_grid
from ..method.guidance_options import EXACT, GuidanceOptions
from ..method.reference import in_slots
from ..method.sampling import needs_reference, sample, schedule_from, sigma_schedule
from ..method.windows import Windows
from ..video import check_num_frames


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
        check_num_frames(self.num_frames)
        self.windows  # noqa: B018 (it checks the numbers)
        for name in ("height", "width"):
            side, step = getattr(self, name), getattr(LTX_SCALE_FACTORS, name)
            if side < step or side % step:
                raise ValueError(f"{name} was {side}; needs a multiple of {step} pixels.")
        if not 0 < self.fps < float("inf"):
            raise ValueError(f"fps was {self.fps}; needs a frame rate above 0.")

    @property
    def windows(self) -> Windows | None:
        """The windows in latent frames; None for a clip that is made in one."""
        if self.window is None:
            return None
        return Windows.of_pixels(self.window, self.window_overlap)

    def guided(self, **changes: Any) -> Shot:
        """Returns the same shot with these options of its guidance changed."""
        return replace(self, guidance=replace(self.guidance, **changes))


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """The models, ready to sample."""

    backbone: VideoBackbone
    vae: VideoVAE
    empty_context: Tensor
    """The embedding `[L, D]` of the empty prompt, on the device that samples."""
    layout: ReferenceLayout = DEFAULT_LAYOUT
    """Where references stand; it has to be what the weights were trained for."""

    @property
    def device(self) -> torch.device:
        """The device that samples."""
        return self.empty_context.device

    def __call__(
        self,
        photo: Tensor,
        context: Tensor,
        shot: Shot,
        on_step: Callable[[int, Tensor], None] | None = None,
    ) -> Tensor:
        """Samples one clip of one photo: `[F, h, w, 3]` in [0, 1] on the CPU.

        `photo` is `[1, h, w, 3]` in [0, 1], of any size; `context` `[L, D]` embeds the prompt.
        `on_step(i, denoised)` is called after each step with its estimate of the clean latent.
        """
        return self.many([photo], context[None], shot, [shot.seed], on_step)[0]

    @torch.no_grad()
    def many(
        self,
        photos: Sequence[Tensor | Sequence[Tensor]],
        contexts: Tensor,
        shot: Shot,
        seeds: Sequence[int],
        on_step: Callable[[int, Tensor], None] | None = None,
        *,
        first_frames: Tensor | None = None,
        drafts: Tensor | None = None,
        draft_sigma: float = 1.0,
    ) -> Tensor:
        """Samples B clips of one `shot` side by side: `[B, F, h, w, 3]` in [0, 1] on the CPU.

        Each clip has its own entry in `photos`, `contexts` `[B, L, D]` and `seeds` (the shot's seed
        is not used). An entry of `photos` is a photo `[1, h, w, 3]` in [0, 1], or the clip's photos
        in the order of their slots; all clips have equally many.

        `first_frames` `[B, h, w, 3]` in [0, 1] are what the clips begin with (image to video): each
        becomes the first latent frame, clean at timestep 0 as in LTX's in-place conditioning.

        `drafts` `[B, h, w, 3]` in [0, 1] are for shots of a single frame, which they change in part
        (image to image): they are noised to `draft_sigma` and sampled from there on.

        Noise is drawn on the CPU, as ComfyUI does, so a seed gives the same noise on any device.
        """
        grid = latent_grid(shot.num_frames, shot.height, shot.width)
        sigmas = schedule_from(draft_sigma, sigma_schedule(shot.num_steps, grid.num_tokens))
        reference = None
        if needs_reference(shot.guidance, sigmas):
            slots = [[each] if isinstance(each, Tensor) else each for each in photos]
            flat = [photo for own in slots for photo in own]
            latents = self.vae.encode_photos(flat, shot.height, shot.width, self.device)
            reference = in_slots(latents, len(slots))
        first = None if first_frames is None else self._encode(first_frames, shot)
        shape = (1, self.vae.latent_channels, grid.num_frames, grid.height, grid.width)
        noise = torch.cat(
            [torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
        )
        windows = shot.windows
        if windows is not None:
            shuffled = map(windows.shuffled, noise.split(1), seeds)
            noise = torch.cat([*shuffled])
        noise = noise.to(self.device)
        if drafts is not None:
            t = noise.new_tensor(draft_sigma).expand(len(noise))
            noise = add_noise(self._encode(drafts, shot).to(noise), noise, t)
        num_clean_frames = 0 if first is None else 1
        predict = partial(self._velocity, shot.fps)
        latents = sample(
            partial(predict, num_clean_frames=num_clean_frames)
            if windows is None
            else partial(windows.velocity, predict, num_clean_frames),
            noise,
            sigmas,
            text=contexts.to(self.device),
            empty=self.empty_context.expand(len(seeds), -1, -1),
            reference=reference,
            guidance=shot.guidance,
            first=first,
            on_step=on_step,
        )
        pixels = self.vae.decode(latents)
        return ((pixels.movedim(1, -1) + 1) / 2).clamp(0, 1).cpu()

    def _encode(self, pictures: Tensor, shot: Shot) -> Tensor:
        """Returns a latent frame for each picture of `[B, h, w, 3]` in [0, 1]."""
        return self.vae.encode_photos(pictures.split(1), shot.height, shot.width, self.device)

    def _velocity(
        self,
        fps: float,
        video: Tensor,
        t: Tensor,
        context: Tensor,
        reference: Tensor | None,
        num_clean_frames: int,
    ) -> Tensor:
        """Predicts one stream; the parameters from `video` on are those of `sampling.Velocity`,
        and how many of the video's first frames are clean."""
        return self.backbone(
            video,
            t,
            context,
            frame_rate=fps,
            reference=reference,
            placement=self.layout.placement,
            reference_timestep=self.layout.reference_timestep,
            source_phase=self.layout.source_phase,
            num_clean_frames=num_clean_frames,
        )
