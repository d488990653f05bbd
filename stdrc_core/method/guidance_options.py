"""What a user may set of the guidance of a run, in one place, and presets of it.

The command line, the nodes and a shot all hold these options; `guided_run` carries them out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from types import MappingProxyType

from .guidance import REFERENCE_SCALE, TEXT_SCALE, GuidanceScales
from .guidance_curve import Scale, scale_at


@dataclass(frozen=True, kw_only=True)
class GuidanceOptions:
    """The guidance of a run. The defaults are the paper's: constant scales, the same in all steps.

    `start_percent` and `end_percent` count sampling from 0 to 1, as ComfyUI's `percent_to_sigma`
    does.
    """

    text_scale: Scale = TEXT_SCALE
    """How strongly the prompt is followed: s_y of Eq. 13, a number or a curve over sigma."""
    reference_scale: Scale = REFERENCE_SCALE
    """How strongly the face is kept: s_r of Eq. 13, a number or a curve over sigma."""
    start_percent: float = 0.0
    """The point of sampling at which text and reference begin to be guided separately. Before it
    they are guided together (s_r = s_y), which saves the text stream."""
    end_percent: float = 1.0
    """The point of sampling after which text and reference are guided together again."""
    guidance_rescale: float = 0.0
    """The phi of `guidance.rescale`, in [0, 1]; 0 turns the rescale off."""
    reference_every: int = 1
    """For how many steps one computed vyr - vy is used; 1 computes it in every step."""
    guided_share: float = 1.0
    """The share of the steps, from the first, that are guided. In the steps after them the stream
    that sees the most runs alone."""
    audio_scale: Scale | None = None
    """How strongly audio that is sampled with the video follows the prompt: s_a, a number or a
    curve over sigma. None follows `text_scale`; a run without audio has None."""

    def __post_init__(self) -> None:
        """Raises ValueError for a scale that is not finite, for percents that are out of order or
        outside [0, 1], for a rescale or share outside [0, 1], and for a `reference_every` below 1.
        """
        GuidanceScales(
            text=scale_at(self.text_scale, 1.0),
            reference=scale_at(self.reference_scale, 1.0),
            audio=None if self.audio_scale is None else scale_at(self.audio_scale, 1.0),
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


# The options of a video without audio, which is all that `stdrc_core.generate` makes.
OPTION_NAMES = tuple(field.name for field in fields(GuidanceOptions) if field.name != "audio_scale")
EXACT = GuidanceOptions()
# The parts guidance and one-pass of `python -m stdrc_core.experiments` measure what these cost.
PRESETS: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {
        "exact": MappingProxyType({}),
        "fast": MappingProxyType({"reference_every": 3, "guided_share": 0.5}),
        # For distilled weights, which have the guidance inside: vyr runs alone.
        "one-pass": MappingProxyType({"text_scale": 1.0, "reference_scale": 1.0}),
    }
)


def with_preset(name: str, chosen: Mapping[str, Scale | None]) -> dict[str, Scale | None]:
    """Returns the `chosen` options with those of the preset `name` filled in.

    The preset replaces options that were not chosen or that have their default. An option that the
    user has changed counts more than the preset.
    """
    exact = asdict(EXACT)
    changed = {key: value for key, value in chosen.items() if value != exact[key]}
    return dict(chosen) | dict(PRESETS[name]) | changed
