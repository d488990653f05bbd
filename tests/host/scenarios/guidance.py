"""The three-stream guider beside core's own guiders."""

from __future__ import annotations

from typing import Any

import comfy.samplers
import torch
from scenarios import world
from torch import Tensor

T, H, W = 3, 4, 4


def _conditions(reference: Tensor) -> dict[str, list]:
    text = world.conditioning("a man runs")
    (with_reference,) = world.node(
        "ReferenceLatent", conditioning=text, latent={"samples": reference}
    )
    return {"both": with_reference, "text": text, "empty": world.conditioning("")}


def against_dual_cfg(
    text_scale: float, reference_scale: float, version: str = "2.3"
) -> dict[str, Any]:
    """Our guider and core's DualCFGGuider (regular), the reference only in its cond1."""
    reference = world.latent([1, 128, 1, H, W])
    video = world.empty_video(T, H, W)
    conditions = _conditions(reference)
    ours, theirs = world.Recorder(), world.Recorder()
    model = world.model_of(version)
    guider = world.three_streams(
        ours.record(world.patched(model)),
        reference,
        text_scale=text_scale,
        reference_scale=reference_scale,
    )
    (dual,) = world.node(
        "DualCFGGuider",
        model=theirs.record(world.patched(model)),
        cond1=conditions["both"],
        cond2=conditions["text"],
        negative=conditions["empty"],
        cfg_conds=reference_scale,
        cfg_cond2_negative=text_scale,
        style="regular",
    )
    return {
        "ours": world.run_guider(guider, video),
        "dual": world.run_guider(dual, video),
        "num_tokens": ours.num_tokens,
        "num_dual_tokens": theirs.num_tokens,
    }


def windowed(start_percent: float, end_percent: float, steps: int) -> dict[str, Any]:
    """Tokens of each step, and the sigma at which it ran."""
    recorder = world.Recorder()
    model = recorder.record(world.patched())
    guider = world.three_streams(
        model,
        world.latent([1, 128, 1, H, W]),
        start_percent=start_percent,
        end_percent=end_percent,
    )
    output = world.run_guider(guider, world.empty_video(T, H, W), steps=steps)
    sampling = model.get_model_object("model_sampling")
    return {
        "output": output,
        "sigmas": world.sigmas(steps),
        "start_sigma": float(sampling.percent_to_sigma(start_percent)),
        "end_sigma": float(sampling.percent_to_sigma(end_percent)),
        "call_sigmas": [float(call["timestep"].max()) for call in recorder.calls],
        "call_tokens": [call["video"].shape[0] * call["video"].shape[2] for call in recorder.calls],
    }


def _k_sampler(model: Any, positive: list, negative: list, cfg: float) -> Tensor:
    import nodes

    (out,) = nodes.KSampler().sample(
        model, 3, 3, cfg, "euler", "simple", positive, negative, world.empty_video(T, H, W)
    )
    return out["samples"]


def core_reference_latent(cfg: float) -> dict[str, Tensor]:
    """Core's KSampler and ReferenceLatent on a patched model, and our guider at s_y = s_r."""
    reference = world.latent([1, 128, 1, H, W])
    conditions = _conditions(reference)
    model = world.patched()
    guider = world.three_streams(model, reference, text_scale=cfg, reference_scale=cfg)
    (sigmas,) = world.node("BasicScheduler", model=model, scheduler="simple", steps=3, denoise=1.0)
    ours, _ = world.node(
        "SamplerCustomAdvanced",
        noise=world.node("RandomNoise", noise_seed=3)[0],
        guider=guider,
        sampler=world.sampler(),
        sigmas=sigmas,
        latent_image=world.empty_video(T, H, W),
    )
    return {
        "core": _k_sampler(model, conditions["both"], conditions["empty"], cfg),
        "core_without": _k_sampler(model, conditions["text"], conditions["empty"], cfg),
        "ours": ours["samples"],
    }


def text_streams_are_blind() -> dict[str, Any]:
    """The prompts themselves carry another reference: only vyr may see one, and the guider's."""
    stray = world.latent([1, 128, 1, H, W], seed=9)
    conditions = _conditions(stray)
    reference = world.latent([1, 128, 1, H, W])
    recorder = world.Recorder()
    model = recorder.record(world.patched())
    options = {"steps": 1}
    guider = world.three_streams(
        model, reference, positive=conditions["both"], negative=conditions["both"]
    )
    output = world.run_guider(guider, world.empty_video(T, H, W), **options)
    clean = world.three_streams(
        world.patched(), reference, positive=conditions["text"], negative=conditions["text"]
    )
    return {
        "output": output,
        "clean": world.run_guider(clean, world.empty_video(T, H, W), **options),
        "references": [
            call["video"][:, :, -1] for call in recorder.calls if call["video"].shape[2] == T + 1
        ],
        "reference": reference[:, :, 0],
        "num_calls_without": sum(call["video"].shape[2] == T for call in recorder.calls),
    }


def sampler_node() -> dict[str, Tensor]:
    """The sampler node, and the guider node in SamplerCustomAdvanced."""
    reference = {"samples": world.latent([1, 128, 1, H, W])}
    model, video = world.patched(), world.empty_video(T, H, W)
    output, denoised = world.node(
        "STDRCThreeStreamSampler",
        model=model,
        positive=world.conditioning("a man runs"),
        negative=world.conditioning(""),
        reference=reference,
        noise_seed=3,
        sampler=world.sampler(),
        sigmas=world.sigmas(3),
        latent_image=video,
    )
    guider = world.three_streams(model, reference["samples"])
    return {
        "node": output["samples"],
        "denoised": denoised["samples"],
        "advanced": world.run_guider(guider, video),
    }


def hooks(text_scale: float, reference_scale: float) -> dict[str, Any]:
    """What a post-CFG hook that asks for both sides is given, and what its change does."""
    seen = []

    def post_cfg(args: dict[str, Any]) -> Tensor:
        names = {id(conds): name for name, conds in hooked.conds.items()}
        (alone,) = comfy.samplers.calc_cond_batch(
            args["model"], [args["cond"]], args["input"], args["sigma"], args["model_options"]
        )
        seen.append(
            {
                "cond": names[id(args["cond"])],
                "uncond": names[id(args["uncond"])],
                "scale": args["cond_scale"],
                "cond_error": float((alone - args["cond_denoised"]).abs().max()),
            }
        )
        return args["denoised"] + 1.0

    model = world.patched()
    model.set_model_sampler_post_cfg_function(post_cfg, disable_cfg1_optimization=True)
    reference = world.latent([1, 128, 1, H, W])
    scales = {"text_scale": text_scale, "reference_scale": reference_scale}
    plain = world.three_streams(world.patched(), reference, **scales)
    hooked = world.three_streams(model, reference, **scales)
    results = []
    for guider in (plain, hooked):
        output, _ = world.node(
            "SamplerCustomAdvanced",
            noise=world.node("RandomNoise", noise_seed=3)[0],
            guider=guider,
            sampler=world.sampler(),
            # One step to sigma 0 makes the output the denoised estimate itself.
            sigmas=torch.tensor([1.0, 0.0]),
            latent_image=world.empty_video(T, H, W),
        )
        results.append(output["samples"])
    return {"plain": results[0], "hooked": results[1], "seen": seen}


def over_time(sampler: str = "euler", steps: int = 3, **inputs: Any) -> dict[str, Any]:
    """A run of the guider; `curves` are Guidance Curve nodes by the guider's input."""
    recorder = world.Recorder()
    curves = {
        name: world.node("STDRCGuidanceCurve", **options)[0]
        for name, options in inputs.pop("curves", {}).items()
    }
    guider = world.three_streams(
        recorder.record(world.patched()), world.latent([1, 128, 1, H, W]), **inputs, **curves
    )
    outputs = []
    for _ in range(2):
        output, _ = world.node(
            "SamplerCustomAdvanced",
            noise=world.node("RandomNoise", noise_seed=3)[0],
            guider=guider,
            sampler=world.sampler(sampler),
            sigmas=world.sigmas(steps),
            latent_image=world.empty_video(T, H, W),
        )
        outputs.append(output["samples"])
    return {
        "output": outputs[0],
        "again": outputs[1],
        "sigmas": world.sigmas(steps),
        # Of both runs: the highest timestep and whether the reference was there, of each video.
        "calls": [
            [float(call["timestep"].max()), call["video"].shape[2] == T + 1]
            for call in recorder.calls
            for _ in range(call["video"].shape[0])
        ],
    }


def streams_at(latent: Tensor, sigma: float) -> dict[str, Tensor]:
    """v0, vy and vyr of `latent` at `sigma`, each by core's CFGGuider at scale 1 on one step to 0.

    Such a step ends at the estimate of the clean latent, x - sigma v.
    """
    conditions = _conditions(world.latent([1, 128, 1, H, W]))
    model, found = world.patched(), {}
    for name, positive in conditions.items():
        (guider,) = world.node(
            "CFGGuider", model=model, positive=positive, negative=conditions["empty"], cfg=1.0
        )
        clean = guider.sample(
            latent / sigma, torch.zeros_like(latent), world.sampler(), torch.tensor([sigma, 0.0])
        )
        found[name] = (latent - clean.cpu()) / sigma
    return found


def by_hand(
    s_y: list[float], s_r: list[float], every: int, phi: float, start: int, end: int
) -> Tensor:
    """Euler steps with Eq. 13 written out on core's own streams; scales by step.

    Steps outside of `start` to `end` have s_r = s_y and compute their own direction.
    """
    steps = len(s_y)
    sigmas = world.sigmas(steps).tolist()
    latent = torch.randn([1, 128, T, H, W], generator=torch.Generator().manual_seed(3))
    direction = None
    for i in range(steps):
        v = streams_at(latent, sigmas[i])
        inside = start <= i <= end
        if not inside or (i - start) % every == 0:
            direction = v["both"] - v["text"]
        push = s_r[i] if inside else s_y[i]
        guided = v["empty"] + s_y[i] * (v["text"] - v["empty"]) + push * direction
        clean = latent - sigmas[i] * guided
        positive = latent - sigmas[i] * (v["text"] + direction)
        clean = clean * (phi * positive.std() / clean.std() + 1 - phi)
        latent = latent + (sigmas[i + 1] - sigmas[i]) * (latent - clean) / sigmas[i]
    return latent


def audio_and_video_rescaled() -> dict[str, list[Tensor]]:
    """One step to sigma 0 of a packed latent: the guided estimates and the positive ones."""
    (video,) = world.node(
        "LTXVConcatAVLatent",
        video_latent=world.empty_video(T, H, W),
        audio_latent={"samples": torch.zeros(1, 8, 12, 16)},
    )
    options = {
        "guided": {"guidance_rescale": 1.0},
        "plain": {},
        "positive": {"text_scale": 1.0, "reference_scale": 1.0},
        "text": {"text_scale": 1.0, "reference_scale": 0.0},
    }
    found = {}
    for name, inputs in options.items():
        guider = world.three_streams(world.patched(), world.latent([1, 128, 1, H, W]), **inputs)
        output = world.run_guider(guider, video, steps=1)
        found[name] = [each.clone() for each in output.unbind()]
    # The photo says nothing of the audio: the estimate that sees the most is vy.
    found["positive"][1] = found.pop("text")[1]
    return found
