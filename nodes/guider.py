"""Three-Stream Ref CFG Guider and Sampler: text and reference guided separately (Eq. 13)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import comfy.samplers
import node_helpers
from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io
from comfy_extras.nodes_custom_sampler import Noise_RandomNoise, SamplerCustomAdvanced
from torch import Tensor

from ..stdrc_core.guidance import REFERENCE_SCALE, TEXT_SCALE, GuidanceScales, Stream, guide
from ..stdrc_core.placed import (
    PlacedReference,
    in_order,
    layered_prediction,
    layers,
    with_common_scale,
)
from .checks import check_reference
from .host import PLACED_REFERENCES, REFERENCE_LATENTS, is_patched
from .references import placed_references

# The streams' names among the host's conditionings; some hooks look for the first two.
_CONDS = {Stream.TEXT: "positive", Stream.EMPTY: "negative", Stream.REFERENCE: "reference"}


class ThreeStreamGuider(comfy.samplers.CFGGuider):
    """Core's guider with Eq. 13 in place of classifier-free guidance.

    Outside [`start_percent`, `end_percent`] of sampling, text and reference are guided together
    (s_r = s_y), which saves the text stream.
    """

    def __init__(
        self,
        model: ModelPatcher,
        scales: GuidanceScales,
        start_percent: float = 0.0,
        end_percent: float = 1.0,
    ) -> None:
        super().__init__(model)
        self.scales = scales
        sampling = model.get_model_object("model_sampling")
        self.start_sigma = sampling.percent_to_sigma(start_percent)
        self.end_sigma = sampling.percent_to_sigma(end_percent)
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
        text = _without_reference(positive)
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
            _CONDS[Stream.EMPTY]: _without_reference(negative),
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
        scales = self._scales_at(timestep)
        conds = {stream: self.conds[name] for stream, name in _CONDS.items()}
        # Some hooks need both sides of the CFG; the host lets them ask for it.
        runs_empty = scales.runs_empty or model_options.get("disable_cfg1_optimization", False)
        # Outside of the window all references are guided together, too.
        in_parts = scales.runs_reference and scales is self.scales and bool(self._part_conds)
        part_conds = self._part_conds if in_parts else []
        running = [
            conds[Stream.REFERENCE] if scales.runs_reference else None,
            conds[Stream.TEXT] if scales.runs_text or in_parts else None,
            conds[Stream.EMPTY] if runs_empty else None,
            *(self.conds[name] for _, name in part_conds),
        ]
        reference, text, empty, *parts = comfy.samplers.calc_cond_batch(
            self.inner_model, running, x, timestep, model_options
        )
        if in_parts:
            factors = [*(scale for scale, _ in part_conds), self._last_scale]
            reference = layered_prediction(
                text, list(zip(factors, [*parts, reference], strict=True))
            )

        def cfg(cond: Tensor, uncond: Tensor, scale: float) -> Tensor:
            return comfy.samplers.cfg_function(
                self.inner_model,
                cond,
                uncond,
                scale,
                x,
                timestep,
                model_options=model_options,
                cond=conds[scales.text_side],
                uncond=conds[Stream.EMPTY] if runs_empty else None,
            )

        return guide(scales, empty=empty, text=text, reference=reference, cfg=cfg)

    def outer_sample(self, *args: Any, **kwargs: Any) -> Tensor:
        # The host drops these after a run that ends well; an error or an interrupt would keep the
        # loaded model alive for as long as this guider stays in the node cache.
        try:
            return super().outer_sample(*args, **kwargs)
        finally:
            for name in ("inner_model", "loaded_models"):
                self.__dict__.pop(name, None)

    def sample(self, *args: Any, **kwargs: Any) -> Tensor:
        try:
            return super().sample(*args, **kwargs)
        finally:
            self.__dict__.pop("conds", None)

    def _scales_at(self, timestep: Tensor) -> GuidanceScales:
        if self.end_sigma <= float(timestep[0]) <= self.start_sigma:
            return self.scales
        return self.scales.guided_together()


def make_guider(
    *,
    model: ModelPatcher,
    positive: list,
    negative: list,
    reference: dict[str, Tensor],
    text_scale: float,
    reference_scale: float,
    start_percent: float = 0.0,
    end_percent: float = 1.0,
) -> ThreeStreamGuider:
    """Checks the inputs of both nodes and builds the guider; raises ValueError for a bad one."""
    if not is_patched(model):
        raise ValueError(
            "model is not patched for a reference; needs Apply TASS-RoPE Patch between the model "
            "loader and this node."
        )
    for name, conditioning in (("positive", positive), ("negative", negative)):
        if not conditioning:
            raise ValueError(
                f"{name} is an empty conditioning; needs an encoded prompt: connect a text encoder "
                "(an empty text is fine)."
            )
    if not 0 <= start_percent <= end_percent <= 1:
        raise ValueError(
            f"start_percent was {start_percent} and end_percent {end_percent}; needs "
            "0 <= start_percent <= end_percent <= 1."
        )
    samples = reference["samples"]
    check_reference(samples, "reference", model.model.latent_format.latent_channels)
    reference_scale, placed = with_common_scale(reference_scale, placed_references(reference))
    scales = GuidanceScales(text=text_scale, reference=reference_scale)
    guider = ThreeStreamGuider(model, scales, start_percent, end_percent)
    guider.set_streams(positive, negative, samples, placed)
    return guider


def _without_reference(conditioning: list) -> list:
    """Neither v0 nor vy may see a reference, whatever nodes stand before this one."""
    ours = (REFERENCE_LATENTS, PLACED_REFERENCES)
    return [
        [cross_attn, {key: value for key, value in options.items() if key not in ours}]
        for cross_attn, options in conditioning
    ]


def _stream_inputs() -> list[io.Input]:
    return [
        io.Model.Input("model", tooltip="An LTX model from Apply TASS-RoPE Patch."),
        io.Conditioning.Input("positive", tooltip="The prompt."),
        io.Conditioning.Input(
            "negative", tooltip="What the guidance moves away from; the paper uses an empty prompt."
        ),
        io.Latent.Input(
            "reference",
            tooltip=(
                "From Encode Reference Latent, at this size: one photo, a batch, or a Reference "
                "List of several."
            ),
        ),
    ]


def _scale_inputs() -> list[io.Input]:
    return [
        io.Float.Input(
            "text_scale",
            default=TEXT_SCALE,
            min=0.0,
            max=100.0,
            step=0.1,
            round=0.01,
            tooltip="s_y: how strongly the prompt is followed. At 1 the empty stream does not run.",
        ),
        io.Float.Input(
            "reference_scale",
            default=REFERENCE_SCALE,
            min=0.0,
            max=100.0,
            step=0.1,
            round=0.01,
            tooltip=(
                "s_r: how strongly the face is kept. Equal to text_scale, one stream of the three "
                "does not run; at 0 the reference is not used (within start and end percent)."
            ),
        ),
    ]


def _window_inputs() -> list[io.Input]:
    return [
        io.Float.Input(
            name,
            optional=True,
            default=default,
            min=0.0,
            max=1.0,
            step=0.001,
            advanced=True,
            tooltip=(
                f"Text and reference are guided separately {word} this part of sampling; outside, "
                "together (reference_scale = text_scale), which saves a stream."
            ),
        )
        for name, default, word in (("start_percent", 0.0, "from"), ("end_percent", 1.0, "until"))
    ]


class STDRCThreeStreamGuider(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="STDRCThreeStreamGuider",
            display_name="Three-Stream Ref CFG Guider",
            category="ST-DRC",
            description=(
                "Guides text and reference separately: v0 + s_y (vy - v0) + s_r (vyr - vy). "
                "For SamplerCustomAdvanced."
            ),
            search_aliases=["st-drc", "reference", "identity", "cfg", "dual cfg"],
            inputs=[*_stream_inputs(), *_scale_inputs(), *_window_inputs()],
            outputs=[io.Guider.Output(display_name="guider")],
        )

    @classmethod
    def execute(cls, **inputs: Any) -> io.NodeOutput:
        return io.NodeOutput(make_guider(**inputs))


class STDRCThreeStreamSampler(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="STDRCThreeStreamSampler",
            display_name="Three-Stream Ref CFG Sampler",
            category="ST-DRC",
            description="The Three-Stream Ref CFG Guider and SamplerCustomAdvanced in one node.",
            search_aliases=["st-drc", "reference", "identity", "cfg", "ksampler"],
            inputs=[
                *_stream_inputs(),
                io.Int.Input(
                    "noise_seed",
                    default=0,
                    min=0,
                    max=0xFFFFFFFFFFFFFFFF,
                    control_after_generate=True,
                ),
                *_scale_inputs(),
                io.Sampler.Input("sampler"),
                io.Sigmas.Input("sigmas"),
                io.Latent.Input("latent_image", tooltip="The video latent to sample."),
                *_window_inputs(),
            ],
            outputs=[
                io.Latent.Output(display_name="output"),
                io.Latent.Output(display_name="denoised_output"),
            ],
        )

    @classmethod
    def execute(
        cls,
        noise_seed: int,
        sampler: io.Sampler.Type,
        sigmas: io.Sigmas.Type,
        latent_image: io.Latent.Type,
        **inputs: Any,
    ) -> io.NodeOutput:
        return SamplerCustomAdvanced.execute(
            Noise_RandomNoise(noise_seed), make_guider(**inputs), sampler, sigmas, latent_image
        )
