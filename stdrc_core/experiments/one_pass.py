"""The distilled student in one pass a step, against exact guidance and cheaper ways to it."""

from __future__ import annotations

import argparse
from typing import Any

from ..method.guidance_options import PRESETS
from ..mini.shipped import CHECKPOINT_NAME, ONE_PASS_NAME
from .costs import COMPARED, EXACT, Setting, compare, plot_costs, sample_settings
from .judgement import MOST_TIME, student_bars
from .models import open_pipeline, open_student
from .tables import mean_and_error, over_persons
from .workplace import SHIPPED, Part, Workplace

STUDENT, VYR = "one pass (distilled)", "vyr alone"
_PICTURE = "one_pass.png"


def asked(args: argparse.Namespace) -> dict[str, Any]:
    """The settings that decide the part."""
    own = {"persons": args.num_persons, "persons_seed": args.seed + 1, "steps": args.guided_steps}
    return own | {"seeds": args.num_seeds}


def measure(place: Workplace) -> dict[str, Any]:
    """Each setting's time and losses against exact guidance, what the student gains over vyr alone,
    and which of its bars it reaches."""
    base, student = place.build / CHECKPOINT_NAME, place.build / ONE_PASS_NAME
    makers = {EXACT: lambda: open_pipeline(base), STUDENT: lambda: open_student(base, student)}
    every = settings()
    scores, times = sample_settings(place, makers, every, place.args.num_seeds)
    results = compare(scores, times)
    for name, result in results.items():
        result["family"] = every[name].family
    gained = {
        column: mean_and_error(over_persons(scores[STUDENT][column] - scores[VYR][column]))
        for column in COMPARED
    }
    lost = {column: results[STUDENT][f"{column}_lost"] for column in COMPARED}
    plot_costs(place.picture(_PICTURE), results, most_time=MOST_TIME)
    bars = student_bars(lost, gained, results[STUDENT]["time"])
    return {"settings": results, "gained": gained, "bars": bars}


def settings() -> dict[str, Setting]:
    """Name -> each setting, exact guidance first."""
    alone = dict(PRESETS["one-pass"])
    return {
        EXACT: Setting(family="exact", changes={}),
        STUDENT: Setting(family="one pass", changes=alone, weights=STUDENT),
        VYR: Setting(family="vyr alone", changes=alone),
        "fast": Setting(family="fast", changes=dict(PRESETS["fast"])),
        **{
            f"every {k}": Setting(family="reference_every", changes={"reference_every": k})
            for k in (2, 3, 4, 8)
        },
    }


PART = Part(
    name="one-pass",
    asked=asked,
    measure=measure,
    pictures=(_PICTURE,),
    files=(*SHIPPED, ONE_PASS_NAME),
)
