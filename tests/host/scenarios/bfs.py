"""BFS's "LTX Identity Transfer" and our nodes side by side, on the same tiny LTX-2.

BFS patches the methods of the live model and leaves them patched: each side has a model of its own,
of the same weights. It is run from its public repository, where the test found it.
"""

from __future__ import annotations

import importlib
import sys
import types
from typing import Any
from unittest import mock

import torch
from comfy.model_patcher import ModelPatcher
from scenarios import host_forms, world
from torch import Tensor


def identity_transfer(folder: str) -> Any:
    """BFS's node, without the rest of its pack, which needs packages of its own."""
    name = "bfs_under_test"
    if name not in sys.modules:
        package = types.ModuleType(name)
        package.__path__ = [folder]
        sys.modules[name] = package
    module = importlib.import_module(f"{name}.ltx_identity_overlap")
    return module.NODE_CLASS_MAPPINGS["LTXIdentityTransfer"]()


class _Inputs:
    """What the transformer's first block is given, and the boxes its RoPE is computed from."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []
        self._bounds: Tensor | None = None

    def run(self, model: ModelPatcher, guider: Any, video: dict[str, Any]) -> dict[str, Any]:
        transformer = model.model.diffusion_model
        precompute = transformer._precompute_freqs_cis

        def note_bounds(indices_grid: Tensor, *args: Any, **kwargs: Any) -> Any:
            if indices_grid.shape[1] == 3:
                self._bounds = indices_grid.clone()
            return precompute(indices_grid, *args, **kwargs)

        with mock.patch.object(transformer, "_precompute_freqs_cis", note_bounds):
            output = world.run_guider(guider, video, steps=1)
        (seen,) = self.seen
        return {**seen, "output": output}

    def note(self, args: dict[str, Any], extra: dict[str, Any]) -> dict[str, Any]:
        cos, sin = host_forms.rope_cos_sin(args["v_pe"])
        self.seen.append(
            {
                "tokens": args["img"][0].clone(),
                "cos": cos.clone(),
                "sin": sin.clone(),
                "timestep": args["v_timestep"].expand().clone(),
                "bounds": self._bounds,
            }
        )
        return extra["original_block"](args)


def _bfs(
    folder: str, video: dict[str, Any], images: Tensor, options: dict[str, Any]
) -> dict[str, Any]:
    model = world.tiny_ltxav_2_0()
    prompt = world.text_conditioning(model)
    inputs = _Inputs()
    model.set_model_patch_replace(inputs.note, "dit", "double_block", 0)
    patched, *_ = identity_transfer(folder).apply(
        model, prompt, prompt, world.mini_vae(), video, images, **options
    )
    (guider,) = world.node("CFGGuider", model=patched, positive=prompt, negative=prompt, cfg=1.0)
    return inputs.run(patched, guider, video)


def _ours(
    video: dict[str, Any], images: Tensor, placement: str, fit: str, options: dict[str, Any]
) -> dict[str, Any]:
    model = world.tiny_ltxav_2_0()
    prompt = world.text_conditioning(model)
    inputs = _Inputs()
    model.set_model_patch_replace(inputs.note, "dit", "double_block", 0)
    patched = world.patched(model, placement=placement, **options)
    reference, _ = world.node(
        "STDRCEncodeReference", image=images, vae=world.mini_vae(), latent=video, fit=fit
    )
    (guider,) = world.node(
        "STDRCThreeStreamCFGGuider",
        model=patched,
        positive=prompt,
        negative=prompt,
        reference=reference,
        text_scale=1.0,
        reference_scale=1.0,
    )
    return inputs.run(patched, guider, video)


def compare(
    folder: str,
    grid: list[int],
    layout: str,
    placement: str,
    frame_rate: float = 24.0,
    source_id: float = 2.0,
    phase_scale: float = 1.0,
    temporal_offset: int = 0,
    num_images: int = 1,
    native: list[int] | None = None,
) -> dict[str, Any]:
    """What both give to the transformer, for photos of `native` latent steps or the frame's own."""
    video = world.empty_video(*grid)
    rows, columns = native or grid[1:]
    images = torch.rand(
        (num_images, rows * 32, columns * 32, 3), generator=torch.Generator().manual_seed(0)
    )
    common = {"source_id": source_id, "phase_scale": phase_scale}
    with mock.patch.object(world, "FRAME_RATE", frame_rate):
        return {
            "bfs": _bfs(
                folder,
                video,
                images,
                {
                    **common,
                    "layout": layout,
                    "reference_temporal_offset_latents": temporal_offset,
                    "ref_resize_mode": "native_resolution" if native else "match_target",
                },
            ),
            "ours": _ours(
                video,
                images,
                placement,
                "native" if native else "crop",
                {**common, "temporal_offset": temporal_offset},
            ),
        }
