"""What ST-DRC's weights say of themselves, for tests that look at one or two of the facts."""

from __future__ import annotations

from typing import Any

from stdrc_core.ltx.trained_for import TrainedFor
from stdrc_core.method.layout import Placement
from stdrc_core.method.reference import ReferenceTimestep


def trained_for(**facts: Any) -> TrainedFor:
    """Weights as of the paper, but for `facts`."""
    told: dict[str, Any] = {
        "placement": Placement.TASS,
        "reference_timestep": ReferenceTimestep.CLEAN,
        "text_scale": 5.0,
        "reference_scale": 7.5,
        "base_model": "base.safetensors",
        "config_sha256": "0" * 64,
    }
    return TrainedFor(**told | facts)
