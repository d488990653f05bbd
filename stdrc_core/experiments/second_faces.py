"""A second recogniser, which judges clips that were trained and chosen by the first one.

It has the first one's architecture and is trained in the same way, but from another seed and on
portraits of other persons. No loss has seen it. It comes with the build's own detector, so that
both judge the same faces.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Any

from ..files import sha256_of, written_aside
from ..mini_build.face_pack import (
    DETECTOR_FILE,
    RECOGNIZER_FILE,
    train_recognizer,
    write_recognizer,
)
from ..mini_build.portraits import draw_portraits
from .kept import own_folder

FOLDER = "second_faces"
# Of a build's seed, 0 by default, this is another one.
_SEED, _PORTRAITS_EACH = 20_001, 4


def second_faces(out: Path, faces: Path, settings: dict[str, int]) -> Path:
    """The face pack OUT/second_faces, trained first unless it is there and was asked for alike.

    `faces` is the build's own pack, and `settings` are those of `settings_of`.
    """
    detector = faces / DETECTOR_FILE
    asked: dict[str, Any] = {"detector": sha256_of(detector), "seed": _SEED} | settings
    folder = own_folder(out / FOLDER, asked)
    with written_aside(folder / DETECTOR_FILE) as partial:
        shutil.copyfile(detector, partial)
    if not (folder / RECOGNIZER_FILE).is_file():
        portraits = draw_portraits(settings["persons"], _PORTRAITS_EACH, _SEED, unseen=False)
        network = train_recognizer(portraits, num_steps=settings["steps"], seed=_SEED)
        # Another process may have trained it meanwhile, and opened it.
        if not (folder / RECOGNIZER_FILE).is_file():
            write_recognizer(folder, network)
    return folder


def settings_of(args: argparse.Namespace) -> dict[str, int]:
    """What the command line says of the second recogniser's training."""
    return {"persons": args.second_persons, "steps": args.second_steps}
