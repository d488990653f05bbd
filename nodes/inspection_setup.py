"""What Inspect References looks at: its inputs, and what the guider would make of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ..stdrc_core.method.grid import LatentGrid
from ..stdrc_core.method.guidance_options import EXACT, GuidanceOptions
from ..stdrc_core.method.guidance_schedule import Step, steps_of
from ..stdrc_core.method.guided_run import GuidedRun
from ..stdrc_core.method.multi_reference import PlacedReference, layers, with_common_scale
from .host.distilled import in_one_pass
from .host.in_context import video_grid
from .host.three_streams import guided_run
from .reference_list import placed_references

# What ComfyUI's LTX models take for a conditioning that names no frame rate (LTXVConditioning).
_FRAME_RATE = 25.0
# How many parts of sampling stand for its steps if these are not known.
_NUM_PARTS = 200


@dataclass(frozen=True, kw_only=True, eq=False)
class Setup:
    """The inputs of Inspect References.

    The properties below the inputs hold for a setup without mistakes; with one they may raise
    ValueError or fail (`inspection_checks` finds it before).
    """

    model: ModelPatcher
    positive: list
    negative: list
    latent_image: dict[str, Any]
    reference: dict[str, Any]
    read_options: Callable[[], GuidanceOptions]
    """Makes the guidance's options of the widgets; raises ValueError for numbers out of range."""
    sigmas: Tensor | None
    """The run's sigmas `[N + 1]`, falling; None if they are not known."""

    @property
    def transformer(self) -> Any:
        """The model's own network."""
        return self.model.model.diffusion_model

    @property
    def video(self) -> Tensor:
        """The video's latent `[B, C, T', H, W]`, with guide frames and without audio."""
        samples = self.latent_image["samples"]
        return samples.unbind()[0] if samples.is_nested else samples

    @property
    def video_mask(self) -> Tensor | None:
        """The video's denoise mask; None where all of it is sampled."""
        mask = self.latent_image.get("noise_mask")
        return mask.unbind()[0] if mask is not None and mask.is_nested else mask

    @property
    def grid(self) -> LatentGrid:
        """The video's grid without its guide frames."""
        guides = self.positive[0][1].get("keyframe_idxs") if self.positive else None
        return video_grid(self.video, guides)

    @property
    def frame_rate(self) -> float:
        """Frames per second."""
        options = self.positive[0][1] if self.positive else {}
        return float(options.get("frame_rate", _FRAME_RATE))

    @property
    def own_grid(self) -> LatentGrid:
        """The grid of each reference."""
        num_frames, height, width = self.reference["samples"].shape[2:]
        return LatentGrid(num_frames=num_frames, height=height, width=width)

    @property
    def placed(self) -> tuple[PlacedReference, ...]:
        """Where each reference stands and how much it counts, as the user set it."""
        return placed_references(self.reference)

    @property
    def options(self) -> GuidanceOptions:
        """The guidance's options, with the scale that all references share in reference_scale."""
        return self._guided[0]

    @property
    def parts(self) -> list[tuple[float, list[int]]]:
        """The scale and the references' indices of each stream vyr, the highest scale first."""
        return layers(self._guided[1])

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """The run's steps; without sigmas, so many that every stretch of sampling has some.

        Where `guided_share` ends is counted in steps, so without sigmas all of them are guided.
        """
        options, sigmas = self.options, self.sigmas
        if sigmas is None:
            options = replace(options, guided_share=EXACT.guided_share)
        run = guided_run(self.model, options, [scale for scale, _ in self.parts])
        return steps_of(
            run,
            self._any_sigmas(run) if sigmas is None else sigmas,
            always_empty=self.model.model_options.get("disable_cfg1_optimization", False),
        )

    @cached_property
    def _guided(self) -> tuple[GuidanceOptions, tuple[PlacedReference, ...]]:
        options, placed = with_common_scale(self.read_options(), self.placed)
        return in_one_pass(self.model, options), placed

    def _any_sigmas(self, run: GuidedRun) -> Tensor:
        """Returns sigmas close to one another, with the edges of the run's window among them."""
        sampling = self.model.get_model_object("model_sampling")
        sigmas = {sampling.percent_to_sigma(part / _NUM_PARTS) for part in range(_NUM_PARTS)}
        for edge in (run.start_sigma, run.end_sigma):
            sigmas.add(min(edge, max(sigmas)))
        return torch.tensor([*sorted(sigmas - {0.0}, reverse=True), 0.0], dtype=torch.float64)
