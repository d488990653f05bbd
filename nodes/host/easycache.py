"""Makes core's EasyCache work on a model that takes references.

EasyCache keeps for each conditioning what the transformer added to its input. Three things of it
do not go with references, and all are met in the order of one run's wrappers, so nothing stays:

* It has to stand outside of our patch. Inside, the streams' inputs differ by the references'
  frames, and EasyCache starts over in each step.
* It fails on a list of one tensor, which is what LTX-2 gets of a video without audio (ComfyUI
  0.22), so it is given that tensor alone.
* It adds to its input in place. In a float32 model that is the sampler's own latent, so it is
  given a copy.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from comfy.patcher_extension import WrapperExecutor, WrappersMP
from torch import Tensor

WRAPPER_KEY = "stdrc"
_EASYCACHE = "easycache"


def put_inside_easycache(wrappers: dict[str, dict[str, list[Callable]]]) -> None:
    """Puts our wrapper right behind EasyCache's, and `given_to_easycache` before it.

    `wrappers` are those of one run, by kind and key, outermost first. They are changed in place,
    and only if EasyCache is among them.
    """
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
    """Passes copies of `x` on, and a list of one tensor as that tensor (kind DIFFUSION_MODEL)."""
    copies = [part.clone() for part in x] if isinstance(x, list | tuple) else [x.clone()]
    return executor(copies if len(copies) > 1 else copies[0], *args, **kwargs)
