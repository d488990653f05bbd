"""Inspect References: what will run, where the references stand, and what is wrong."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from comfy.ldm.lightricks.model import LTXBaseModel
from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io, ui
from torch import Tensor

from ..stdrc_core.ltx.reference_layout import ReferenceLayout
from ..stdrc_core.method.grid import LatentGrid
from ..stdrc_core.method.guidance_curve import GuidanceCurve
from ..stdrc_core.method.guidance_options import EXACT, GuidanceOptions
from ..stdrc_core.method.guidance_schedule import (
    Step,
    steps_of,
    told,
    told_by_sigma,
    without_effect,
)
from ..stdrc_core.method.guided_run import GuidedRun
from ..stdrc_core.method.multi_reference import PlacedReference, layers, with_common_scale
from .guidance_inputs import chosen_options, over_time_inputs, scale_inputs, window_inputs
from .host.checks import check_finite, check_references, check_video, check_whole_frame
from .host.three_streams import guided_run
from .host.version import check_version
from .host.weights import decide_layout, lora_metadata
from .host.wrapper import check_rope, is_patched, layout_choice, reference_bounds, video_grid
from .reference_list import placed_references

# What ComfyUI takes where a conditioning says nothing (LTXVConditioning).
_FRAME_RATE = 25.0
# BFS's references among the transformer's options: they reach every stream.
_BFS_REFERENCES = "_id_ref_specs"
# Parts of sampling that stand for its steps where these are not known.
_NUM_PARTS = 200


@dataclass(frozen=True, kw_only=True)
class _Setup:
    """The node's inputs."""

    model: ModelPatcher
    positive: list
    negative: list
    latent_image: dict[str, Any]
    reference: dict[str, Any]
    chosen: dict[str, Any]
    """The arguments of `guidance_inputs.chosen_options`."""
    sigmas: Tensor | None

    @property
    def transformer(self) -> Any:
        return self.model.model.diffusion_model

    @property
    def video(self) -> Tensor:
        samples = self.latent_image["samples"]
        return samples.unbind()[0] if samples.is_nested else samples

    @property
    def guides(self) -> Tensor | None:
        return self.positive[0][1].get("keyframe_idxs") if self.positive else None

    @property
    def grid(self) -> LatentGrid:
        return video_grid(self.video, self.guides)

    @property
    def frame_rate(self) -> float:
        options = self.positive[0][1] if self.positive else {}
        return float(options.get("frame_rate", _FRAME_RATE))

    @property
    def size(self) -> tuple[int, int]:
        """Of each reference, in latent steps."""
        height, width = self.reference["samples"].shape[-2:]
        return height, width

    @property
    def placed(self) -> tuple[PlacedReference, ...]:
        return placed_references(self.reference)

    @property
    def options(self) -> GuidanceOptions:
        """With the scale that all references share."""
        return with_common_scale(chosen_options(**self.chosen), self.placed)[0]

    @property
    def parts(self) -> list[tuple[float, list[int]]]:
        """The references by scales of their own, a stream each."""
        return layers(with_common_scale(chosen_options(**self.chosen), self.placed)[1])

    @property
    def steps(self) -> tuple[Step, ...]:
        """Of the run, or, where it is not known, as many as show each stretch of sigmas; where a
        share of the steps would end is not known then."""
        options, sigmas = self.options, self.sigmas
        if sigmas is None:
            options = replace(options, guided_share=EXACT.guided_share)
        run = guided_run(self.model, options, [scale for scale, _ in self.parts])
        return steps_of(
            run,
            self._any_sigmas(run) if sigmas is None else sigmas,
            always_empty=self.model.model_options.get("disable_cfg1_optimization", False),
        )

    def _any_sigmas(self, run: GuidedRun) -> Tensor:
        sampling = self.model.get_model_object("model_sampling")
        sigmas = {sampling.percent_to_sigma(part / _NUM_PARTS) for part in range(_NUM_PARTS)}
        for edge in (run.start_sigma, run.end_sigma):
            sigmas.add(min(edge, max(sigmas)))
        return torch.tensor([*sorted(sigmas - {0.0}, reverse=True), 0.0], dtype=torch.float64)


class STDRCInspect(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="STDRCInspect",
            display_name="Inspect References",
            category="ST-DRC",
            description=(
                "Says which streams will run when and with how many tokens, where the references "
                "stand, what the adapters' metadata say, and what is wrong. Nothing is sampled."
            ),
            search_aliases=["st-drc", "check", "debug", "self check", "identity"],
            is_output_node=True,
            inputs=[
                io.Model.Input("model", tooltip="The model as the guider gets it."),
                io.Conditioning.Input("positive", tooltip="As for the guider."),
                io.Conditioning.Input("negative", tooltip="As for the guider."),
                io.Latent.Input("reference", tooltip="As for the guider."),
                io.Latent.Input("latent_image", tooltip="The video latent that will be sampled."),
                *scale_inputs(),
                *window_inputs(),
                *over_time_inputs(),
                io.Sigmas.Input(
                    "sigmas",
                    optional=True,
                    tooltip="Of the run: then the report tells of its steps and counts them.",
                ),
            ],
            outputs=[io.String.Output(display_name="report")],
        )

    @classmethod
    def execute(
        cls,
        model: io.Model.Type,
        positive: list,
        negative: list,
        reference: dict[str, Any],
        latent_image: dict[str, Any],
        text_scale: float,
        reference_scale: float,
        start_percent: float = EXACT.start_percent,
        end_percent: float = EXACT.end_percent,
        guidance_rescale: float = EXACT.guidance_rescale,
        reference_every: int = EXACT.reference_every,
        guided_share: float = EXACT.guided_share,
        preset: str = "exact",
        text_curve: GuidanceCurve | None = None,
        reference_curve: GuidanceCurve | None = None,
        sigmas: Tensor | None = None,
    ) -> io.NodeOutput:
        setup = _Setup(
            model=model,
            positive=positive,
            negative=negative,
            latent_image=latent_image,
            reference=reference,
            chosen={
                "text_scale": text_scale,
                "reference_scale": reference_scale,
                "start_percent": start_percent,
                "end_percent": end_percent,
                "guidance_rescale": guidance_rescale,
                "reference_every": reference_every,
                "guided_share": guided_share,
                "preset": preset,
                "text_curve": text_curve,
                "reference_curve": reference_curve,
            },
            sigmas=sigmas,
        )
        report = "\n".join(_report(setup))
        return io.NodeOutput(report, ui=ui.PreviewText(report))


def _report(setup: _Setup) -> Iterator[str]:
    # Two checks may come upon the same.
    wrong = dict.fromkeys(s for check in _CHECKS if (s := _sentence(check, setup)))
    yield "What is wrong:" if wrong else "Nothing wrong was found."
    yield from (f"- {sentence}" for sentence in wrong)
    yield f"Model: {type(setup.transformer).__name__}."
    yield from (f"LoRA metadata: {_shown(metadata)}" for metadata in lora_metadata(setup.model))
    if wrong:
        return
    decision = decide_layout(layout_choice(setup.model), setup.model)
    yield decision.sentence
    yield from _streams(setup)
    yield from _schedule(setup)
    yield from _places(setup, decision.layout)
    if doubts := list(_doubts(setup)):
        yield "Probably not meant:"
        yield from (f"- {sentence}" for sentence in doubts)


def _streams(setup: _Setup) -> Iterator[str]:
    grid = setup.grid
    num_video = setup.video.shape[2] * grid.tokens_per_frame
    tokens_per_reference = math.prod(setup.size)
    num_guides = num_video - grid.num_tokens
    steps = setup.steps
    runs = any(step.runs.reference for step in steps)
    streams = [
        ("v0, nothing", 0, any(step.forwards.empty for step in steps)),
        ("vy, text", 0, any(step.runs.text for step in steps)),
        *((f"vyr, text and {len(seen)} reference(s)", len(seen), runs) for _, seen in setup.parts),
    ]
    yield (
        f"Video: {grid.num_frames} x {grid.height} x {grid.width} = {grid.num_tokens} tokens"
        + (f", and {num_guides} of guides." if num_guides else ".")
    )
    for name, num_references, does_run in streams:
        tokens = num_video + num_references * tokens_per_reference
        yield f"Stream {name}: " + (f"{tokens} tokens." if does_run else "does not run.")


def _schedule(setup: _Setup) -> Iterator[str]:
    if setup.sigmas is not None:
        yield from told(setup.steps)
        return
    yield from told_by_sigma(setup.options, setup.steps)
    yield "Forwards in all are not known: connect sigmas."


def _doubts(setup: _Setup) -> Iterator[str]:
    yield from without_effect(setup.options, setup.steps, are_known=setup.sigmas is not None)
    if all(each.strength == 0 for each in setup.placed):
        yield "The references have strength 0, so vyr sees no more than vy."


def _places(setup: _Setup, layout: ReferenceLayout) -> Iterator[str]:
    for number, each in enumerate(setup.placed, start=1):
        bounds = reference_bounds(
            setup.transformer, setup.grid, layout, [each.slot], setup.frame_rate, setup.size
        )
        low, high = bounds[..., 0].amin(dim=1).tolist(), bounds[..., 1].amax(dim=1).tolist()
        time, rows, columns = (f"{a:g} to {b:g}" for a, b in zip(low, high, strict=True))
        yield (
            f"Reference {number}: slot {each.slot}, strength {each.strength:g}, scale "
            f"{each.scale:g}; frames {time}, rows {rows}, columns {columns} (pixels)."
        )


def _check_model(setup: _Setup) -> None:
    if not isinstance(setup.transformer, LTXBaseModel):
        raise ValueError(
            f"model is a {type(setup.transformer).__name__}; needs an LTX-Video or LTX-2 model."
        )
    check_version(setup.model)
    if not is_patched(setup.model):
        raise ValueError(
            "model is not patched for a reference; needs Apply TASS-RoPE Patch between the model "
            "loader and the guider."
        )
    check_rope(setup.transformer, decide_layout(layout_choice(setup.model), setup.model).layout)


def _check_other_packs(setup: _Setup) -> None:
    if setup.model.model_options.get("transformer_options", {}).get(_BFS_REFERENCES):
        raise ValueError(
            "model has a reference of BFS's LTX Identity Transfer, which every stream sees; needs "
            "one of the two: remove that node."
        )


def _check_prompts(setup: _Setup) -> None:
    for name in ("positive", "negative"):
        if not getattr(setup, name):
            raise ValueError(f"{name} is an empty conditioning; needs an encoded prompt.")
    conds = {name: [each[1] for each in getattr(setup, name)] for name in ("positive", "negative")}
    check_whole_frame(conds)


def _check_video(setup: _Setup) -> None:
    check_video(setup.video.shape, setup.model.model.latent_format.latent_channels)
    check_finite(setup.video, "latent_image")


def _check_references(setup: _Setup) -> None:
    have_own_size = all(each.has_own_size for each in setup.placed)
    samples = setup.reference["samples"]
    check_references([samples], "reference", setup.video.shape, have_own_size=have_own_size)


def _check_guidance(setup: _Setup) -> None:
    chosen_options(**setup.chosen)


def _check_sigmas(setup: _Setup) -> None:
    if setup.sigmas is None:
        return
    if len(setup.sigmas) < 2 or not (setup.sigmas.diff() < 0).all():
        shown = ", ".join(f"{sigma:.4g}" for sigma in setup.sigmas.tolist()) or "empty"
        raise ValueError(
            f"sigmas is {shown}; needs two values or more that fall: connect LTXVScheduler."
        )
    most = float(setup.model.get_model_object("model_sampling").sigma_max)
    if setup.sigmas[0] > most * 1.001:
        raise ValueError(
            f"sigmas begins at {setup.sigmas[0]:.4g}, this model's noise at {most:.4g}; needs a "
            "schedule of this model's: connect LTXVScheduler."
        )


_CHECKS: tuple[Callable[[_Setup], None], ...] = (
    _check_model,
    _check_other_packs,
    _check_prompts,
    _check_video,
    _check_references,
    _check_guidance,
    _check_sigmas,
)


def _sentence(check: Callable[[_Setup], None], setup: _Setup) -> str | None:
    try:
        check(setup)
    except ValueError as error:
        return str(error)
    return None


def _shown(metadata: Any) -> str:
    """In one line, however much a trainer wrote."""
    text = ", ".join(f"{key}: {value}" for key, value in metadata.items())
    return text if len(text) <= 300 else text[:297] + "..."
