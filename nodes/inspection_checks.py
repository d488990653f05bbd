"""What is wrong with a setup, a sentence a mistake: the input, what it was and what it needs.

Most of these mistakes stop a run before it samples; a second pack's reference and sigmas that are
not this model's do not.
"""

from __future__ import annotations

from collections.abc import Callable

from comfy.ldm.lightricks.model import LTXBaseModel

from .host.checks import (
    check_finite,
    check_has_audio,
    check_prompts,
    check_references,
    check_video,
    check_whole_frame,
    check_windows,
)
from .host.distilled import with_embedded_scales
from .host.rope import check_rope
from .host.version import check_version
from .host.weights import decide_layout
from .host.wrapper import check_patched, is_patched, layout_choice
from .inspection_setup import Setup

# The transformer's option in which BFS's node keeps its references.
_BFS_REFERENCES = "_id_ref_specs"


def find_mistakes(setup: Setup) -> list[str]:
    """Returns a sentence for each mistake; two checks that find the same one give one sentence."""
    found = {}
    for check in _CHECKS:
        try:
            check(setup)
        except ValueError as error:
            found[str(error)] = None
    return list(found)


def _check_model(setup: Setup) -> None:
    if not isinstance(setup.transformer, LTXBaseModel):
        raise ValueError(
            f"model is a {type(setup.transformer).__name__}; needs an LTX-Video or LTX-2 model."
        )
    check_version(setup.model)
    check_patched(setup.model)
    check_rope(setup.transformer, decide_layout(layout_choice(setup.model), setup.model).layout)


def _check_other_packs(setup: Setup) -> None:
    if setup.model.model_options.get("transformer_options", {}).get(_BFS_REFERENCES):
        raise ValueError(
            "model has a reference of BFS's LTX Identity Transfer, which every stream sees; needs "
            "one of the two: remove that node."
        )


def _check_prompts(setup: Setup) -> None:
    prompts = {"positive": setup.positive, "negative": setup.negative}
    check_prompts(**prompts)
    check_whole_frame({name: [each[1] for each in prompts[name]] for name in prompts})


def _check_video(setup: Setup) -> None:
    check_video(setup.video.shape, setup.model.model.latent_format.latent_channels)
    check_windows(setup.model.model_options, setup.video.shape[2])
    check_finite(setup.video, "latent_image")


def _check_references(setup: Setup) -> None:
    have_own_size = all(each.has_own_size for each in setup.placed)
    samples = setup.reference["samples"]
    check_references([samples], "reference", setup.video.shape, have_own_size=have_own_size)
    if is_patched(setup.model):
        decision = decide_layout(layout_choice(setup.model), setup.model)
        decision.check_frames(samples.shape, setup.grid.num_frames)


def _check_guidance(setup: Setup) -> None:
    options = setup.read_options()
    check_has_audio(setup.latent_image["samples"], options.audio_scale)
    # Weights that are told their scales take no curves, and need their LoRA's file.
    with_embedded_scales(setup.model, options)


def _check_sigmas(setup: Setup) -> None:
    if setup.sigmas is None:
        return
    if len(setup.sigmas) < 2 or not (setup.sigmas.diff() < 0).all():
        shown = ", ".join(f"{sigma:.4g}" for sigma in setup.sigmas.tolist()) or "empty"
        raise ValueError(
            f"sigmas is {shown}; needs two values or more that fall: connect LTXVScheduler."
        )
    most = float(setup.model.get_model_object("model_sampling").sigma_max)
    # Rounding may put a schedule's first sigma a little above the model's.
    if setup.sigmas[0] > most * 1.001:
        raise ValueError(
            f"sigmas begins at {setup.sigmas[0]:.4g}, this model's noise at {most:.4g}; needs a "
            "schedule of this model's: connect LTXVScheduler."
        )


_CHECKS: tuple[Callable[[Setup], None], ...] = (
    _check_model,
    _check_other_packs,
    _check_prompts,
    _check_video,
    _check_references,
    _check_guidance,
    _check_sigmas,
)
