"""What a user may ask of the guidance, in one place: the numbers of Eq. 13 over a run, and presets.

The command line, the nodes and a shot all hold these options; `guided_run` does what they say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from types import MappingProxyType

from .guidance import REFERENCE_SCALE, TEXT_SCALE, GuidanceScales
from .guidance_curve import Scale, scale_at


@dataclass(frozen=True, kw_only=True)
class GuidanceOptions:
    """The guidance of a run. The defaults are the paper's: constant scales, all streams, all steps.

    Parts of sampling are shares in [0, 1], counted as ComfyUI's `percent_to_sigma` counts them.
    """

    text_scale: Scale = TEXT_SCALE
    """How strongly the prompt is followed: s_y of Eq. 13, a number or a curve over sigma."""
    reference_scale: Scale = REFERENCE_SCALE
    """How strongly the face is kept: s_r of Eq. 13, a number or a curve over sigma."""
    start_percent: float = 0.0
    """The part of sampling from which on text and reference are guided separately. Before it they
    are guided together (s_r = s_y), which saves the text stream."""
    end_percent: float = 1.0
    """The part of sampling until which text and reference are guided separately."""
    guidance_rescale: float = 0.0
    """The phi of `guidance.rescale`, in [0, 1]; 0 is off."""
    reference_every: int = 1
    """How many steps one computed vyr - vy serves, at least 1; 1 is exact."""
    guided_share: float = 1.0
    """The share of the steps, from the first, that are guided. After them the stream that sees the
    most runs alone; 1 is exact."""

    def __post_init__(self) -> None:
        """Raises ValueError for a scale that is not finite, a window that is none, a phi or a share
        outside [0, 1], or a `reference_every` below 1."""
        GuidanceScales(
            text=scale_at(self.text_scale, 1.0), reference=scale_at(self.reference_scale, 1.0)
        )
        if not 0 <= self.start_percent <= self.end_percent <= 1:
            raise ValueError(
                f"start_percent was {self.start_percent} and end_percent {self.end_percent}; needs "
                "0 <= start_percent <= end_percent <= 1."
            )
        if not 0 <= self.guidance_rescale <= 1:
            raise ValueError(
                f"guidance_rescale was {self.guidance_rescale}; needs a number from 0 (off) to 1."
            )
        if self.reference_every < 1:
            raise ValueError(
                f"reference_every was {self.reference_every}; needs 1 (every step) or more."
            )
        if not 0 <= self.guided_share <= 1:
            raise ValueError(
                f"guided_share was {self.guided_share}; needs a number from 0 (no step is guided) "
                "to 1 (all are)."
            )


OPTION_NAMES = tuple(field.name for field in fields(GuidanceOptions))
EXACT = GuidanceOptions()
# `python -m stdrc_core.experiments guidance` measures what each of these costs.
PRESETS: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {
        "exact": MappingProxyType({}),
        "fast": MappingProxyType({"reference_every": 3, "guided_share": 0.5}),
    }
)


def with_preset(name: str, chosen: Mapping[str, Scale]) -> dict[str, Scale]:
    """`chosen` options with those of the preset `name` in the place of what is exact or not chosen.

    So a number that the user has changed counts more than the preset's.
    """
    exact = asdict(EXACT)
    changed = {key: value for key, value in chosen.items() if value != exact[key]}
    return dict(chosen) | dict(PRESETS[name]) | changed
