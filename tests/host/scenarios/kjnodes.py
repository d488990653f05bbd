"""KJNodes' patches of LTX-2 on either side of ours, run from its public repository.

The oracle is core's own: on a model with KJNodes' patch alone, the reference is appended by hand as
one more guide frame (`by_hand`).
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import nodes
from comfy.model_patcher import ModelPatcher
from scenarios import by_hand, world
from torch import Tensor

NODES = {
    "nag": "LTX2_NAG",
    "chunks": "LTXVChunkFeedForward",
    "tuner": "LTX2AttentionTunerPatch",
}


def load(folder: str) -> str:
    """Loads the pack as the host does; returns "" or the reason why this host cannot."""
    if "LTX2_NAG" in nodes.NODE_CLASS_MAPPINGS:
        return ""
    # The host's nodes put its folder `comfy` first on the path, whose module `utils` stands for the
    # package that the server needs, or has been loaded in its place already.
    sys.modules.pop("utils", None)
    with mock.patch.object(sys, "path", [str(Path(nodes.__file__).parent), *sys.path]):
        import server

    if not hasattr(server.PromptServer, "instance"):
        # The pack adds routes to the server when it is loaded.
        server.PromptServer(asyncio.new_event_loop())
    if not asyncio.run(nodes.load_custom_node(folder)):
        return "ComfyUI did not load ComfyUI-KJNodes (its log says why)"
    return ""


def _with(kind: str) -> Callable[[ModelPatcher], ModelPatcher]:
    options: dict[str, Any] = {
        "nag": {"nag_cond_video": world.conditioning("a woman sings"), "nag_scale": 5.0},
        "chunks": {"chunks": 3, "dim_threshold": 0},
        "tuner": {"video_scale": 0.6, "triton_kernels": False},
    }[kind]
    return lambda model: world.node(NODES[kind], model=model, **options)[0]


def compare(kind: str, patch_first: bool, grid: list[int], bounds: Tensor) -> dict[str, Tensor]:
    """One reference: the oracle, ours with KJNodes' patch, and ours without it."""
    put_on = _with(kind)
    prompt, video = world.conditioning("a man runs"), world.empty_video(*grid)
    noise = world.latent(list(video["samples"].shape), seed=4)
    reference = world.latent([1, 128, 1, *grid[1:]], seed=2)
    model = world.mini_model()
    both = put_on(world.patched(model)) if patch_first else world.patched(put_on(model))

    def ours(patched: ModelPatcher) -> Tensor:
        guider = world.three_streams(
            patched,
            reference,
            positive=prompt,
            negative=prompt,
            text_scale=1.0,
            reference_scale=1.0,
        )
        return by_hand._sample(guider, video, noise, "euler")

    (oracle,) = by_hand._by_hand(
        put_on(model), prompt, video, reference, bounds, noise, None, "euler", 1.0
    )
    return {"oracle": oracle, "both": ours(both), "plain": ours(world.patched(model))}


def three_streams(kind: str, grid: list[int]) -> dict[str, Tensor]:
    """All three streams, with the patches in both orders, and without KJNodes' one."""
    put_on = _with(kind)
    video, reference = world.empty_video(*grid), world.latent([1, 128, 1, *grid[1:]])
    models = {
        "before": world.patched(put_on(world.mini_model())),
        "after": put_on(world.patched()),
        "plain": world.patched(),
    }
    return {
        name: world.run_guider(world.three_streams(model, reference), video)
        for name, model in models.items()
    }
