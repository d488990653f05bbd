"""Trains the miniature's video VAE, which is LTX-2.3's architecture in small, on drawn clips."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from diffusers import AutoencoderKLLTX2Video
from torch import Tensor, nn
from tqdm.auto import tqdm

from ..faces.recognizer import Recognizer
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
# How much more a pixel of a face weighs, since this world is about faces, and how much likeness
# weighs beside the errors of pixels.
_FACE_WEIGHT, _LIKENESS_WEIGHT = 4.0, 0.15
# In so many frames of each clip, chosen at random, the likeness of the face may be looked at.
_NUM_LIKENESS_FRAMES = 4
# How many of the encoder's downsamplers learn, the last ones; what the others make is kept.
_NUM_LEARNED_DOWNSAMPLERS = 2
_NUM_START_CLIPS = 240


@dataclass(frozen=True, kw_only=True, eq=False)
class Clips:
    """Clips of one person each, and where the face is in their frames."""

    pixels: Tensor
    """The frames, `[N, F, 3, h, w]` uint8."""
    boxes: Tensor
    """The face's left, top, right and bottom in pixels, `[N, F, 4]`."""
    landmarks: Tensor
    """The face's landmarks in pixels, `[N, F, 5, 2]`."""


def draw_clips(count: int, seed: int, *, unseen: bool) -> Clips:
    """Clips of `count` persons; `unseen` takes persons that are kept out of training."""
    rng = random.Random(seed)
    drawn = [
        draw_clip(identity(number), draw_scene(rng, freedom=CLIP_FREEDOM))
        for number in tqdm(draw_numbers(count, rng, unseen=unseen), "clips", unit="clip")
    ]
    pixels = torch.from_numpy(np.stack([each.pixels for each in drawn]))
    return Clips(
        pixels=pixels.movedim(-1, 2).contiguous(),
        boxes=torch.from_numpy(np.stack([each.boxes for each in drawn])),
        landmarks=torch.from_numpy(np.stack([each.landmarks for each in drawn])),
    )


def train_vae(
    vae: AutoencoderKLLTX2Video,
    clips: Clips,
    photos: Portraits,
    recognizer: Recognizer,
    *,
    num_steps: int,
    keeps_encoder: bool = False,
    batch_size: int = 4,
    num_photos: int = 4,
    lr: float = 5e-4,
    seed: int = 0,
    in_bfloat16: bool = False,
) -> None:
    """Trains `vae` in place on whole clips and on `photos`, since it encodes references too.

    The beginning of the encoder stays as `start_from_components` sets it; its end and the decoder
    learn, with `in_bfloat16` in mixed precision. At the end the latents are measured
    (`measure_latents`). With `keeps_encoder` a trained `vae` goes on, and only its decoder learns,
    so that its latents, and what was trained on them, stay as they are. The faces of decoded
    clips are to be like those that were encoded, as `recognizer` sees them.
    """
    generator = torch.Generator().manual_seed(seed)
    if keeps_encoder:
        learned: list[nn.Module] = [vae.decoder]
        encode_begin, encode_end = partial(_latents, vae), _as_it_is
    else:
        start_from_components(vae, signed(clips.pixels[:_NUM_START_CLIPS]))
        downsamplers = [block.downsamplers[0] for block in vae.encoder.down_blocks]
        downsamplers = downsamplers[-_NUM_LEARNED_DOWNSAMPLERS:]
        learned = [*downsamplers, vae.encoder.conv_out, vae.decoder]
        encode_begin = partial(_features, vae, downsamplers[0])
        encode_end = partial(_encode_end, vae, downsamplers)
    stills = Clips(
        pixels=photos.pixels[:, None],
        boxes=photos.boxes[:, None],
        landmarks=photos.landmarks[:, None],
    )
    sets = [
        (each, _face_weights(each.boxes, each.pixels.shape[-1]), encode_begin(each.pixels), count)
        for each, count in ((clips, batch_size), (stills, num_photos))
    ]
    likeness = _Likeness(clips, recognizer, generator)

    def loss() -> Tensor:
        total = torch.zeros(())
        for each, weights, features, count in sets:
            chosen = torch.randint(len(each.pixels), (count,), generator=generator)
            share = each.pixels.shape[1] / clips.pixels.shape[1]
            with torch.autocast("cpu", torch.bfloat16, enabled=in_bfloat16):
                latents = encode_end(features[chosen].float())
                decoded = vae.decoder(_with_noise(latents, generator))
            decoded = decoded.float()
            error = _error(decoded - signed(each.pixels[chosen]), weights(chosen))
            total = total + max(share, 0.2) * error
            if each is clips:
                total = total + _LIKENESS_WEIGHT * likeness.loss(decoded, chosen, generator)
        return total

    descend(nn.ModuleList(learned), loss, num_steps=num_steps, lr=lr, warm_up=0.05, name="VAE")
    vae.eval()
    if not keeps_encoder:
        measure_latents(vae, clips.pixels[:: max(1, len(clips.pixels) // 256)])


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


class _Likeness:
    """How unlike the faces of decoded clips are to those that were encoded."""

    def __init__(self, clips: Clips, recognizer: Recognizer, generator: torch.Generator) -> None:
        """Embeds the faces of a few frames of each of the `clips`, which `generator` chooses."""
        count, num_frames = clips.pixels.shape[:2]
        order = torch.rand(count, num_frames, generator=generator).argsort(dim=1)
        self.frames = order[:, :_NUM_LIKENESS_FRAMES]
        self.recognizer, self.landmarks = recognizer, clips.landmarks
        with torch.no_grad():
            self.embeddings = torch.stack(
                [
                    recognizer.embed_faces(
                        clips.pixels[i, own].float() / 255, self.landmarks[i, own]
                    )
                    for i, own in enumerate(tqdm(self.frames, "faces", unit="clip"))
                ]
            )

    def loss(self, decoded: Tensor, chosen: Tensor, generator: torch.Generator) -> Tensor:
        """The mean of 1 - cosine over one frame of each clip, for the clips with the indices
        `chosen` `[B]`, decoded to `[B, 3, F, h, w]` in [-1, 1]."""
        which = torch.randint(self.frames.shape[1], chosen.shape, generator=generator)
        frames = self.frames[chosen, which]
        pixels = (decoded[torch.arange(len(chosen)), :, frames] + 1) / 2
        made = self.recognizer.embed_faces(pixels, self.landmarks[chosen, frames])
        return (1 - (made * self.embeddings[chosen, which]).sum(dim=1)).mean()


@torch.no_grad()
def _latents(vae: AutoencoderKLLTX2Video, clips: Tensor) -> Tensor:
    """The latents of `clips` `[N, F, 3, h, w]` uint8, as the encoder makes them."""
    parts = tqdm(clips.split(8), "latents", unit="batch")
    return torch.cat([vae.encode(signed(part)).latent_dist.mode() for part in parts])


def _as_it_is(latents: Tensor) -> Tensor:
    return latents


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
    """The loss of pixels with `error`: its weighted mean square, and that of its differences
    between neighbouring pixels, which are errors of edges."""
    edges = sum(
        (error.diff(dim=dim).square() * weights.narrow(dim, 1, weights.shape[dim] - 1)).mean()
        for dim in (3, 4)
    )
    return (error.square() * weights).mean() + _EDGE_WEIGHT * edges


def _face_weights(boxes: Tensor, side_px: int) -> Callable[[Tensor], Tensor]:
    """A function from indices of clips `[B]` to weights of their pixels, `[B, 1, F, h, w]`."""
    line = torch.arange(side_px) + 0.5

    def weights(chosen: Tensor) -> Tensor:
        left, top, right, bottom = boxes[chosen][..., None].unbind(dim=2)  # [B, F, 1] each
        inside_x = (line > left) & (line < right)
        inside_y = (line > top) & (line < bottom)
        inside = inside_y[..., :, None] & inside_x[..., None, :]
        return 1 + _FACE_WEIGHT * inside[:, None].float()  # [B, 1, F, h, w]

    return weights
