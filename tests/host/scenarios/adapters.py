"""Adapters whose references are clips or have learned tags, beside what they were trained with.

The oracle for clips is core's own: CFGGuider samples the unpatched model on a latent to which
core's LTXVAddGuide has appended the references as guides. For BFS's tags it is BFS's own node.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import comfy.sd
import comfy.utils
import comfy_extras.nodes_lt as nodes_lt
import folder_paths
import torch
from comfy.model_patcher import ModelPatcher
from safetensors.torch import load_file
from scenarios import bfs, world
from torch import Tensor, nn

STEPS = 2
TAGS = "diffusion_model.reference_slot_embedding."


def _photos(num: int, height: int, width: int) -> Tensor:
    generator = torch.Generator().manual_seed(7)
    return torch.rand((num, height * 32, width * 32, 3), generator=generator)


def _sample(guider: Any, latent: dict[str, Any], noise: Tensor) -> Tensor:
    output, _ = world.node(
        "SamplerCustomAdvanced",
        noise=world.FixedNoise(noise),
        guider=guider,
        sampler=world.sampler(),
        sigmas=world.sigmas(STEPS),
        latent_image=latent,
    )
    return output["samples"]


def _core(
    model: ModelPatcher, prompt: list, video: dict[str, Any], noise: Tensor, guides: list[Any]
) -> Tensor:
    """Core's guider on the latent with guides `(first frame, latent)` behind the video."""
    positive, negative, latent = prompt, prompt, video["samples"]
    mask = torch.ones(1, 1, latent.shape[2], 1, 1).expand(-1, -1, -1, *latent.shape[3:])
    vae = world.mini_vae()
    for frame, guide in guides:
        positive, negative, latent, mask = nodes_lt.LTXVAddGuide.append_keyframe(
            positive,
            negative,
            frame,
            latent,
            mask,
            guide,
            1.0,
            vae.downscale_index_formula,
            causal_fix=True,
        )
    (guider,) = world.node("CFGGuider", model=model, positive=positive, negative=negative, cfg=1.0)
    num_frames, num_more = noise.shape[2], latent.shape[2] - noise.shape[2]
    held = torch.zeros(1, 128, num_more, *noise.shape[3:])
    noise = torch.cat((noise, held), dim=2)
    return _sample(guider, {"samples": latent, "noise_mask": mask}, noise)[:, :, :num_frames]


def _ours(
    model: ModelPatcher,
    prompt: list,
    video: dict[str, Any],
    noise: Tensor,
    photos: Tensor,
    held_frames: int,
    **choice: Any,
) -> dict[str, Any]:
    layouts = world.pack("stdrc_core.ltx.reference_layout")
    patched = world.pack("nodes.host.wrapper").patch_model(model, layouts.LayoutChoice(**choice))
    decision = world.pack("nodes.host.weights").decide_layout(
        layouts.LayoutChoice(**choice), patched
    )
    reference, _ = world.node(
        "STDRCEncodeReference",
        image=photos,
        vae=world.mini_vae(),
        latent=video,
        held_frames=held_frames,
    )
    guider = world.three_streams(
        patched,
        reference,
        positive=prompt,
        negative=prompt,
        text_scale=1.0,
        reference_scale=1.0,
    )
    return {
        "ours": _sample(guider, video, noise),
        "sentence": decision.sentence,
        "is_doubtful": decision.is_doubtful,
    }


def _tag(path: str, u: float) -> Tensor:
    """The tag of a file by torch's own layers; `u` is what the frequencies are multiplied by."""
    own = {k.removeprefix(TAGS): v for k, v in load_file(path).items() if k.startswith(TAGS)}
    frequencies = own.pop("frequencies")
    hidden, width = own["net.0.weight"].shape
    net = nn.Sequential(nn.Linear(width, hidden), nn.SiLU(), nn.Linear(hidden, 128))
    net.load_state_dict({name.removeprefix("net."): value for name, value in own.items()})
    u = torch.tensor([u])
    return net(torch.cat((u, torch.sin(u * frequencies), torch.cos(u * frequencies))))


def _clip(photo: Tensor, num_frames: int) -> Tensor:
    return world.mini_vae().encode(photo.repeat(num_frames, 1, 1, 1))


def licon(
    path: str, num_photos: int, held_frames: int, grid: list[int], is_before: bool = True
) -> dict[str, Any]:
    """Licon's MSR: held photos with tags, begun before the clip in the order of their slots."""
    model = world.with_lora(world.mini_model(), path)
    video, photos = world.empty_video(*grid), _photos(num_photos, *grid[1:])
    noise, prompt = world.latent([1, 128, *grid], seed=4), world.conditioning("two women talk")
    guides = [
        (
            -(num_photos - slot),
            _clip(photo, held_frames) + _tag(path, (slot + 1) / 16).view(1, -1, 1, 1, 1),
        )
        for slot, photo in enumerate(photos.split(1))
    ]
    files = (f"folder/other_{Path(path).name}", Path(path).stem) if is_before else ()
    return _ours(model, prompt, video, noise, photos, held_frames, lora_files=files) | {
        "core": _core(model, prompt, video, noise, guides)
    }


def ingredients(grid: list[int], held_frames: int = 0) -> dict[str, Any]:
    """Lightricks' sheet: core's own LTXVAddGuide node on the sheet for each frame of the clip."""
    model, sheet = world.mini_model(), _photos(1, *grid[1:])
    video, prompt = world.empty_video(*grid), world.conditioning("### Reference Sheet Description")
    noise = world.latent([1, 128, *grid], seed=4)
    num_frames = 8 * grid[0] - 7
    positive, negative, latent = world.node(
        "LTXVAddGuide",
        positive=prompt,
        negative=prompt,
        vae=world.mini_vae(),
        latent=video,
        image=sheet.repeat(num_frames, 1, 1, 1),
        frame_idx=0,
        strength=1.0,
    )
    (guider,) = world.node("CFGGuider", model=model, positive=positive, negative=negative, cfg=1.0)
    all_noise = torch.cat((noise, torch.zeros_like(noise)), dim=2)
    files = ("ltx-2.3-22b-ic-lora-ingredients-0.9.safetensors",)
    return _ours(model, prompt, video, noise, sheet, held_frames, lora_files=files) | {
        "core": _sample(guider, latent, all_noise)[:, :, : grid[0]]
    }


def without_metadata(path: str, lora_files: list[str]) -> str:
    """What is said of a LoRA that a loader put on the model without what its file says."""
    folder_paths.add_model_folder_path("loras", str(Path(path).parent))
    model, _ = comfy.sd.load_lora_for_models(
        world.mini_model(), None, comfy.utils.load_torch_file(path), 1.0, 0
    )
    choice = world.pack("stdrc_core.ltx.reference_layout").LayoutChoice(
        lora_files=tuple(lora_files)
    )
    return world.pack("nodes.host.weights").decide_layout(choice, model).sentence


def bfs_slots(
    folder: str, path: str, layout: str, placement: str, num_photos: int, source_id: int
) -> dict[str, Any]:
    """BFS's "LTX Multi Reference Slots" with tags of a file, and ours on the same LoRA."""
    bfs.identity_transfer(folder)
    theirs = importlib.import_module("bfs_under_test.ltx_multiref_slots").LTXMultiReferenceSlots()
    grid = [3, 3, 4]
    video, photos = world.empty_video(*grid), _photos(num_photos, *grid[1:])
    noise = world.latent([1, 128, *grid], seed=4)
    results: dict[str, Any] = {}
    for name in ("tagged", "untagged"):
        # BFS changes the live model, so that each run has one of its own.
        model = world.tiny_ltxav_2_0()
        prompt = world.text_conditioning(model)
        model = world.with_lora(model, path)
        patched, positive, negative, latent, _ = theirs.apply(
            model,
            prompt,
            prompt,
            world.mini_vae(),
            video,
            references=photos.split(1),
            slot_embedding_lora=Path(path).name if name == "tagged" else "none",
            start_source_id=source_id,
            layout=layout,
            ref_resize_mode="match_target",
        )
        (guider,) = world.node(
            "CFGGuider", model=patched, positive=positive, negative=negative, cfg=1.0
        )
        results[name] = _sample(guider, latent, noise)
    model = world.tiny_ltxav_2_0()
    prompt = world.text_conditioning(model)
    phase = world.pack("stdrc_core.method.source_phase").SourcePhase(source_id=float(source_id))
    placements = world.pack("stdrc_core.method.layout").Placement
    return results | _ours(
        world.with_lora(model, path),
        prompt,
        video,
        noise,
        photos,
        1,
        placement=None if placement == "auto" else placements(placement),
        source_phase=phase,
        lora_files=(Path(path).name,),
    )
