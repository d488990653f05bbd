"""What a user can get wrong; each run here should end in one ValueError."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import comfy.model_base
import comfy.sd
import comfy.supported_models
import node_helpers
import torch
from comfy.model_patcher import ModelPatcher
from comfy.taesd.taesd import TAESD
from scenarios import world

T, H, W = 3, 4, 4


def _encode(**inputs: Any) -> None:
    world.node(
        "STDRCEncodeReference",
        **{
            "image": torch.rand(1, 60, 40, 3),
            "vae": world.mini_vae(),
            "latent": world.empty_video(T, H, W),
        }
        | inputs,
    )


def _held(num_frames: int) -> torch.Tensor:
    """A photo that is held for so many frames."""
    reference, _ = world.node(
        "STDRCEncodeReference",
        image=torch.rand(1, 60, 40, 3),
        vae=world.mini_vae(),
        latent=world.empty_video(T, H, W),
        held_frames=num_frames,
    )
    return reference["samples"]


def _run(reference: torch.Tensor | None = None, video: Any = None, **inputs: Any) -> None:
    reference = world.latent([1, 128, 1, H, W]) if reference is None else reference
    guider = world.three_streams(inputs.pop("model", None) or world.patched(), reference, **inputs)
    world.run_guider(guider, world.empty_video(T, H, W) if video is None else video, steps=1)


def _run_on(model: ModelPatcher, placement: str) -> None:
    prompt = world.text_conditioning(model)
    _run(model=world.patched(model, placement=placement), positive=prompt, negative=prompt)


def _listed(*shapes: list[int], slot: int = -1) -> dict[str, Any]:
    listed: Any = None
    for shape in shapes:
        more = {} if listed is None else {"references": listed, "slot": slot}
        reference = {"samples": world.latent(shape)}
        (listed,) = world.node("STDRCReferenceList", reference=reference, **more)
    return listed


def _run_list_of_one_native() -> None:
    """Of a list, one was encoded at a size of its own, which the other then has by mistake."""
    native = {"samples": world.latent([1, 128, 1, 6, 5]), "stdrc_own_size": True}
    listed = _listed([1, 128, 1, 6, 5])
    (listed,) = world.node("STDRCReferenceList", reference=native, references=listed)
    guider = world.three_streams(world.patched(), listed)
    world.run_guider(guider, world.empty_video(T, H, W), steps=1)


def _list_that_lost_one() -> None:
    listed = _listed([1, 128, 1, H, W], [1, 128, 1, H, W])
    listed["samples"] = listed["samples"][:1]
    world.node(
        "STDRCThreeStreamCFGGuider",
        model=world.patched(),
        positive=world.conditioning("a man runs"),
        negative=world.conditioning(""),
        reference=listed,
    )


def _with_nan(tensor: torch.Tensor) -> torch.Tensor:
    tensor = tensor.clone()
    tensor[..., 0] = float("nan")
    return tensor


def not_ltx_model() -> ModelPatcher:
    """A tiny Flux."""
    sizes = {
        "image_model": "flux",
        "in_channels": 16,
        "out_channels": 16,
        "patch_size": 2,
        "vec_in_dim": 8,
        "context_in_dim": 8,
        "hidden_size": 32,
        "mlp_ratio": 4.0,
        "num_heads": 2,
        "depth": 1,
        "depth_single_blocks": 1,
        "axes_dim": [4, 6, 6],
        "txt_ids_dims": [],
        "theta": 10000,
        "qkv_bias": True,
        "guidance_embed": False,
    }
    config = comfy.supported_models.Flux(sizes)
    config.set_inference_dtype(torch.float32, None)
    cpu = torch.device("cpu")
    return ModelPatcher(comfy.model_base.Flux(config), cpu, cpu)


def _image_vae() -> None:
    """The tiny autoencoder of Stable Diffusion."""
    _encode(vae=comfy.sd.VAE(sd=TAESD(latent_channels=4).state_dict()))


def _audio_and_video() -> Any:
    video = {"samples": world.latent([1, 128, 1, H, W])}
    audio = {"samples": torch.zeros(1, 8, 12, 16)}
    (both,) = world.node("LTXVConcatAVLatent", video_latent=video, audio_latent=audio)
    return both["samples"]


def _with_area(conditioning: list) -> list:
    return node_helpers.conditioning_set_values(conditioning, {"area": (2, 2, 0, 0)})


def _core(references: list[torch.Tensor]) -> None:
    """Core's nodes alone: ReferenceLatent, once per reference, and the CFG guider."""
    positive = world.conditioning("a man runs")
    for reference in references:
        (positive,) = world.node(
            "ReferenceLatent", conditioning=positive, latent={"samples": reference}
        )
    guider = world.node(
        "CFGGuider",
        model=world.patched(),
        positive=positive,
        negative=world.conditioning(""),
        cfg=3.0,
    )[0]
    world.run_guider(guider, world.empty_video(T, H, W), steps=1)


def _handled(how: Callable[[Any], None]) -> None:
    """What another pack's node does to a guider of ours, and a run after it."""
    guider = world.three_streams(world.patched(), world.latent([1, 128, 1, H, W]))
    how(guider)
    world.run_guider(guider, world.empty_video(T, H, W), steps=1)


def _sampler_with_audio_scale() -> None:
    world.node(
        "STDRCThreeStreamSampler",
        model=world.patched(),
        positive=world.conditioning("a man runs"),
        negative=world.conditioning(""),
        reference={"samples": world.latent([1, 128, 1, H, W])},
        noise_seed=3,
        sampler=world.sampler(),
        sigmas=world.sigmas(1),
        latent_image=world.empty_video(T, H, W),
        audio_scale=7.0,
    )


MISTAKES: dict[str, Callable[[], None]] = {
    "no image": lambda: _encode(image=torch.rand(0, 60, 40, 3)),
    "nan image": lambda: _encode(image=_with_nan(torch.rand(1, 60, 40, 3))),
    "image latent": lambda: _encode(latent={"samples": torch.zeros(1, 4, 8, 8)}),
    "image vae": _image_vae,
    "unknown colour": lambda: _encode(pad_color="mauve-ish"),
    "mask of another size": lambda: _encode(mask=torch.ones(1, 30, 40)),
    "masks of another number": lambda: _encode(
        image=torch.rand(2, 60, 40, 3), mask=torch.ones(3, 60, 40)
    ),
    "mask in grey levels": lambda: _encode(mask=torch.full((1, 60, 40), 255.0)),
    "held for 32 frames": lambda: _encode(held_frames=32),
    "held with tass": lambda: _run(_held(33)),
    "held longer than the clip": lambda: _run(_held(33), model=world.patched(placement="overlap")),
    "held differently": lambda: _core(
        [world.latent([1, 128, 1, H, W]), world.latent([1, 128, 2, H, W])]
    ),
    "not ltx": lambda: world.patched(not_ltx_model()),
    "unpatched": lambda: _run(model=world.mini_model()),
    "reference of several frames": lambda: _run(world.latent([1, 128, 2, H, W])),
    "reference is an image latent": lambda: _run(world.latent([1, 4, 8, 8])),
    "reference of another size": lambda: _run(world.latent([1, 128, 1, 6, 5])),
    "reference of other channels": lambda: _run(world.latent([1, 16, 1, H, W])),
    "nan reference": lambda: _run(_with_nan(world.latent([1, 128, 1, H, W]))),
    "infinite reference": lambda: _run(world.latent([1, 128, 1, H, W]) / 0),
    "nan video": lambda: _run(video={"samples": _with_nan(world.latent([1, 128, T, H, W]))}),
    "text scale": lambda: _run(text_scale=float("nan")),
    "reference scale": lambda: _run(reference_scale=float("inf")),
    "window": lambda: _run(start_percent=0.8, end_percent=0.2),
    "rescale": lambda: _run(guidance_rescale=1.5),
    "reference every": lambda: _run(reference_every=0),
    "audio scale": lambda: _run(audio_scale=float("inf")),
    "audio scale without audio": lambda: _run(audio_scale=5.0),
    "sampler's audio scale without audio": _sampler_with_audio_scale,
    "model put in that is not patched": lambda: _handled(
        lambda guider: setattr(guider, "model_patcher", world.mini_model())
    ),
    "empty prompt put in": lambda: _handled(
        lambda guider: guider.set_conds(world.conditioning("a man runs"), [])
    ),
    "curve that does not fall": lambda: world.node(
        "STDRCGuidanceCurve", start_sigma=0.2, end_sigma=0.9
    ),
    "curve to nowhere": lambda: world.node("STDRCGuidanceCurve", end=float("nan")),
    "empty positive": lambda: _run(positive=[]),
    "empty negative": lambda: _run(negative=[]),
    "core reference of another size": lambda: _core([world.latent([1, 128, 1, 6, 5])]),
    "reference is audio and video": lambda: _run(_audio_and_video()),
    "core reference is audio and video": lambda: _core([_audio_and_video()]),
    "video of other channels": lambda: _run(video={"samples": world.latent([1, 16, T, H, W])}),
    "image latent to sample": lambda: _run(video={"samples": world.latent([1, 4, 8, 8])}),
    "area in negative": lambda: _run(negative=_with_area(world.conditioning(""))),
    "area": lambda: _run(positive=_with_area(world.conditioning("a man runs"))),
    "core references of two sizes": lambda: _core(
        [world.latent([1, 128, 1, H, W]), world.latent([1, 128, 1, 6, 5])]
    ),
    "native list for another size": _run_list_of_one_native,
    "list of two sizes": lambda: _listed([1, 128, 1, H, W], [1, 128, 1, 6, 5]),
    "slot taken twice": lambda: _listed([1, 128, 1, H, W], [1, 128, 1, H, W], slot=0),
    "list in a list": lambda: world.node(
        "STDRCReferenceList", reference=_listed([1, 128, 1, H, W])
    ),
    "list that lost a reference": _list_that_lost_one,
    "angles of interleaved rope": lambda: _run_on(world.tiny_ltxv(causal=True), "strata"),
}


def make(name: str) -> int:
    """Makes the mistake; returns how often the transformer ran (if nothing was raised)."""
    transformer = world.mini_model().model.diffusion_model
    calls: list[int] = []
    handle = transformer.patchify_proj.register_forward_hook(lambda *_: calls.append(1))
    try:
        MISTAKES[name]()
    except Exception as error:
        if calls:
            raise AssertionError(f"raised only after {len(calls)} forward passes") from error
        raise
    finally:
        handle.remove()
    return len(calls)


def names() -> list[str]:
    return list(MISTAKES)
