"""Eq. 13 in the host's sampling, in place of its classifier-free guidance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import comfy.samplers
import comfy.utils
import node_helpers
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ...stdrc_core.method.guidance import GuidanceScales, Stream, rescale
from ...stdrc_core.method.guidance_options import GuidanceOptions
from ...stdrc_core.method.guided_run import Forwards, GuidedRun, Predictions
from ...stdrc_core.method.multi_reference import PlacedReference, in_order, layers
from .wrapper import PLACED_REFERENCES, REFERENCE_LATENTS

# The streams' names among the host's conditionings; some hooks look for the first two.
_CONDS = {Stream.TEXT: "positive", Stream.EMPTY: "negative", Stream.REFERENCE: "reference"}


def guided_run(
    model: ModelPatcher, options: GuidanceOptions, part_scales: Sequence[float]
) -> GuidedRun:
    """The guidance of one run of `model`, whose parts of sampling are the host's."""
    sampling = model.get_model_object("model_sampling")
    return GuidedRun(options, sampling.percent_to_sigma, part_scales=part_scales)


class ThreeStreamGuider(comfy.samplers.CFGGuider):
    """Core's guider with Eq. 13, over the steps of a run as `options` say."""

    def __init__(self, model: ModelPatcher, options: GuidanceOptions) -> None:
        super().__init__(model)
        self.options = options
        # Of references whose scales differ: the f_i, and the conditionings of all v_i but the last.
        self._part_scales: tuple[float, ...] = (1.0,)
        self._part_names: list[str] = []

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

        seen_by = layers(placed)
        self._part_scales = tuple(scale for scale, _ in seen_by)
        *some, everything = (indices for _, indices in seen_by)
        self._part_names = [f"{_CONDS[Stream.REFERENCE]} {i}" for i in range(1, len(seen_by))]
        conds = {
            _CONDS[Stream.TEXT]: text,
            _CONDS[Stream.EMPTY]: without_reference(negative),
            _CONDS[Stream.REFERENCE]: seeing(everything),
        }
        for name, indices in zip(self._part_names, some, strict=True):
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
        sigma = float(timestep[0])
        # Some hooks need both sides of the CFG; the host lets them ask for it.
        always_empty = model_options.get("disable_cfg1_optimization", False)

        def predict(forwards: Forwards) -> Predictions:
            part_names = self._part_names if forwards.num_references > 1 else []
            # The order decides what the host batches, and which side hooks take a stream for.
            running = {
                _CONDS[Stream.REFERENCE]: forwards.num_references > 0,
                _CONDS[Stream.TEXT]: forwards.text,
                _CONDS[Stream.EMPTY]: forwards.empty,
                **dict.fromkeys(part_names, True),
            }
            conds = [self.conds[name] if runs else None for name, runs in running.items()]
            # A stream at rest is 0, as the host has it.
            reference, text, empty, *parts = comfy.samplers.calc_cond_batch(
                self.inner_model, conds, x, timestep, model_options
            )
            return empty, text, [*parts, reference] if forwards.num_references else []

        def cfg(cond: Tensor, uncond: Tensor, scales: GuidanceScales) -> Tensor:
            runs_empty = scales.runs_empty or always_empty
            return comfy.samplers.cfg_function(
                self.inner_model,
                cond,
                uncond,
                scales.text,
                x,
                timestep,
                model_options=model_options,
                cond=self.conds[_CONDS[scales.text_side]],
                uncond=self.conds[_CONDS[Stream.EMPTY]] if runs_empty else None,
            )

        return self._run.predict(
            sigma,
            model_options["transformer_options"]["sample_sigmas"],
            predict,
            # The host's predictions are x - sigma v.
            slope=-sigma,
            always_empty=always_empty,
            cfg=cfg,
            join=self._without_audio,
            rescale=self._rescaled,
        )

    def outer_sample(
        self, noise: Tensor, *args: Any, latent_shapes: Any = None, **kwargs: Any
    ) -> Tensor:
        # The host drops its own after a run that ends well; an error or an interrupt would keep the
        # loaded model alive for as long as this guider stays in the node cache.
        self._run = guided_run(self.model_patcher, self.options, self._part_scales)
        self._latent_shapes = latent_shapes or [noise.shape]
        try:
            return super().outer_sample(noise, *args, latent_shapes=latent_shapes, **kwargs)
        finally:
            for name in ("inner_model", "loaded_models", "_run", "_latent_shapes"):
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

    def _rescaled(self, guided: Tensor, positive: Tensor, phi: float) -> Tensor:
        """Guidance rescale; of audio and video packed into one tensor, each by itself."""
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
