"""The shipped weights beside their base and true clips, and README's picture of them.

Nothing is trained for it but the judges, so that it is the first thing that a build shows.
"""

from __future__ import annotations

import argparse
from typing import Any

from ..mini_build.build import BASE
from .ablation_section import PORTRAIT
from .models import REFERENCE_SCALE, TEXT_SCALE
from .rows import BASE_ROW, SHIPPED_ROW, opener
from .second_faces import settings_of
from .sheets import two_columns
from .workplace import SHIPPED, Part, Workplace
from .world import World, matrices, summaries

_README = "miniature.jpg"
# Persons and frames of the picture.
_NUM_SHOWN, _NUM_FRAMES = 8, 5


def asked(args: argparse.Namespace) -> dict[str, Any]:
    """The settings that decide the part."""
    own = {"persons": args.num_persons, "persons_seed": args.seed, "steps": args.steps}
    return own | {"seeds": args.num_trainings, "second": settings_of(args)}


def measure(place: Workplace) -> dict[str, Any]:
    """The scores of both weights and of true clips, and README's picture."""
    world = World(place)
    seeds = range(place.args.num_trainings)
    kept = {row.name: [world.row(row, seed) for seed in seeds] for row in (BASE_ROW, SHIPPED_ROW)}
    kept |= {name: [scores] for name, scores in world.drawn().items()}
    photos = [case.photo for case in world.cases[:_NUM_SHOWN]]
    clips = world.sample(opener(place, SHIPPED_ROW, 0)(), SHIPPED_ROW, PORTRAIT, 0, _NUM_SHOWN)
    two_columns(place.picture(_README), photos, clips, num_frames=_NUM_FRAMES)
    return {
        "rows": {name: summaries(matrices(scores)) for name, scores in kept.items()},
        "text_scale": TEXT_SCALE,
        "reference_scale": REFERENCE_SCALE,
    }


PART = Part(
    name="shipped", asked=asked, measure=measure, pictures=(_README,), files=(*SHIPPED, BASE)
)
