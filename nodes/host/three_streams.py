"""Eq. 13 in the host's sampling (docs/method.md section 5), as a guider."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import comfy.samplers
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ...stdrc_core.method.guidance import GuidanceScales, Stream
from ...stdrc_core.method.guidance_curve import scale_at
from ...stdrc_core.method.guidance_options import GuidanceOptions
from ...stdrc_core.method.guided_run import Forwards, GuidedRun, Predictions
from ...stdrc_core.method.multi_reference import PlacedReference, layers
from .checks import check_has_audio, check_prompts
from .packed_audio import guiding_audio_apart, rescaled_apart, with_audio_of
from .run_in_pieces import RunInPieces
from .wrapper import PLACED_REFERENCES, REFERENCE_LATENTS, check_patched

# Names of the streams' conditionings. Some nodes' hooks look for the first two by their names.
_CONDS = {Stream.TEXT: "positive", Stream.EMPTY: "negative", Stream.REFERENCE: "reference"}
# What belongs to one run, and is dropped at its end.
_OF_A_RUN = ("conds", "inner_model", "loaded_models", "_run", "_latent_shapes")


class ThreeStreamGuider(comfy.samplers.CFGGuider):
    """Core's guider with Eq. 13 in the place of its classifier-free guidance.

    It predicts vy from `positive` and v0 from `negative`, and vyr from `positive` with `reference`
    `[K, C, 1, H, W]`, the latents of K photos. `placed` tells where each of these stands and how
    much it counts; at least one has a scale above 0. `options` say how the run is guided.

    Nodes of other packs may handle it as a guider of core's. They may copy it with `copy.copy`,
    give the copy other prompts with `set_conds` (those in use are in `raw_conds`), and give it
    another `cfg`, which then takes the place of the text scale.
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
        self._reference, self._placed = reference, tuple(placed)
        # References whose scales differ need a stream for each scale (docs/method.md section 11).
        # The last stream sees all references that count, and each other one has a conditioning.
        *some, (_, everything) = parts = layers(placed)
        self._part_scales = tuple(scale for scale, _ in parts)
        self._part_names = [f"{_CONDS[Stream.REFERENCE]} {i}" for i in range(1, len(parts))]
        self._seen = {_CONDS[Stream.REFERENCE]: everything} | {
            name: indices for name, (_, indices) in zip(self._part_names, some, strict=True)
        }
        self._own_cfg = self.cfg = scale_at(options.text_scale, 1.0)
        self.set_conds(positive, negative)

    def set_conds(self, positive: list, negative: list) -> None:
        """Takes other prompts, beside the same reference.

        Raises ValueError for a conditioning that is empty.
        """
        check_prompts(positive, negative)
        super().set_conds(positive, negative)
        self.raw_conds = (positive, negative)

    def inner_set_conds(self, conds: dict[str, list]) -> None:
        """Sets conditionings by their names, as core does; a copy of this guider keeps its own."""
        self.original_conds = dict(self.original_conds)
        super().inner_set_conds(conds)

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
            options = model_options
            if scales.audio_is_apart:
                options = guiding_audio_apart(options, scales.audio, self._latent_shapes)
            return comfy.samplers.cfg_function(
                self.inner_model,
                cond,
                uncond,
                scales.text,
                x,
                timestep,
                model_options=options,
                cond=self.conds[_CONDS[scales.text_side]],
                uncond=self.conds[_CONDS[Stream.EMPTY]] if runs_empty else None,
            )

        return self._run.guidance.predict(
            sigma,
            self._run.sigmas,
            predict,
            # The host's predictions are clean estimates x - sigma v.
            slope=-sigma,
            always_empty=always_empty,
            cfg=cfg,
            join=partial(with_audio_of, shapes=self._latent_shapes),
            rescale=partial(rescaled_apart, shapes=self._latent_shapes),
            text_scale=None if self.cfg == self._own_cfg else self.cfg,
        )

    def sample(
        self,
        noise: Tensor,
        latent_image: Tensor,
        sampler: Any,
        sigmas: Tensor,
        *args: Any,
        **kwargs: Any,
    ) -> Tensor:
        """Samples all `sigmas` `[N + 1]`, and drops at the end what belongs to the run alone.

        Raises ValueError for a model that is not patched, and for an audio scale without audio.
        """
        check_patched(self.model_patcher)
        check_has_audio(latent_image, self.options.audio_scale)
        guidance = partial(guided_run, self.model_patcher, self.options, self._part_scales)
        given = self.original_conds
        self.original_conds = given | self._stream_conds()
        self._run = RunInPieces(sigmas, guidance)
        try:
            return super().sample(noise, latent_image, sampler, sigmas, *args, **kwargs)
        finally:
            # The host drops its own parts only after a run that ends well. After an error or an
            # interrupt they would keep the loaded model alive for as long as the node cache keeps
            # this guider.
            self.original_conds = given
            for name in _OF_A_RUN:
                self.__dict__.pop(name, None)

    def outer_sample(
        self,
        noise: Tensor,
        latent_image: Tensor,
        sampler: Any,
        sigmas: Tensor,
        denoise_mask: Tensor | None = None,
        callback: Callable[..., None] | None = None,
        disable_pbar: bool = False,
        seed: int | None = None,
        latent_shapes: Any = None,
    ) -> Tensor:
        """Samples the run's sigmas, or a piece of them that a wrapper around this asks for."""
        self._latent_shapes = latent_shapes or [noise.shape]
        self._run.go_on_with(sigmas)
        return super().outer_sample(
            noise,
            latent_image,
            sampler,
            sigmas,
            denoise_mask,
            callback,
            disable_pbar,
            seed,
            latent_shapes=latent_shapes,
        )

    def _stream_conds(self) -> dict[str, list[dict[str, Any]]]:
        """Returns the conditionings of all streams, made of those of the two prompts."""
        text, empty = (
            without_reference(self.original_conds[_CONDS[stream]])
            for stream in (Stream.TEXT, Stream.EMPTY)
        )
        conds = {_CONDS[Stream.TEXT]: text, _CONDS[Stream.EMPTY]: empty}
        for name, indices in self._seen.items():
            seen = {
                REFERENCE_LATENTS: [self._reference[index : index + 1] for index in indices],
                PLACED_REFERENCES: tuple(self._placed[index] for index in indices),
            }
            # By its uuid, caches such as EasyCache tell one conditioning from another.
            conds[name] = [{**cond, **seen, "uuid": uuid.uuid4()} for cond in text]
        return conds


def without_reference(conds: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns a stream's conditionings, as the host holds them, without references.

    Neither v0 nor vy may see one, whatever nodes stand before the guider.
    """
    ours = (REFERENCE_LATENTS, PLACED_REFERENCES)
    return [{key: value for key, value in cond.items() if key not in ours} for cond in conds]


def guided_run(
    model: ModelPatcher, options: GuidanceOptions, part_scales: Sequence[float]
) -> GuidedRun:
    """Returns the guidance of one run of `model`; the host counts what part of sampling is over.

    `part_scales` are the scales of the parts that the references are taken in, the highest first.
    """
    sampling = model.get_model_object("model_sampling")
    return GuidedRun(options, sampling.percent_to_sigma, part_scales=part_scales)
