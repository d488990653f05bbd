"""A build's folder that holds the shipped weights, for tiny runs of the experiments."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from stdrc_core.experiments.__main__ import main
from stdrc_core.mini.shipped import CHECKPOINT, CHECKPOINT_NAME, FACES, ONE_PASS_NAME
from stdrc_core.mini_build.dataset import write_dataset

from .distilled_lora import FIXED, write_distilled

# As few of everything as can be measured.
FEW = {
    **dict.fromkeys(("num-persons", "num-swept", "num-pairs", "num-drifting"), 2),
    **dict.fromkeys(("num-seeds", "num-few-seeds", "num-trainings", "num-processes"), 1),
    **dict.fromkeys(("steps", "guided-steps", "training-steps"), 2),
    **{"drift-frames": 33, "num-copies": 2, "second-persons": 2, "second-steps": 1},
}


def write_build(folder: Path, *, num_clips: int = 0) -> Path:
    """The shipped weights as a build: its base is the same weights, its student a LoRA that has not
    moved from vyr, and of `num_clips` clips there is a manifest."""
    folder.mkdir(parents=True)
    shutil.copytree(FACES, folder / "faces")
    for name in (CHECKPOINT_NAME, "base.safetensors"):
        shutil.copy(CHECKPOINT, folder / name)
    write_distilled(folder / ONE_PASS_NAME, folder / CHECKPOINT_NAME, FIXED, moved=0.0)
    if num_clips:
        write_dataset(folder / "data", num_clips, seed=0)
    return folder


def measure(build: Path, out: Path, *parts: str, **changes: Any) -> dict[str, Any]:
    """Runs these parts with as few of everything as `FEW` says; returns their numbers by name."""
    settings = FEW | {name.replace("_", "-"): value for name, value in changes.items()}
    words = [f"--{name}={value}" for name, value in settings.items()]
    main(["--build", str(build), "--out", str(out), "--only", *parts, *words])
    return {name: json.loads((out / "numbers" / f"{name}.json").read_text()) for name in parts}
