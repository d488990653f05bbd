"""Guidance Curve: a guidance scale that changes while sampling (docs/method.md section 12)."""

from __future__ import annotations

from comfy_api.latest import io

from ..stdrc_core.method.guidance import TEXT_SCALE
from ..stdrc_core.method.guidance_curve import CurveShape, GuidanceCurve

# The type of the link to the guider; its value is a `GuidanceCurve`.
Curve = io.Custom("STDRC_GUIDANCE_CURVE")


class STDRCGuidanceCurve(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        sigma = {"min": 0.0, "max": 1.0, "step": 0.01, "advanced": True}
        value = {"min": 0.0, "max": 100.0, "step": 0.1, "round": 0.01}
        return io.Schema(
            node_id="STDRCGuidanceCurve",
            display_name="Guidance Curve",
            category="ST-DRC",
            description=(
                "A guidance scale that changes while sampling, as a function of the noise level "
                "sigma. For the text_curve or reference_curve of the three-stream nodes."
            ),
            search_aliases=["st-drc", "cfg schedule", "dynamic cfg", "guidance schedule"],
            inputs=[
                io.Float.Input(
                    "start", default=TEXT_SCALE, **value, tooltip="The scale at high noise."
                ),
                io.Float.Input(
                    "end",
                    default=1.0,
                    **value,
                    tooltip="The scale at low noise. Where text_scale is 1, v0 does not run.",
                ),
                io.Combo.Input(
                    "shape",
                    options=[str(shape) for shape in CurveShape],
                    default=str(CurveShape.LINEAR),
                    tooltip="early and late say when most of the change happens.",
                ),
                io.Float.Input(
                    "start_sigma",
                    default=1.0,
                    **sigma,
                    tooltip="Above this noise level the scale is start. Sampling begins at 1.",
                ),
                io.Float.Input(
                    "end_sigma",
                    default=0.0,
                    **sigma,
                    tooltip="Below this noise level the scale is end. Sampling ends at 0.",
                ),
            ],
            outputs=[Curve.Output(display_name="curve")],
        )

    @classmethod
    def execute(
        cls, start: float, end: float, shape: str, start_sigma: float, end_sigma: float
    ) -> io.NodeOutput:
        curve = GuidanceCurve(
            start=start,
            end=end,
            shape=CurveShape(shape),
            start_sigma=start_sigma,
            end_sigma=end_sigma,
        )
        return io.NodeOutput(curve)
