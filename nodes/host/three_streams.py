"""Eq. 13 in the host's sampling, in place of its classifier-free guidance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import comfy.samplers
import comfy.utils
import node_helpers
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ...stdrc_core.method.guidance import GuidanceScales, Stream, guide, rescale
from ...stdrc_core.method.guidance_plan import GuidancePlan, KeptDirection, StreamsAt
from ...stdrc_core.method.multi_reference import (
    PlacedReference,
    in_order,
    layered_prediction,
    layers,
)
from .wrapper import PLACED_REFERENCES, REFERENCE_LATENTS

# The streams' names among the host's conditionings; some hooks look for the first two.
_CONDS = {Stream.TEXT: "positive", Stream.EMPTY: "negative", Stream.REFERENCE: "reference"}


class ThreeStreamGuider(comfy.samplers.CFGGuider):
    """Core's guider with Eq. 13, over the steps of a run as `guidance` says."""

    def __init__(self, model: ModelPatcher, guidance: GuidancePlan) -> None:
        super().__init__(model)
        self.guidance = guidance
        # Of references whose scales differ: f_i and the conditioning of v_i, but for the last one.
        self._part_conds: list[tuple[float, str]] = []
        self._last_scale = 1.0

    def set_streams(
        self,
        positive: list,
        negative: list,
        reference: Tensor,
        placed: Sequence[PlacedReference] = (),
    ) -> None:
        """`positive` for vy, with `reference` `[K, C, 1, H, W]` for vyr; `negative` for v0.

        `placed` says where each of the K references stands and how much it counts; one at least
        does.
        """
        text = without_reference(positive)
        placed = placed or in_order(len(reference))

        def seeing(indices: list[int]) -> list:
            seen = {
                REFERENCE_LATENTS: [reference[index : index + 1] for index in indices],
                PLACED_REFERENCES: tuple(placed[index] for index in indices),
            }
            return node_helpers.conditioning_set_values(text, seen)

        *some, (self._last_scale, everything) = layers(placed)
        self._part_conds = [
            (scale, f"{_CONDS[Stream.REFERENCE]} {number}")
            for number, (scale, _) in enumerate(some, start=1)
        ]
        conds = {
            _CONDS[Stream.TEXT]: text,
            _CONDS[Stream.EMPTY]: without_reference(negative),
            _CONDS[Stream.REFERENCE]: seeing(everything),
        }
        for (_, name), (_, indices) in zip(self._part_conds, some, strict=True):
            conds[name] = seeing(indices)
        self.inner_set_conds(conds)

    def predict_noise(
        self,
        x: Tensor,
        timestep: Tensor,
        model_options: dict[str, Any] = {},  # noqa: B006 (the host's own signature)
        seed: int | None = None,
    ) -> Tensor:
        """The guided estimate of the clean latent (the host's `denoised`), shaped as `x`."""
        sigmas = model_options["transformer_options"]["sample_sigmas"]
        runs = self.guidance.streams_at(
            float(timestep[0]), sigmas, has_parts=bool(self._part_conds)
        )
        scales = runs.scales
        predictions = self._predict(runs, x, timestep, model_options)
        runs_empty = _runs_empty(scales, model_options)

        def cfg(cond: Tensor, uncond: Tensor, scale: float) -> Tensor:
            return comfy.samplers.cfg_function(
                self.inner_model,
                cond,
                uncond,
                scale,
                x,
                timestep,
                model_options=model_options,
                cond=self.conds[_CONDS[scales.text_side]],
                uncond=self.conds[_CONDS[Stream.EMPTY]] if runs_empty else None,
            )

        guided = guide(scales, **predictions, cfg=cfg)
        return self._rescaled(guided, predictions[scales.positive])

    def _predict(
        self, runs: StreamsAt, x: Tensor, timestep: Tensor, model_options: dict[str, Any]
    ) -> dict[Stream, Tensor]:
        """The streams' estimates of the clean latent; those at rest are 0, as the host has it."""
        sigma = float(timestep[0])
        sigmas = model_options["transformer_options"]["sample_sigmas"]
        keeps = runs.have_direction and self.guidance.reference_every > 1
        direction = self._kept.at(sigma, sigmas) if keeps else None
        computes_reference = runs.reference and direction is None
        part_conds = self._part_conds if runs.in_parts and computes_reference else []

        def cond(stream: Stream, runs: bool) -> list | None:
            return self.conds[_CONDS[stream]] if runs else None

        reference, text, empty, *parts = comfy.samplers.calc_cond_batch(
            self.inner_model,
            [
                cond(Stream.REFERENCE, computes_reference),
                cond(Stream.TEXT, runs.text),
                cond(Stream.EMPTY, _runs_empty(runs.scales, model_options)),
                *(self.conds[name] for _, name in part_conds),
            ],
            x,
            timestep,
            model_options,
        )
        if parts:
            factors = [*(scale for scale, _ in part_conds), self._last_scale]
            layered = list(zip(factors, [*parts, reference], strict=True))
            reference = layered_prediction(text, layered)
        # Estimates of the clean latent are x - sigma v; at sigma 0 they say nothing of v.
        if direction is not None:
            reference = text - sigma * direction
        elif keeps and sigma > 0:
            self._kept.keep((text - reference) / sigma, sigma, sigmas)
        if runs.have_direction:
            reference = self._without_audio(reference, text)
        return {Stream.EMPTY: empty, Stream.TEXT: text, Stream.REFERENCE: reference}

    def outer_sample(
        self, noise: Tensor, *args: Any, latent_shapes: Any = None, **kwargs: Any
    ) -> Tensor:
        # The host drops its own after a run that ends well; an error or an interrupt would keep the
        # loaded model alive for as long as this guider stays in the node cache.
        self._kept = KeptDirection(self.guidance.reference_every)
        self._latent_shapes = latent_shapes or [noise.shape]
        try:
            return super().outer_sample(noise, *args, latent_shapes=latent_shapes, **kwargs)
        finally:
            for name in ("inner_model", "loaded_models", "_kept", "_latent_shapes"):
                self.__dict__.pop(name, None)

    def sample(self, *args: Any, **kwargs: Any) -> Tensor:
        try:
            return super().sample(*args, **kwargs)
        finally:
            self.__dict__.pop("conds", None)

    def _without_audio(self, reference: Tensor, text: Tensor) -> Tensor:
        """vyr with vy's audio, of audio and video packed into one tensor."""
        if len(self._latent_shapes) == 1:
            return reference
        video, *_ = comfy.utils.unpack_latents(reference, self._latent_shapes)
        _, *audio = comfy.utils.unpack_latents(text, self._latent_shapes)
        return comfy.utils.pack_latents([video, *audio])[0]

    def _rescaled(self, guided: Tensor, positive: Tensor) -> Tensor:
        """Guidance rescale; of audio and video packed into one tensor, each by itself."""
        phi = self.guidance.rescale
        if phi == 0:
            return guided
        unpacked = (
            comfy.utils.unpack_latents(each, self._latent_shapes) for each in (guided, positive)
        )
        parts = [rescale(*pair, phi) for pair in zip(*unpacked, strict=True)]
        return parts[0] if len(parts) == 1 else comfy.utils.pack_latents(parts)[0]


def without_reference(conditioning: list) -> list:
    """Neither v0 nor vy may see a reference, whatever nodes stand before this one."""
    ours = (REFERENCE_LATENTS, PLACED_REFERENCES)
    return [
        [cross_attn, {key: value for key, value in options.items() if key not in ours}]
        for cross_attn, options in conditioning
    ]


def _runs_empty(scales: GuidanceScales, model_options: dict[str, Any]) -> bool:
    """Some hooks need both sides of the CFG; the host lets them ask for it."""
    return scales.runs_empty or model_options.get("disable_cfg1_optimization", False)
