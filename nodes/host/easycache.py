"""Core's EasyCache on a model that takes references.

It keeps, for each conditioning by itself, what the transformer added to its input, and has to stand
outside of the patch: inside, the streams' inputs differ by the reference's frame, for which it
starts over in each step. It also fails on the list of one that LTX-2 gets of a video without audio
(ComfyUI 0.22), and adds to its input in place, which is the sampler's own latent where the model
runs in float32. All three are met in the order of wrappers of one run; nothing stays.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from comfy.patcher_extension import WrapperExecutor, WrappersMP
from torch import Tensor

WRAPPER_KEY = "stdrc"
_EASYCACHE = "easycache"


def put_inside_easycache(wrappers: dict[str, dict[str, list[Callable]]]) -> None:
    """Changes a run's `wrappers`, by kind and key, where EasyCache is among them."""
    by_key = wrappers[WrappersMP.DIFFUSION_MODEL]
    if _EASYCACHE not in by_key:
        return
    ours, others = by_key.pop(WRAPPER_KEY), dict(by_key)
    by_key.clear()
    for key, value in others.items():
        if key == _EASYCACHE:
            by_key[f"{WRAPPER_KEY} {_EASYCACHE}"] = [given_to_easycache]
        by_key[key] = value
        if key == _EASYCACHE:
            by_key[WRAPPER_KEY] = ours


def given_to_easycache(
    executor: WrapperExecutor, x: Tensor | list[Tensor], *args: Any, **kwargs: Any
) -> Tensor | list[Tensor]:
    """DIFFUSION_MODEL: copies, and a video alone as a tensor."""
    copies = [part.clone() for part in x] if isinstance(x, list | tuple) else [x.clone()]
    return executor(copies if len(copies) > 1 else copies[0], *args, **kwargs)
