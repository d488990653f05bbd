"""Our guider, handled by nodes of other packs as they handle core's guiders."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from scenarios import world
from scenarios.references import reference_list
from torch import Tensor

T, H, W = 3, 4, 4


def _prompts() -> tuple[list, list]:
    return world.conditioning("a man runs"), world.conditioning("")


def _reference(num_scales: int) -> dict[str, Any]:
    return reference_list(
        [{"photo": k, "slot": k, "scale": 1.0 / (k + 1)} for k in range(num_scales)]
    )


def _set_conds(guider: Any, positive: list, negative: list) -> None:
    guider.set_conds(positive, negative)


def _inner_set_conds(guider: Any, positive: list, negative: list) -> None:
    guider.inner_set_conds({"positive": positive, "negative": negative})


def _new_dictionary(guider: Any, positive: list, negative: list) -> None:
    """As core's own guider holds them."""
    (core,) = world.node(
        "CFGGuider", model=world.mini_model(), positive=positive, negative=negative, cfg=1.0
    )
    guider.original_conds = copy.deepcopy(core.original_conds)


HOWS: dict[str, Callable[[Any, list, list], None]] = {
    "set_conds": _set_conds,
    "inner_set_conds": _inner_set_conds,
    "original_conds": _new_dictionary,
}


def guides_added(how: str, num_scales: int) -> dict[str, Any]:
    """Guides added to the prompts of a copy, as looping and extending samplers do it."""
    reference, model = _reference(num_scales), world.patched()
    plain = _prompts()
    guider = world.three_streams(model, reference, positive=plain[0], negative=plain[1])
    video = world.empty_video(T, H, W)
    before = world.run_guider(guider, video)

    copied = copy.copy(guider)
    copied.original_conds = copy.deepcopy(copied.original_conds)
    positive, negative, guided = world.guides(video, *copied.raw_conds, [0, 8])
    if how == "set_conds":
        # One that does not copy the dictionary first, as the tiled sampler.
        copied = copy.copy(guider)
    HOWS[how](copied, positive, negative)
    built = world.three_streams(model, reference, positive=positive, negative=negative)
    return {
        "copy": world.run_guider(copied, guided),
        "built": world.run_guider(built, guided),
        "before": before,
        "original": world.run_guider(guider, video),
        "raw_conds_are_the_inputs": [a is b for a, b in zip(guider.raw_conds, plain, strict=True)],
        "copy_has_the_new_ones": how != "set_conds"
        or [a is b for a, b in zip(copied.raw_conds, (positive, negative), strict=True)],
    }


def references_in_the_new_prompts() -> dict[str, Tensor]:
    """vyr alone sees a reference, and the guider's, whatever the new prompts carry."""
    (stray,) = world.node(
        "ReferenceLatent",
        conditioning=world.conditioning("a man runs"),
        latent={"samples": world.latent([1, 128, 1, H, W], seed=9)},
    )
    guider, plain = (world.three_streams(world.patched(), _reference(1)) for _ in range(2))
    guider.set_conds(stray, stray)
    text = world.conditioning("a man runs")
    plain.set_conds(text, text)
    video = world.empty_video(T, H, W)
    return {"stray": world.run_guider(guider, video), "plain": world.run_guider(plain, video)}


def copies() -> dict[str, Tensor]:
    """A copy, run before, after and between runs of the guider that it was made of."""
    guider = world.three_streams(world.patched(), _reference(1), reference_every=2)
    copied, video = copy.copy(guider), world.empty_video(T, H, W)
    outputs = [world.run_guider(each, video) for each in (copied, guider, copied, guider)]
    return dict(zip(("copy", "guider", "copy again", "guider again"), outputs, strict=True))


def another_model() -> dict[str, Tensor]:
    """The model in a copy is another one, of another placement."""
    guider = copy.copy(world.three_streams(world.patched(), _reference(1)))
    other = world.patched(placement="overlap")
    guider.model_patcher = other
    built, video = world.three_streams(other, _reference(1)), world.empty_video(T, H, W)
    return {"swapped": world.run_guider(guider, video), "built": world.run_guider(built, video)}


def another_cfg(cfg: float, how: str) -> dict[str, Tensor]:
    guider = world.three_streams(world.patched(), _reference(1))
    if how == "set_cfg":
        guider.set_cfg(cfg)
    else:
        guider.cfg = cfg
    built = world.three_streams(world.patched(), _reference(1), text_scale=cfg)
    video = world.empty_video(T, H, W)
    return {"set": world.run_guider(guider, video), "built": world.run_guider(built, video)}


def cfg_override(cfg: float, percent: float, steps: int) -> dict[str, Tensor]:
    """Core's CFG Override from `percent` on, and a curve that falls to `cfg` there."""
    model = world.patched()
    sigma = float(model.get_model_object("model_sampling").percent_to_sigma(percent))
    (overridden,) = world.node("CFGOverride", model=model, cfg=cfg, start_percent=percent)
    (curve,) = world.node(
        "STDRCGuidanceCurve", start=5.0, end=cfg, start_sigma=sigma + 1e-4, end_sigma=sigma
    )
    guiders = {
        "override": world.three_streams(overridden, _reference(1)),
        "curve": world.three_streams(model, _reference(1), text_curve=curve),
        "plain": world.three_streams(model, _reference(1)),
    }
    video = world.empty_video(T, H, W)
    return {name: world.run_guider(each, video, steps=steps) for name, each in guiders.items()}
