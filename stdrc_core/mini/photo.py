"""`python -m stdrc_core.mini draw`: the photo of a person whom the miniature has never seen."""

from __future__ import annotations

import argparse
import logging
import random

import numpy as np
from PIL import Image

from ..files import written_aside
from .character import draw_numbers, identity
from .drawing import draw_photo
from .scene import draw_scene

log = logging.getLogger(__name__)


def unseen_photo(seed: int) -> np.ndarray:
    """The photo `[h, w, 3]` uint8 of a person who takes part in no training, in a random scene; the
    same seed gives the same photo."""
    rng = random.Random(seed)
    (number,) = draw_numbers(1, rng, unseen=True)
    return draw_photo(identity(number), draw_scene(rng))


def main(args: argparse.Namespace) -> None:
    """Draws the photo and writes it to `--out`."""
    with written_aside(args.out) as partial:
        Image.fromarray(unseen_photo(args.seed)).save(partial, format="png")
    log.info("%s", args.out)
