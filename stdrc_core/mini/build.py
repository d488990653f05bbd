"""`python -m stdrc_core.mini build`: makes the miniature's face pack, from nothing but a seed.

    OUT/faces/         the pack, trained on drawn portraits of persons whose `is_unseen` is false
    OUT/report.json    how good it is on persons that are unseen, and how long it took

The trained VAE and transformer are to follow.
"""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from ..files import written_aside
from .face_pack import train_detector, train_recognizer, write_face_pack
from .face_report import face_report
from .portraits import draw_portraits

log = logging.getLogger(__name__)

_NUM_PORTRAITS, _PORTRAITS_EACH, _NUM_EMPTY = 4000, 4, 3000
# Persons that the face pack is measured on, their pictures, and scenes without a person.
_MEASURED = {"num_persons": 300, "per_person": 3, "num_empty": 200}


def build(argv: Sequence[str]) -> Path:
    """Trains, measures and writes the pack; returns its folder. A pack that is there is replaced
    once the new one is whole."""
    args = _parser().parse_args(argv)
    started = time.perf_counter()
    portraits = draw_portraits(
        args.num_persons, _PORTRAITS_EACH, args.seed, unseen=False, num_empty=_NUM_EMPTY
    )
    detector = train_detector(portraits, num_steps=args.detector_steps, seed=args.seed)
    recognizer = train_recognizer(portraits, num_steps=args.recognizer_steps, seed=args.seed)
    partial, folder = args.out / ".faces.partial", args.out / "faces"
    shutil.rmtree(partial, ignore_errors=True)
    write_face_pack(partial, detector, recognizer)
    report = face_report(partial, draw_portraits(**_MEASURED, seed=args.seed + 1, unseen=True))
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)
    report["build_time_s"] = round(time.perf_counter() - started)
    with written_aside(args.out / "report.json") as path:
        path.write_text(json.dumps(report, indent=1) + "\n")
    log.info("%s: %s", folder, json.dumps(report))
    return folder


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m stdrc_core.mini build",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--out", type=Path, required=True, help="folder for what is made")
    add("--seed", type=int, default=0)
    add("--num-persons", type=int, default=_NUM_PORTRAITS)
    add("--recognizer-steps", type=int, default=900)
    add("--detector-steps", type=int, default=1500)
    return parser
