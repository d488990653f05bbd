"""From a photo and a prompt to a clip, without ComfyUI: encode, sample by Eq. 13, decode.

The equations are in docs/method.md, sections 2 and 5.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from ..ltx.backbone import VideoBackbone
from ..ltx.distilled import Distilled
from ..ltx.reference_layout import DEFAULT_LAYOUT, ReferenceLayout
from ..ltx.vae import VideoVAE
from ..method.flow import add_noise
from ..method.grid import latent_grid
from ..method.reference import in_slots
from ..method.sampling import needs_reference, sample, schedule_from, sigma_schedule
from .shot import Shot as Shot


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """The models, ready to sample."""

    backbone: VideoBackbone
    vae: VideoVAE
    empty_context: Tensor
    """The embedding `[L, D]` of the empty prompt, on the device that samples."""
    layout: ReferenceLayout = DEFAULT_LAYOUT
    """Where references stand; it has to be what the weights were trained for."""
    distilled: Distilled | None = None
    """The guidance that the weights have inside; None where they have none."""
    begin_scales: tuple[float, float] = (1.0, 1.0)
    """The s_y and s_r that weights of a range embed where a shot has 1 and 1."""

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
        guidance, embedded = shot.guidance, None
        if self.distilled is not None:
            guidance, embedded = self.distilled.in_one_pass(guidance, self.begin_scales)
        reference = None
        if needs_reference(guidance, sigmas):
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
        predict = partial(self._velocity, shot.fps, embedded)
        latents = sample(
            partial(predict, num_clean_frames=num_clean_frames)
            if windows is None
            else partial(windows.velocity, predict, num_clean_frames),
            noise,
            sigmas,
            text=contexts.to(self.device),
            empty=self.empty_context.expand(len(seeds), -1, -1),
            reference=reference,
            guidance=guidance,
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
        embedded: tuple[float, float] | None,
        video: Tensor,
        t: Tensor,
        context: Tensor,
        reference: Tensor | None,
        num_clean_frames: int,
    ) -> Tensor:
        """Predicts one stream; the parameters from `video` on are those of `sampling.Velocity`,
        and how many of the video's first frames are clean."""
        scales = None
        if embedded is not None:
            scales = video.new_tensor([embedded]).expand(len(video), 2)
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
            guidance_scales=scales,
        )
