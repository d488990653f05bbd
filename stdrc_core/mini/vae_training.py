"""Trains the miniature's video VAE on drawn clips: LTX-2.3's architecture in small."""

from __future__ import annotations

import random

import numpy as np
import torch
from diffusers import AutoencoderKLLTX2Video
from torch import Tensor
from tqdm.auto import tqdm

from .character import draw_numbers, identity
from .descent import descend
from .drawing import NUM_FRAMES, draw_clip
from .scene import draw_scene

# Noise on the latents, in their standard deviations: what decodes well although a little wrong is
# what a generator can hit.
_LATENT_NOISE = 0.1
_EDGE_WEIGHT = 1.0
_FACE_WEIGHT = 2.0


def draw_clips(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Clips `[N, F, 3, h, w]` uint8 of as many persons, and the face's boxes `[N, F, 4]` px."""
    rng = random.Random(seed)
    pixels, boxes = [], []
    for number in tqdm(draw_numbers(count, rng, unseen=False), "clips", unit="clip"):
        drawn = draw_clip(identity(number), draw_scene(rng))
        pixels.append(drawn.pixels)
        boxes.append(drawn.boxes)
    clips = torch.from_numpy(np.stack(pixels)).movedim(-1, 2).contiguous()
    return clips, torch.from_numpy(np.stack(boxes))


def train_vae(
    vae: AutoencoderKLLTX2Video,
    clips: Tensor,
    boxes: Tensor,
    *,
    num_steps: int,
    batch_size: int = 3,
    num_photos: int = 6,
    lr: float = 2e-3,
    seed: int = 0,
) -> None:
    """Trains `vae` in place on whole clips and, as references are encoded, single frames.

    `clips` `[N, F, 3, h, w]` uint8 with the faces' `boxes` `[N, F, 4]` px; ends by measuring the
    latents' mean and standard deviation per channel.
    """
    generator = torch.Generator().manual_seed(seed)
    weights = _face_weights(boxes, clips.shape[-1])

    def loss() -> Tensor:
        chosen = torch.randint(len(clips), (batch_size,), generator=generator)
        total = _reconstruction_loss(vae, clips[chosen], weights(chosen, None), generator)
        photos = torch.randint(len(clips), (num_photos,), generator=generator)
        frame = int(torch.randint(NUM_FRAMES, (), generator=generator))
        stills = clips[photos, frame, None]
        return total + 0.5 * _reconstruction_loss(vae, stills, weights(photos, frame), generator)

    descend(vae, loss, num_steps=num_steps, lr=lr, name="VAE")
    measure_latents(vae, clips[:: max(1, len(clips) // 256)])


@torch.no_grad()
def measure_latents(vae: AutoencoderKLLTX2Video, clips: Tensor) -> None:
    """Sets the VAE's per-channel statistics, by which latents are normalised."""
    latents = torch.cat([vae.encode(_signed(clip[None])).latent_dist.mode() for clip in clips])
    vae.latents_mean.copy_(latents.mean(dim=(0, 2, 3, 4)))
    vae.latents_std.copy_(latents.std(dim=(0, 2, 3, 4)))


def _reconstruction_loss(
    vae: AutoencoderKLLTX2Video, clips: Tensor, weights: Tensor, generator: torch.Generator
) -> Tensor:
    """Weighted L1 of pixels, and of the differences of neighbours: edges."""
    pixels = _signed(clips)
    latents = vae.encode(pixels).latent_dist.mode()
    spread = latents.detach().std(dim=(0, 2, 3, 4), keepdim=True)
    noise = torch.randn(latents.shape, generator=generator) * _LATENT_NOISE
    decoded = vae.decode(latents + noise * spread).sample
    error = decoded - pixels
    edges = sum((error.diff(dim=dim).abs()).mean() for dim in (3, 4))
    return (error.abs() * weights).mean() + _EDGE_WEIGHT * edges


def _face_weights(boxes: Tensor, side_px: int):
    """Pixels of the face weigh more: that is what this world is about."""
    line = torch.arange(side_px) + 0.5

    def weights(chosen: Tensor, frame: int | None) -> Tensor:
        box = boxes[chosen] if frame is None else boxes[chosen, frame, None]
        left, top, right, bottom = box[..., None].unbind(dim=2)  # [B, F, 1] each
        inside_x = (line > left) & (line < right)
        inside_y = (line > top) & (line < bottom)
        inside = inside_y[..., :, None] & inside_x[..., None, :]
        return 1 + _FACE_WEIGHT * inside[:, None].float()  # [B, 1, F, h, w]

    return weights


def _signed(clips: Tensor) -> Tensor:
    """`[B, F, 3, h, w]` uint8 to `[B, 3, F, h, w]` in [-1, 1]."""
    return clips.movedim(1, 2).float() / 127.5 - 1
