"""What guidance over time saves in time, and what it costs."""

from __future__ import annotations

import argparse
from typing import Any

from ..method.guidance_curve import GuidanceCurve
from ..method.guidance_options import PRESETS
from ..mini.shipped import CHECKPOINT_NAME
from .costs import EXACT, Setting, compare, plot_costs, sample_settings
from .models import REFERENCE_SCALE, TEXT_SCALE, open_pipeline
from .workplace import Part, Workplace

_PICTURE = "guidance.png"


def asked(args: argparse.Namespace) -> dict[str, Any]:
    """The settings that decide the part."""
    return {"persons": args.num_persons, "persons_seed": args.seed + 1, "steps": args.guided_steps}


def measure(place: Workplace) -> dict[str, Any]:
    """Each setting's time as a ratio to exact guidance, and what it loses, in pairs."""
    every = settings()
    makers = {EXACT: lambda: open_pipeline(place.build / CHECKPOINT_NAME)}
    results = compare(*sample_settings(place, makers, every, num_seeds=1))
    for name, result in results.items():
        result["family"] = every[name].family
    plot_costs(place.picture(_PICTURE), results, most_time=_FAST_TIME)
    return {"settings": results}


# The share of the transformer's time that `fast` is to take at the most.
_FAST_TIME = 0.6


def settings() -> dict[str, Setting]:
    """Name -> each setting, exact guidance first."""
    families: dict[str, dict[str, dict[str, Any]]] = {
        "exact": {EXACT: {}},
        "reference_every": {f"every {k}": {"reference_every": k} for k in (2, 3, 4, 8)},
        "guided_share": {f"share {s:g}": {"guided_share": s} for s in (0.35, 0.5, 0.65)},
        "window": {
            f"separate {start:g} to {end:g}": {"start_percent": start, "end_percent": end}
            for start, end in ((0, 0.5), (0.5, 1))
        },
        "curves": {
            "s_r rising, 2 to 6": {"reference_scale": GuidanceCurve(start=2, end=6)},
            "s_r falling, 6 to 2": {"reference_scale": GuidanceCurve(start=6, end=2)},
            "both falling to 1": {
                "text_scale": GuidanceCurve(start=2 * TEXT_SCALE - 1, end=1),
                "reference_scale": GuidanceCurve(start=2 * REFERENCE_SCALE - 1, end=1),
            },
        },
        "both": {
            f"every {k}, share {share:g}": {"reference_every": k, "guided_share": share}
            for share in (0.35, 0.5)
            for k in (2, 4)
        },
        "presets": {
            name: dict(preset)
            for name, preset in PRESETS.items()
            if name not in (EXACT, "one-pass")
        },
    }
    return {
        name: Setting(family=family, changes=changes)
        for family, own in families.items()
        for name, changes in own.items()
    }


PART = Part(name="guidance", asked=asked, measure=measure, pictures=(_PICTURE,))
