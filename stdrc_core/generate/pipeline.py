"""The main job without a host: one photo and a prompt to a clip, by the three-stream sampler."""

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
from ..video import check_num_frames


@dataclass(frozen=True, kw_only=True)
class Shot:
    """What is asked of a clip, but for photo and prompt; sides in pixels."""

    num_frames: int
    height: int
    width: int
    fps: float = 24.0
    seed: int = 0
    num_steps: int = 30
    guidance: GuidanceOptions = EXACT

    def __post_init__(self) -> None:
        """Raises ValueError for sizes that the VAE cannot make, or a frame rate not above 0."""
        check_num_frames(self.num_frames)
        for name in ("height", "width"):
            side, step = getattr(self, name), getattr(LTX_SCALE_FACTORS, name)
            if side < step or side % step:
                raise ValueError(f"{name} was {side}; needs a multiple of {step} pixels.")
        if not 0 < self.fps < float("inf"):
            raise ValueError(f"fps was {self.fps}; needs a frame rate above 0.")

    def guided(self, **changes: Any) -> Shot:
        """The same shot with some of its guidance's options changed, by their names."""
        return replace(self, guidance=replace(self.guidance, **changes))


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """The models, ready to sample; the reference stands where the weights learned it."""

    backbone: VideoBackbone
    vae: VideoVAE
    empty_context: Tensor
    """Embedding of the empty prompt, `[L, D]`, where the models are."""
    layout: ReferenceLayout = DEFAULT_LAYOUT

    @property
    def device(self) -> torch.device:
        return self.empty_context.device

    def __call__(
        self,
        photo: Tensor,
        context: Tensor,
        shot: Shot,
        on_step: Callable[[int, Tensor], None] | None = None,
    ) -> Tensor:
        """The clip, `[F, h, w, 3]` in [0, 1] on the CPU; `context` `[L, D]` embeds the prompt.

        The noise is drawn on the CPU, as ComfyUI does: a seed means the same clip everywhere.
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
        """Clips `[B, F, h, w, 3]` of as many photos, `contexts` `[B, L, D]` and `seeds`, sampled
        side by side; but for these, all are `shot`.

        Of each clip `photos` has its photo `[1, h, w, 3]` in [0, 1], or its photos in the order of
        their slots, as many as of the others.

        `first_frames` `[B, h, w, 3]` in [0, 1] are what the clips begin with (image to video): each
        is the first latent frame, clean at timestep 0 as in LTX's in-place conditioning.

        `drafts` `[B, h, w, 3]` in [0, 1] are what shots of a single frame are made anew from, only
        in part (image to image): noised to `draft_sigma`, they are sampled from there on.
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
        noise = noise.to(self.device)
        if drafts is not None:
            t = noise.new_tensor(draft_sigma).expand(len(noise))
            noise = add_noise(self._encode(drafts, shot).to(noise), noise, t)
        latents = sample(
            partial(self._velocity, shot.fps, 0 if first is None else 1),
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
        """`[B, h, w, 3]` in [0, 1] to a latent frame each."""
        return self.vae.encode_photos(pictures.split(1), shot.height, shot.width, self.device)

    def _velocity(
        self,
        fps: float,
        num_clean_frames: int,
        video: Tensor,
        t: Tensor,
        context: Tensor,
        reference: Tensor | None,
    ) -> Tensor:
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
