"""Audio and video sampled together, with a reference photo and with ID-LoRA's reference audio."""

from __future__ import annotations

from typing import Any

import torch
from scenarios import world
from torch import Tensor

T, H, W = 3, 4, 4
NUM_VIDEO, NUM_REFERENCE = T * H * W, H * W


def latent(num_audio: int = 12) -> dict[str, Any]:
    return world.node(
        "LTXVConcatAVLatent",
        video_latent=world.empty_video(T, H, W),
        audio_latent={"samples": torch.zeros(1, 8, num_audio, 16)},
    )[0]


def photo(seed: int) -> Tensor:
    return world.latent([1, 128, 1, H, W], seed=seed)


def _parts(output: Any) -> dict[str, Tensor]:
    video, audio = output.unbind()
    return {"video": video.clone(), "audio": audio.clone()}


def _listed(seed: int, strength: float) -> dict[str, Any]:
    return world.node("STDRCReferenceList", reference={"samples": photo(seed)}, strength=strength)[
        0
    ]


def with_photos(
    strength: float = 1.0, steps: int = 1, version: str = "2.3", **scales: float
) -> list[dict[str, Tensor]]:
    """The same run with two photos."""
    model = world.model_of(version)
    return [
        _parts(
            world.run_guider(
                world.three_streams(world.patched(model), _listed(seed, strength), **scales),
                latent(),
                steps=steps,
            )
        )
        for seed in (1, 9)
    ]


def by_core(cfg: float, version: str = "2.3") -> dict[str, Tensor]:
    """Core's CFG guider on the bare model, without a photo."""
    (guider,) = world.node(
        "CFGGuider",
        model=world.model_of(version),
        positive=world.conditioning("a man runs"),
        negative=world.conditioning(""),
        cfg=cfg,
    )
    return _parts(world.run_guider(guider, latent(), steps=1))


def attentions(num_audio: int, placement: str = "tass", strength: float = 1.0) -> dict[str, Any]:
    """(queries, keys, width) of each attention of one forward of vyr, in order, as an override
    below ours sees them; widths of video and audio; tokens of text and blocks."""
    seen: list[list[int]] = []

    def override(func: Any, q: Tensor, k: Tensor, v: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        seen.append([q.shape[1], k.shape[1], q.shape[2]])
        assert k.shape == v.shape
        return func(q, k, v, *args, **kwargs)

    model = world.patched(placement=placement).clone()
    model.model_options["transformer_options"]["optimized_attention_override"] = override
    text = world.conditioning("a man runs")
    guider = world.three_streams(
        model, _listed(1, strength), positive=text, text_scale=1.0, reference_scale=1.0
    )
    world.run_guider(guider, latent(num_audio), steps=1)
    transformer = model.model.diffusion_model
    return {
        # The connectors of the text, before the blocks, attend on their own.
        "seen": seen,
        "video_width": transformer.inner_dim,
        "audio_width": transformer.audio_inner_dim,
        "num_blocks": len(transformer.transformer_blocks),
    }


class _AudioVae:
    """Stands for the audio VAE's file: what core's node asks of it."""

    audio_sample_rate = 16000

    def encode(self, waveform: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(int(waveform.abs().sum() * 100))
        return torch.randn((1, 8, 5, 16), generator=generator)


def _with_voice(model: Any, text: list, empty: list, seed: int, scale: float) -> tuple:
    waveform = torch.rand((1, 1, 800), generator=torch.Generator().manual_seed(seed))
    return world.node(
        "LTXVReferenceAudio",
        model=model,
        positive=text,
        negative=empty,
        reference_audio={"waveform": waveform, "sample_rate": 16000},
        audio_vae=_AudioVae(),
        identity_guidance_scale=scale,
    )


def with_voice(
    photo_seed: int, voice_seed: int, scale: float, patch_first: bool
) -> dict[str, Tensor]:
    """Our guider beside core's ID-LoRA node, one step to the clean estimate."""
    model = world.mini_model()
    model = world.patched(model) if patch_first else model
    model, text, empty = _with_voice(
        model, world.conditioning("a man runs"), world.conditioning(""), voice_seed, scale
    )
    model = model if patch_first else world.patched(model)
    guider = world.three_streams(
        model, photo(photo_seed), positive=text, negative=empty, text_scale=3.0, reference_scale=4.5
    )
    return _parts(world.run_guider(guider, latent(), steps=1))


def streams_with_voice(photo_seed: int, voice_seed: int) -> dict[str, dict[str, Tensor]]:
    """Each stream by core's CFG guider at scale 1, and vy without the voice."""
    plain, nothing = world.conditioning("a man runs"), world.conditioning("")
    _, text, empty = _with_voice(world.mini_model(), plain, nothing, voice_seed, 0.0)
    (both,) = world.node(
        "ReferenceLatent", conditioning=text, latent={"samples": photo(photo_seed)}
    )
    found = {}
    for name, cond in (("empty", empty), ("text", text), ("both", both), ("voiceless", plain)):
        (guider,) = world.node(
            "CFGGuider", model=world.patched(), positive=cond, negative=empty, cfg=1.0
        )
        found[name] = _parts(world.run_guider(guider, latent(), steps=1))
    return found
