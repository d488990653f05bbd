"""Trains the miniature's video VAE, which is LTX-2.3's architecture in small, on drawn clips."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import numpy as np
import torch
from diffusers import AutoencoderKLLTX2Video
from torch import Tensor, nn
from tqdm.auto import tqdm

from ..mini.character import draw_numbers, identity
from ..mini.drawing import draw_clip
from ..mini.scene import CLIP_FREEDOM, draw_scene
from .descent import descend
from .portraits import Portraits
from .vae_start import layer_inputs, start_from_components

# The noise on the latents, in their standard deviations: latents that decode well although they are
# a little wrong are those that a generator can hit.
_LATENT_NOISE = 0.1
_EDGE_WEIGHT = 1.0
_FACE_WEIGHT = 2.0
# How many of the encoder's downsamplers learn, the last ones; what the others make is kept.
_NUM_LEARNED_DOWNSAMPLERS = 2
_NUM_START_CLIPS = 240


def draw_clips(count: int, seed: int, *, unseen: bool) -> tuple[Tensor, Tensor]:
    """Clips `[N, F, 3, h, w]` uint8 of `count` persons, and the faces' boxes `[N, F, 4]` in pixels.

    `unseen` takes persons that are kept out of training.
    """
    rng = random.Random(seed)
    pixels, boxes = [], []
    for number in tqdm(draw_numbers(count, rng, unseen=unseen), "clips", unit="clip"):
        drawn = draw_clip(identity(number), draw_scene(rng, freedom=CLIP_FREEDOM))
        pixels.append(drawn.pixels)
        boxes.append(drawn.boxes)
    clips = torch.from_numpy(np.stack(pixels)).movedim(-1, 2).contiguous()
    return clips, torch.from_numpy(np.stack(boxes))


def train_vae(
    vae: AutoencoderKLLTX2Video,
    clips: Tensor,
    boxes: Tensor,
    photos: Portraits,
    *,
    num_steps: int,
    batch_size: int = 4,
    num_photos: int = 4,
    lr: float = 5e-4,
    seed: int = 0,
    in_bfloat16: bool = False,
) -> None:
    """Trains `vae` in place on whole clips and on `photos`, since it encodes references too.

    `clips` are `[N, F, 3, h, w]` uint8, the faces' `boxes` `[N, F, 4]` in pixels. The beginning of
    the encoder stays as `start_from_components` sets it; its end and the decoder learn, with
    `in_bfloat16` in mixed precision. At the end the latents are measured (`measure_latents`).
    """
    generator = torch.Generator().manual_seed(seed)
    start_from_components(vae, signed(clips[:_NUM_START_CLIPS]))
    downsamplers = [block.downsamplers[0] for block in vae.encoder.down_blocks]
    learned = downsamplers[-_NUM_LEARNED_DOWNSAMPLERS:]
    sets = [
        (pixels, _face_weights(where, clips.shape[-1]), _features(vae, learned[0], pixels), count)
        for pixels, where, count in (
            (clips, boxes, batch_size),
            (photos.pixels[:, None], photos.boxes[:, None], num_photos),
        )
    ]

    def loss() -> Tensor:
        total = torch.zeros(())
        for pixels, weights, features, count in sets:
            chosen = torch.randint(len(pixels), (count,), generator=generator)
            share = pixels.shape[1] / clips.shape[1]
            with torch.autocast("cpu", torch.bfloat16, enabled=in_bfloat16):
                latents = _encode_end(vae, learned, features[chosen].float())
                decoded = vae.decoder(_with_noise(latents, generator))
            error = _error(decoded.float() - signed(pixels[chosen]), weights(chosen))
            total = total + max(share, 0.2) * error
        return total

    learning = nn.ModuleList([*learned, vae.encoder.conv_out, vae.decoder])
    descend(learning, loss, num_steps=num_steps, lr=lr, warm_up=0.05, name="VAE")
    vae.eval()
    measure_latents(vae, clips[:: max(1, len(clips) // 256)])


@torch.no_grad()
def measure_latents(vae: AutoencoderKLLTX2Video, clips: Tensor) -> None:
    """Sets the statistics by which `vae` normalises latents to those of `clips` `[N, F, 3, h, w]`
    uint8: each channel's mean, and one standard deviation for all channels.

    A channel that varies little changes the picture little. If it were scaled up to the others, its
    errors would weigh as much as theirs where the transformer learns.
    """
    latents = torch.cat([vae.encode(signed(clip[None])).latent_dist.mode() for clip in clips])
    vae.latents_mean.copy_(latents.mean(dim=(0, 2, 3, 4)))
    variances = latents.var(dim=(0, 2, 3, 4))
    vae.latents_std.fill_(variances.mean().sqrt())


@torch.no_grad()
def psnr(vae: AutoencoderKLLTX2Video, clips: Tensor) -> float:
    """The mean PSNR, in dB, of `clips` `[N, F, 3, h, w]` uint8 encoded and decoded by `vae`."""
    errors = []
    for clip in clips:
        pixels = signed(clip[None])
        decoded = vae.decode(vae.encode(pixels).latent_dist.mode()).sample
        errors.append((decoded.clamp(-1, 1) - pixels).square().mean())
    return float((10 * (4 / torch.stack(errors)).log10()).mean())


def signed(clips: Tensor) -> Tensor:
    """Clips `[B, F, 3, h, w]` uint8 as the VAE takes them: `[B, 3, F, h, w]` in [-1, 1]."""
    return clips.movedim(1, 2).float() / 127.5 - 1


@torch.no_grad()
def _features(vae: AutoencoderKLLTX2Video, layer: nn.Module, clips: Tensor) -> Tensor:
    """What the encoder's `layer` is given for `clips`, in float16, since there are many of them."""
    parts = tqdm(clips.split(8), "features", unit="batch")
    return torch.cat(
        [layer_inputs(layer, lambda one: vae.encode(one), signed(part)).half() for part in parts]
    )


def _encode_end(
    vae: AutoencoderKLLTX2Video, downsamplers: Sequence[nn.Module], features: Tensor
) -> Tensor:
    """The latents of `features`, by the encoder from its last `downsamplers` on."""
    encoder = vae.encoder
    for downsampler in downsamplers:
        features = downsampler(features, causal=True)
    return encoder.conv_out(encoder.conv_act(encoder.norm_out(features)), causal=True)[:, :-1]


def _with_noise(latents: Tensor, generator: torch.Generator) -> Tensor:
    spread = latents.detach().float().var(dim=(0, 2, 3, 4)).mean().sqrt()
    noise = torch.randn(latents.shape, generator=generator) * _LATENT_NOISE
    return latents + noise * spread


def _error(error: Tensor, weights: Tensor) -> Tensor:
    """The loss of pixels with `error`: its weighted mean square, and the mean square of its
    differences between neighbouring pixels, which are errors of edges."""
    edges = sum(error.diff(dim=dim).square().mean() for dim in (3, 4))
    return (error.square() * weights).mean() + _EDGE_WEIGHT * edges


def _face_weights(boxes: Tensor, side_px: int) -> Callable[[Tensor], Tensor]:
    """A function from indices of clips `[B]` to weights of their pixels, `[B, 1, F, h, w]`.

    Pixels of the face weigh more, since this world is about faces.
    """
    line = torch.arange(side_px) + 0.5

    def weights(chosen: Tensor) -> Tensor:
        left, top, right, bottom = boxes[chosen][..., None].unbind(dim=2)  # [B, F, 1] each
        inside_x = (line > left) & (line < right)
        inside_y = (line > top) & (line < bottom)
        inside = inside_y[..., :, None] & inside_x[..., None, :]
        return 1 + _FACE_WEIGHT * inside[:, None].float()  # [B, 1, F, h, w]

    return weights
