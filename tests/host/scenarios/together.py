"""The reference beside guides, batches, audio, context windows, LoRAs and a second stage."""

from __future__ import annotations

from typing import Any

import comfy.sd
import torch
from scenarios import world
from torch import Tensor

T, H, W = 3, 4, 4
FAMILIES = {
    "ltx-2.3": world.mini_model,
    "ltx-2.0": world.tiny_ltxav_2_0,
    "ltx-2.5": world.tiny_ltx_2_5,
    "ltxv-0.9.7": lambda: world.tiny_ltxv(causal=True),
    "ltxv-0.9.1": lambda: world.tiny_ltxv(causal=False),
}


def _guider(model: Any, reference: Tensor | None, **inputs: Any) -> Any:
    """Our guider, or core's CFGGuider on the same prompts where there is no reference."""
    prompts = {
        "positive": world.text_conditioning(model, 1),
        "negative": world.text_conditioning(model, 2),
    } | inputs
    if reference is None:
        return world.node("CFGGuider", model=model, cfg=5.0, **prompts)[0]
    return world.three_streams(model, reference, **prompts)


def family(name: str) -> dict[str, Any]:
    model = FAMILIES[name]()
    recorder = world.Recorder()
    recorded = recorder.record(world.patched(model))
    video = world.empty_video(T, H, W)
    first = world.run_guider(_guider(recorded, world.latent([1, 128, 1, H, W])), video)
    second = world.run_guider(
        _guider(world.patched(model), world.latent([1, 128, 1, H, W], seed=9)), video
    )
    return {
        "class": type(model.model.diffusion_model).__name__,
        "causal": model.model.diffusion_model.causal_temporal_positioning,
        "first": first,
        "second": second,
        "unpatched": world.run_guider(_guider(model, None), video),
        "patched_without": world.run_guider(_guider(world.patched(model), None), video),
        "keyframe_idxs": [
            call["keyframe_idxs"] for call in recorder.calls if call["keyframe_idxs"] is not None
        ],
    }


def patched_without_reference_with_guides() -> dict[str, Tensor]:
    outputs = {}
    for name, model in (("unpatched", world.mini_model()), ("patched", world.patched())):
        positive, negative, video = world.guides(
            world.empty_video(T, H, W),
            world.conditioning("a man runs"),
            world.conditioning(""),
            [0, 8],
        )
        guider = _guider(model, None, positive=positive, negative=negative)
        outputs[name] = world.run_guider(guider, video)
    return outputs


def weak_guide(strength: float) -> dict[str, Any]:
    """A guide at a strength below 1 makes the host build an attention mask over all K tokens."""
    recorder = world.Recorder()
    positive, negative, video = world.guides(
        world.empty_video(T, H, W), world.conditioning("a man"), world.conditioning(""), []
    )
    image = torch.rand((1, H * 32, W * 32, 3), generator=torch.Generator().manual_seed(0))
    positive, negative, video = world.node(
        "LTXVAddGuide",
        positive=positive,
        negative=negative,
        vae=world.mini_vae(),
        latent=video,
        image=image,
        frame_idx=0,
        strength=strength,
    )
    outputs = [
        world.run_guider(
            world.three_streams(
                recorder.record(world.patched()),
                world.latent([1, 128, 1, H, W], seed=seed),
                positive=positive,
                negative=negative,
            ),
            video,
        )
        for seed in (1, 9)
    ]
    return {"outputs": outputs, "frames": [call["video"].shape[2] for call in recorder.calls]}


def batch(**inputs: Any) -> dict[str, Tensor]:
    """Two videos in one batch, and the same two one by one; `inputs` are the guider's."""
    reference = world.latent([1, 128, 1, H, W])
    model = world.patched()
    both = world.empty_video(T, H, W, batch=2)
    noise = world.latent([2, 128, T, H, W], seed=4)

    def run(video: dict[str, Any], value: Tensor) -> Tensor:
        output, _ = world.node(
            "SamplerCustomAdvanced",
            noise=world.FixedNoise(value),
            guider=world.three_streams(model, reference, **inputs),
            sampler=world.sampler(),
            sigmas=world.sigmas(3),
            latent_image=video,
        )
        return output["samples"]

    single = world.empty_video(T, H, W)
    return {
        "batch": run(both, noise),
        "singles": torch.cat([run(single, noise[i : i + 1]) for i in range(2)]),
    }


def audio_and_video() -> dict[str, Any]:
    recorder = world.Recorder()
    (latent,) = world.node(
        "LTXVConcatAVLatent",
        video_latent=world.empty_video(T, H, W),
        audio_latent={"samples": torch.zeros(1, 8, 12, 16)},
    )
    results: dict[str, Any] = {}
    for name, reference in (
        ("first", world.latent([1, 128, 1, H, W])),
        ("second", world.latent([1, 128, 1, H, W], seed=9)),
        ("patched_without", None),
    ):
        model = recorder.record(world.patched())
        video, audio = world.run_guider(_guider(model, reference), latent).unbind()
        results[name] = {"video": video, "audio": audio}
    video, audio = world.run_guider(_guider(world.mini_model(), None), latent).unbind()
    results["unpatched"] = {"video": video, "audio": audio}
    results["audio_shapes"] = [call["audio_shapes"] for call in recorder.calls]
    results["video_frames"] = [call["video"].shape[2] for call in recorder.calls]
    return results


def encoded_for_audio_and_video() -> dict[str, Any]:
    """The node takes the size from the video part of an audio+video latent."""
    (latent,) = world.node(
        "LTXVConcatAVLatent",
        video_latent=world.empty_video(T, 3, 5),
        audio_latent={"samples": torch.zeros(1, 8, 12, 16)},
    )
    reference, preview = world.node(
        "STDRCEncodeReference",
        image=torch.rand(1, 50, 40, 3),
        vae=world.mini_vae(),
        latent=latent,
    )
    return {"reference": reference["samples"], "preview": preview}


def context_windows(num_frames: int, length: int, patch_first: bool) -> dict[str, Any]:
    recorder = world.Recorder()

    def windowed(model: Any) -> Any:
        return world.node(
            "ContextWindowsManual",
            model=model,
            context_length=length,
            context_overlap=1,
            context_schedule="standard_static",
            fuse_method="pyramid",
            dim=2,
        )[0]

    model = world.mini_model()
    model = windowed(world.patched(model)) if patch_first else world.patched(windowed(model))
    video = world.empty_video(num_frames, H, W)
    output = world.run_guider(
        _guider(recorder.record(model), world.latent([1, 128, 1, H, W])), video
    )
    return {
        "output": output,
        "frames": [call["video"].shape[2] for call in recorder.calls],
        "bounds": [call["keyframe_idxs"] for call in recorder.calls],
    }


def lora(strength: float) -> dict[str, Tensor]:
    """A LoRA before the patch, after it, and none."""
    generator = torch.Generator().manual_seed(6)
    base = "diffusion_model.transformer_blocks.0.attn1.to_q"
    layer = world.mini_model().model.diffusion_model.transformer_blocks[0].attn1.to_q
    width = layer.in_features
    weights = {
        f"{base}.lora_A.weight": torch.randn((4, width), generator=generator),
        f"{base}.lora_B.weight": torch.randn((width, 4), generator=generator),
    }
    reference, video = world.latent([1, 128, 1, H, W]), world.empty_video(T, H, W)

    def with_lora(model: Any) -> Any:
        return comfy.sd.load_lora_for_models(model, None, weights, strength, 0)[0]

    models = {
        "before": world.patched(with_lora(world.mini_model())),
        "after": with_lora(world.patched()),
        "none": world.patched(),
    }
    return {
        name: world.run_guider(_guider(model, reference), video) for name, model in models.items()
    }


def clones() -> dict[str, Any]:
    """A clone of a patched model is patched; patching twice is patching once; the source stays."""
    reference, video = world.latent([1, 128, 1, H, W]), world.empty_video(T, H, W)
    source = world.mini_model()
    patched = world.patched(source)
    twice = world.patched(world.patched(source, placement="overlap"), placement="tass")
    is_patched = world.pack("nodes.host.wrapper").is_patched
    return {
        "patched": world.run_guider(_guider(patched, reference), video),
        "clone": world.run_guider(_guider(patched.clone(), reference), video),
        "twice": world.run_guider(_guider(twice, reference), video),
        "source_is_patched": is_patched(source),
    }


def second_stage() -> dict[str, Any]:
    """Twice the size with a reference of its own, on the same patched model."""
    model = world.patched()
    first = world.run_guider(
        _guider(model, world.latent([1, 128, 1, H, W])), world.empty_video(T, H, W)
    )
    upscaled = torch.nn.functional.interpolate(first, scale_factor=(1, 2, 2))
    photo = torch.rand((1, 90, 70, 3), generator=torch.Generator().manual_seed(8))
    reference, _ = world.node(
        "STDRCEncodeReference", image=photo, vae=world.mini_vae(), latent={"samples": upscaled}
    )
    second = world.run_guider(_guider(model, reference["samples"]), {"samples": upscaled})
    return {"first": first, "second": second}
