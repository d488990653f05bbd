"""Opens the metrics that are asked for, and tells what they are made with.

What is missing is told in one sentence, before anything is loaded. Nothing is downloaded.
"""

from __future__ import annotations

import importlib
import importlib.util
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from ..faces.pack import FaceTask, read_pack
from ..files import sha256_of
from .metric import Metric
from .metric_registry import COLUMNS
from .options import Options
from .resources import Resources
from .weights import find_weights

# The file that decides the values of a transformers folder, by what it may be called.
_FOLDER_WEIGHTS = ("model.safetensors", "pytorch_model.bin")


def open_metrics(options: Options, device: torch.device, stack: ExitStack) -> dict[str, Metric]:
    """The metrics that `options` name, on `device`; they are closed with `stack`.

    Raises ValueError for a library or weights that are missing or cannot be used.
    """
    check_requirements(options)
    resources = Resources(
        device=device,
        weights=options.weights,
        faces=options.faces,
        keeps_crops="facesim_cur" in options.metrics,
        num_frames=options.frames,
        batch_size=options.batch_size,
        gallery=options.gallery,
        vbench_python=options.vbench_python,
    )
    opened: dict[str, Metric] = {}
    for name in options.metrics:
        module = importlib.import_module(COLUMNS[name].module, __package__)
        opened[name] = module.open_metric(resources)
        stack.callback(opened[name].close)
    return opened


def check_requirements(options: Options) -> None:
    """Raises ValueError for a library or weights that are missing; it loads nothing."""
    for name in options.metrics:
        column = COLUMNS[name]
        for module, package in (column.libraries or {}).items():
            if importlib.util.find_spec(module) is None:
                raise ValueError(
                    f"metric {name} needs the library {package}, which is not installed: "
                    f"pip install {package}, or leave the metric out."
                )
        for weights in column.weights:
            find_weights(options.weights, name, weights)
        if column.uses_faces and options.faces is None:
            raise ValueError(
                f"metric {name} needs an InsightFace pack: give --faces, the folder of one such as "
                "buffalo_l (https://github.com/deepinsight/insightface/releases, for "
                "non-commercial research), or leave the metric out."
            )


def settings(options: Options, *, with_weights: bool) -> dict[str, dict[str, Any]]:
    """What decides each metric's values besides the clips: `weights`, the SHA-256 of each file, and
    `frames`, how many of a clip it looks at. The weights are left out unless `with_weights`."""
    found: dict[str, dict[str, Any]] = {}
    for name in options.metrics:
        own: dict[str, Any] = {"weights": _digests(options, name)} if with_weights else {}
        if COLUMNS[name].samples_frames:
            own["frames"] = options.frames
        found[name] = own
    return found


def _digests(options: Options, name: str) -> dict[str, str]:
    column = COLUMNS[name]
    paths = {
        weights.name: find_weights(options.weights, name, weights) for weights in column.weights
    }
    if column.uses_faces:
        pack = read_pack(options.faces)
        models = [pack.model(task) for task in (FaceTask.DETECTION, FaceTask.RECOGNITION)]
        paths |= {f"{pack.folder.name}/{path.name}": path for path in models}
    return {title: _digest(path) for title, path in paths.items()}


def _digest(path: Path) -> str:
    if path.is_dir():
        files = [path / name for name in _FOLDER_WEIGHTS if (path / name).is_file()]
        if not files:
            raise ValueError(
                f"weights {path} holds neither {' nor '.join(_FOLDER_WEIGHTS)}; needs the folder "
                "as it is published: download it again."
            )
        path = files[0]
    return sha256_of(path)
