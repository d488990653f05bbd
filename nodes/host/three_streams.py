"""Eq. 13 in the host's sampling (docs/method.md section 5), as a guider."""

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
from ...stdrc_core.method.multi_reference import PlacedReference, layers
from .wrapper import PLACED_REFERENCES, REFERENCE_LATENTS

# Names of the streams' conditionings. Some nodes' hooks look for the first two by their names.
_CONDS = {Stream.TEXT: "positive", Stream.EMPTY: "negative", Stream.REFERENCE: "reference"}


class ThreeStreamGuider(comfy.samplers.CFGGuider):
    """Core's guider with Eq. 13 in the place of its classifier-free guidance.

    It predicts vy from `positive` and v0 from `negative`, and vyr from `positive` with `reference`
    `[K, C, 1, H, W]`, the latents of K photos. `placed` tells where each of these stands and how
    much it counts; at least one has a scale above 0. `options` say how the run is guided.
    """

    def __init__(
        self,
        model: ModelPatcher,
        positive: list,
        negative: list,
        reference: Tensor,
        *,
        placed: Sequence[PlacedReference],
        options: GuidanceOptions,
    ) -> None:
        super().__init__(model)
        self.options = options
        text = without_reference(positive)
        # References whose scales differ need a stream for each scale (docs/method.md section 11).
        # The last stream sees all references that count, and each other one has a conditioning.
        *some, (_, everything) = parts = layers(placed)
        self._part_scales = tuple(scale for scale, _ in parts)
        self._part_names = [f"{_CONDS[Stream.REFERENCE]} {i}" for i in range(1, len(parts))]

        def seeing(indices: list[int]) -> list:
            seen = {
                REFERENCE_LATENTS: [reference[index : index + 1] for index in indices],
                PLACED_REFERENCES: tuple(placed[index] for index in indices),
            }
            return node_helpers.conditioning_set_values(text, seen)

        conds = {
            _CONDS[Stream.TEXT]: text,
            _CONDS[Stream.EMPTY]: without_reference(negative),
            _CONDS[Stream.REFERENCE]: seeing(everything),
        }
        for name, (_, indices) in zip(self._part_names, some, strict=True):
            conds[name] = seeing(indices)
        self.inner_set_conds(conds)

    def predict_noise(
        self,
        x: Tensor,
        timestep: Tensor,
        model_options: dict[str, Any] = {},  # noqa: B006 (the host's own signature)
        seed: int | None = None,
    ) -> Tensor:
        """Returns the guided estimate of the clean latent (the host's `denoised`), shaped as `x`.

        `timestep` `[B]` are sigmas, all alike.
        """
        sigma = float(timestep[0])
        # Some hooks need both sides of the CFG, and the host lets them ask for v0 at any scale.
        always_empty = model_options.get("disable_cfg1_optimization", False)

        def predict(forwards: Forwards) -> Predictions:
            part_names = self._part_names if forwards.num_references > 1 else []
            # Their order decides which ones the host batches, and what hooks take each of them for.
            running = {
                _CONDS[Stream.REFERENCE]: forwards.num_references > 0,
                _CONDS[Stream.TEXT]: forwards.text,
                _CONDS[Stream.EMPTY]: forwards.empty,
                **dict.fromkeys(part_names, True),
            }
            conds = [self.conds[name] if runs else None for name, runs in running.items()]
            # For a stream that does not run the host returns zeros.
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
            # The host's predictions are clean estimates x - sigma v.
            slope=-sigma,
            always_empty=always_empty,
            cfg=cfg,
            join=self._without_audio,
            rescale=self._rescaled,
        )

    def outer_sample(
        self, noise: Tensor, *args: Any, latent_shapes: Any = None, **kwargs: Any
    ) -> Tensor:
        """Runs the sampling, and drops at its end what belongs to the run alone."""
        # The host drops its own parts only after a run that ends well. After an error or an
        # interrupt they would keep the loaded model alive for as long as the node cache keeps this
        # guider.
        self._run = guided_run(self.model_patcher, self.options, self._part_scales)
        self._latent_shapes = latent_shapes or [noise.shape]
        try:
            return super().outer_sample(noise, *args, latent_shapes=latent_shapes, **kwargs)
        finally:
            for name in ("inner_model", "loaded_models", "_run", "_latent_shapes"):
                self.__dict__.pop(name, None)

    def sample(self, *args: Any, **kwargs: Any) -> Tensor:
        """Calls core's `sample`, and drops the run's conditionings however it ends."""
        try:
            return super().sample(*args, **kwargs)
        finally:
            self.__dict__.pop("conds", None)

    def _without_audio(self, reference: Tensor, text: Tensor) -> Tensor:
        """Returns vyr with vy's audio; the host packs audio and video into one tensor."""
        if len(self._latent_shapes) == 1:
            return reference
        video, *_ = comfy.utils.unpack_latents(reference, self._latent_shapes)
        _, *audio = comfy.utils.unpack_latents(text, self._latent_shapes)
        return comfy.utils.pack_latents([video, *audio])[0]

    def _rescaled(self, guided: Tensor, positive: Tensor, phi: float) -> Tensor:
        """Rescales audio and video each by itself; the host packs them into one tensor."""
        unpacked = (
            comfy.utils.unpack_latents(each, self._latent_shapes) for each in (guided, positive)
        )
        parts = [rescale(*pair, phi) for pair in zip(*unpacked, strict=True)]
        return parts[0] if len(parts) == 1 else comfy.utils.pack_latents(parts)[0]


def without_reference(conditioning: list) -> list:
    """Returns a conditioning without references.

    Neither v0 nor vy may see one, whatever nodes stand before the guider.
    """
    ours = (REFERENCE_LATENTS, PLACED_REFERENCES)
    return [
        [cross_attn, {key: value for key, value in options.items() if key not in ours}]
        for cross_attn, options in conditioning
    ]


def guided_run(
    model: ModelPatcher, options: GuidanceOptions, part_scales: Sequence[float]
) -> GuidedRun:
    """Returns the guidance of one run of `model`; the host counts what part of sampling is over.

    `part_scales` are the scales of the parts that the references are taken in, the highest first.
    """
    sampling = model.get_model_object("model_sampling")
    return GuidedRun(options, sampling.percent_to_sigma, part_scales=part_scales)
