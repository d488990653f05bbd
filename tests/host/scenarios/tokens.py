"""What reaches the transformer, and what it computes, with a reference in context."""

from __future__ import annotations

from typing import Any
from unittest import mock

import torch
from scenarios import world
from torch import Tensor


def rope_inputs(
    num_frames: int,
    height: int,
    width: int,
    frame_rate: float,
    placement: str,
    guides: list[int],
    version: str = "2.3",
) -> dict[str, Any]:
    """One step with and without a reference: the boxes that the RoPE is computed from."""
    video = world.empty_video(num_frames, height, width)
    positive = world.conditioning("a man runs", frame_rate)
    negative = world.conditioning("", frame_rate)
    positive, negative, video = world.guides(video, positive, negative, guides)
    recorder = world.Recorder()
    model = recorder.record(world.patched(world.model_of(version), placement=placement))
    guider = world.three_streams(
        model,
        world.latent([1, 128, 1, height, width]),
        positive=positive,
        negative=negative,
    )
    transformer = model.model.diffusion_model
    seen = []

    def spy(indices_grid: Tensor, *args: Any, **kwargs: Any) -> Any:
        if indices_grid.shape[1] == 3:
            seen.append(indices_grid.clone())
        return original(indices_grid, *args, **kwargs)

    original = transformer._precompute_freqs_cis
    with mock.patch.object(transformer, "_precompute_freqs_cis", spy):
        world.run_guider(guider, video, steps=1)
    return {
        # Recorded calls end after the model's own work, so both lists run in the same order.
        "rope": seen,
        "keyframe_idxs": [call["keyframe_idxs"] for call in recorder.calls],
        "num_frames": [call["video"].shape[2] for call in recorder.calls],
        "timestep": [call["timestep"] for call in recorder.calls],
        "denoise_mask": [call["denoise_mask"] for call in recorder.calls],
    }


def _inputs(num_frames: int, height: int, width: int, batch: int) -> tuple[Tensor, ...]:
    video = world.latent([batch, 128, num_frames, height, width])
    reference = world.latent([1, 128, 1, height, width], seed=2)
    sigma = torch.linspace(0.3, 0.9, batch)
    (context, _), *_ = world.conditioning("a man runs")
    return video, reference, sigma, context.expand(batch, -1, -1)


def in_context_velocity(
    num_frames: int,
    height: int,
    width: int,
    placement: str,
    reference_timestep: str,
    batch: int = 1,
    with_reference: bool = True,
) -> dict[str, Tensor]:
    """The patched transformer's velocity, through the host's own wrapper machinery."""
    model = world.patched(placement=placement, reference_timestep=reference_timestep)
    return velocity_of(model, num_frames, height, width, batch, with_reference)


def velocity_of(
    model: Any,
    num_frames: int,
    height: int,
    width: int,
    batch: int = 1,
    with_reference: bool = True,
) -> dict[str, Tensor]:
    """The velocity of a patched `model`, and the fixed inputs that it is computed from."""
    video, reference, sigma, context = _inputs(num_frames, height, width, batch)
    arguments = world.reference_arguments(model, reference) if with_reference else {}
    output = model.model.diffusion_model(
        [video],
        sigma,
        context=context,
        frame_rate=world.FRAME_RATE,
        transformer_options={"wrappers": model.wrappers},
        **arguments,
    )
    return {
        "video": video,
        "reference": reference,
        "sigma": sigma,
        "context": context,
        "velocity": output[0] if isinstance(output, list) else output,
    }


def hand_built_velocity(
    num_frames: int,
    height: int,
    width: int,
    bounds: Tensor,
    reference_timesteps: Tensor,
    batch: int = 1,
) -> Tensor:
    """The same, from tokens laid out by hand and fed to the transformer's own blocks.

    `bounds` `[3, T H W + H W, 2]` in frames and pixels and `reference_timesteps` `[B]` come from
    the test.
    """
    video, reference, sigma, context = _inputs(num_frames, height, width, batch)
    model = world.mini_model().model.diffusion_model
    tokens = torch.cat(
        (video.flatten(2).mT, reference.expand(batch, -1, -1, -1, -1).flatten(2).mT), dim=1
    )
    num_video_tokens = num_frames * height * width
    timesteps = torch.cat(
        (
            sigma[:, None].expand(-1, num_video_tokens),
            reference_timesteps[:, None].expand(-1, height * width),
        ),
        dim=1,
    )
    no_audio = torch.zeros(batch, 0, model.audio_inner_dim)
    no_times = torch.zeros(batch, 1, 0, 2)
    x = [model.patchify_proj(tokens), no_audio]
    timestep, embedded, _ = model._prepare_timestep(
        timesteps, batch, torch.float32, a_timestep=sigma
    )
    contexts, mask = model._prepare_context(context, batch, x)
    pe = model._prepare_positional_embeddings(
        [bounds[None].expand(batch, -1, -1, -1), no_times], world.FRAME_RATE, torch.float32
    )
    x = model._process_transformer_blocks(x, contexts, mask, timestep, pe)
    shift, scale = (model.scale_shift_table[None, None] + embedded[0].expand()[:, :, None]).unbind(
        2
    )
    out = model.proj_out(model.norm_out(x[0]) * (1 + scale) + shift)
    return out[:, :num_video_tokens].mT.reshape(video.shape)


def masked_timesteps(reference_timestep: str) -> dict[str, Any]:
    """Image-to-video: the first frame held by a noise mask, the rest sampled, with a reference."""
    video = world.empty_video(3, 4, 4)
    image = torch.rand((1, 128, 128, 3), generator=torch.Generator().manual_seed(0))
    (video,) = world.node(
        "LTXVImgToVideoInplace", vae=world.mini_vae(), image=image, latent=video, strength=1.0
    )
    recorder = world.Recorder()
    model = recorder.record(world.patched(reference_timestep=reference_timestep))
    guider = world.three_streams(model, world.latent([1, 128, 1, 4, 4]))
    output = world.run_guider(guider, video, steps=2)
    return {
        "first_frame": video["samples"][:, :, :1],
        "output": output,
        "sigmas": world.sigmas(2),
        "timesteps": [call["timestep"] for call in recorder.calls],
        "masks": [call["denoise_mask"] for call in recorder.calls],
    }
