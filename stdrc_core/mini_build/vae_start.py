"""Sets the miniature's VAE to a start in closed form: principal components in the encoder, least
squares in the decoder.

From a random start this VAE's decoder stays at the mean colour for a thousand steps, since its
upsamplers and pixel norms carry almost nothing of the latents. Here each downsampler keeps the
principal components of what it sees, and each convolution of the decoder is the least-squares fit
of what it must make, so that descent starts near the best linear code of a block (a Karhunen-Loeve
pyramid).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from diffusers import AutoencoderKLLTX2Video
from torch import Tensor, nn
from torch.nn import functional as F

# A downsampler adds the mean of its input to what its convolution kept, so that the convolution has
# to be louder.
_LOUDER = 4.0
# Signals ride on a constant of so many of their standard deviations, so that norm and SiLU are
# nearly linear.
_CARRIER = 3.0
# The ridge is this share of the mean square of a convolution's inputs.
_RIDGE = 1e-4
# The latents' root mean square over all channels.
_LATENT_RMS = 1.0
_LOG_VARIANCE = -8.0


@torch.no_grad()
def start_from_components(vae: AutoencoderKLLTX2Video, pixels: Tensor) -> None:
    """Sets all convolutions of `vae`, whose encoder's blocks have no layers, in place.

    Its components are those of the clips `pixels` `[B, 3, F, h, w]` in [-1, 1].
    """
    _start_encoder(vae, pixels)
    latents = torch.cat([vae.encode(one).latent_dist.mode() for one in pixels.split(1)])
    _start_decoder(vae, latents, pixels)


def _start_encoder(vae: AutoencoderKLLTX2Video, pixels: Tensor) -> None:
    encoder = vae.encoder

    def seen(module: nn.Module) -> Tensor:
        return layer_inputs(module, lambda one: vae.encode(one), pixels)

    mean, _, components = _principal(seen(encoder.conv_in))
    _project(encoder.conv_in.conv, mean, components)
    *first, last = (block.downsamplers[0] for block in encoder.down_blocks)
    for down in first:
        mean, _, components = _principal(seen(down))
        _project(down.conv.conv, mean, components[:, : down.conv.conv.out_channels] * _LOUDER)
    x = seen(last)
    mean, variances, components = _principal(x)
    count = last.conv.conv.out_channels
    loud = _LOUDER * variances[0].sqrt()
    _project(last.conv.conv, mean, components[:, :count] * (loud / variances[:count].sqrt()))
    last.conv.conv.bias += _CARRIER * loud
    mean, variances, components = _principal(seen(encoder.conv_out))
    channels = vae.config.latent_channels
    scale = _LATENT_RMS * (channels / variances.sum()).sqrt()
    _project(encoder.conv_out.conv, mean, components[:, :channels] * scale)
    encoder.conv_out.conv.bias[channels:] = _LOG_VARIANCE


def _start_decoder(vae: AutoencoderKLLTX2Video, latents: Tensor, pixels: Tensor) -> None:
    decoder = vae.decoder
    ups = [block.upsamplers[0] for block in decoder.up_blocks]
    for block in (decoder.mid_block, *decoder.up_blocks):
        for layer in block.resnets:
            nn.init.zeros_(layer.conv2.conv.weight)
            nn.init.zeros_(layer.conv2.conv.bias)

    # What each stage is to make, from the latent's grid up to the pixels.
    patches = _to_patches(pixels, vae.config.patch_size)
    width = decoder.conv_out.conv.in_channels
    mean, variances, components = _principal(patches)
    made = [_apply(patches, components[:, :width], mean)]
    for up in reversed(ups):
        blocks = _to_depth(made[0], up.stride)
        mean, _, components = _principal(blocks)
        made.insert(0, _apply(blocks, components[:, : up.conv.conv.in_channels], mean))
    made[-1] = made[-1] / variances[:width].sqrt()[:, None, None, None] + _CARRIER

    def seen(module: nn.Module) -> Tensor:
        return layer_inputs(module, lambda one: vae.decode(one), latents)

    _fit(decoder.conv_in.conv, seen(decoder.conv_in), made[0])
    for up, target in zip(ups, made[1:], strict=True):
        x = seen(up)
        up.conv.conv.weight.zero_(), up.conv.conv.bias.zero_()
        passed = torch.cat([up(one, causal=False) for one in x.split(1)])
        _fit(up.conv.conv, x, _to_depth(target - passed, up.stride))
    _fit(decoder.conv_out.conv, seen(decoder.conv_out), patches)


def layer_inputs(module: nn.Module, run: Callable[[Tensor], object], batch: Tensor) -> Tensor:
    """The inputs `[B, ...]` that the layer `module` is given while `run` runs on each item of
    `batch`."""
    caught: list[Tensor] = []
    hook = module.register_forward_pre_hook(
        lambda _, args, kwargs: caught.append((args or tuple(kwargs.values()))[0]),
        with_kwargs=True,
    )
    for one in batch.split(1):
        run(one)
    hook.remove()
    return torch.cat(caught)


def _principal(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of the channels of `[B, C, ...]` the mean `[C]`, the components' variances `[C]`, the largest
    first, and the components `[C, C]` in columns."""
    rows = x.movedim(1, -1).flatten(0, -2).double()
    mean = rows.mean(dim=0)
    centred = rows - mean
    variances, components = torch.linalg.eigh(centred.T @ centred / len(rows))
    variances = variances.clamp(min=1e-6 * variances[-1])
    return mean.float(), variances.flip(0).float(), components.flip(1).float()


def _apply(x: Tensor, components: Tensor, mean: Tensor) -> Tensor:
    """`[B, C, T, H, W]` in the coordinates of `components` `[C, k]`: `[B, k, T, H, W]`."""
    return torch.einsum("bcthw,ck->bkthw", x - mean[:, None, None, None], components)


def _project(conv: nn.Conv3d, mean: Tensor, components: Tensor) -> None:
    """Sets a causal `conv` so that it maps each position alone onto `components` `[C_in, k]`."""
    conv.weight.zero_(), conv.bias.zero_()
    count = components.shape[1]
    conv.weight[:count, :, -1, 1, 1] = components.T
    conv.bias[:count] = -(components.T @ mean)


def _fit(conv: nn.Conv3d, x: Tensor, target: Tensor) -> None:
    """Sets `conv` by ridge regression so that it maps `x` `[B, C, T, H, W]`, padded as LTX does, to
    `target`."""
    size = conv.in_channels * 27 + 1
    square, cross = torch.zeros(size, size).double(), torch.zeros(size, conv.out_channels).double()
    for one, wanted in zip(x.split(1), target.split(1), strict=True):
        padded = torch.cat([one[:, :, :1], one, one[:, :, -1:]], dim=2)
        windows = F.pad(padded, (1, 1, 1, 1)).unfold(2, 3, 1).unfold(3, 3, 1).unfold(4, 3, 1)
        rows = windows.permute(0, 2, 3, 4, 1, 5, 6, 7).flatten(4).flatten(0, 3)
        rows = torch.cat([rows, torch.ones(len(rows), 1)], dim=1)
        square += rows.T @ rows
        cross += rows.T @ wanted.movedim(1, -1).flatten(0, -2)
    ridge = _RIDGE * square.diagonal()[:-1].mean()
    square.diagonal()[:-1].add_(ridge)
    solved = torch.linalg.solve(square, cross).float()
    conv.weight.copy_(solved[:-1].T.unflatten(1, (conv.in_channels, 3, 3, 3)))
    conv.bias.copy_(solved[-1])


def _to_patches(pixels: Tensor, side: int) -> Tensor:
    """Patches `[B, 3 side^2, F, H, W]` of pixels `[B, 3, F, h, w]`; the decoder's end undoes it."""
    split = pixels.unflatten(4, (-1, side)).unflatten(3, (-1, side))
    return split.permute(0, 1, 6, 4, 2, 3, 5).flatten(1, 3)


def _to_depth(x: Tensor, stride: tuple[int, int, int]) -> Tensor:
    """Blocks of `stride` in `[B, C, T, H, W]` moved into the channels, which an upsampler undoes.

    The first frame is repeated, so that time has whole blocks.
    """
    x = torch.cat([x[:, :, : stride[0] - 1], x], dim=2)
    split = x.unflatten(4, (-1, stride[2])).unflatten(3, (-1, stride[1]))
    split = split.unflatten(2, (-1, stride[0]))
    return split.permute(0, 1, 3, 5, 7, 2, 4, 6).flatten(1, 4)
