"""What metrics are opened with: libraries and weights that are there, or one sentence that says
what is missing, where it comes from and where it goes. Nothing is downloaded."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from ..faces.pack import FaceTask, read_pack
from ..faces.provider import Provider
from .face_scans import FaceScans
from .metric import Metric
from .metric_registry import COLUMNS, Weights
from .options import Options

# What of a transformers folder decides its values, by what it may be called.
_FOLDER_WEIGHTS = ("model.safetensors", "pytorch_model.bin")


@dataclass(frozen=True)
class Resources:
    """Of one process."""

    options: Options
    device: torch.device

    def path(self, metric: str, weights: Weights) -> Path:
        """Where the weights are; ValueError when they are not."""
        return find_weights(self.options.weights, metric, weights)

    @cached_property
    def scans(self) -> FaceScans:
        """The faces of clips and photos, found once for all metrics that ask."""
        from ..faces.onnx_finder import open_onnx_pack

        crop: Callable[..., Tensor] | None = None
        if "facesim_cur" in self.options.metrics:
            from .facesim_cur import aligned_crop as crop
        provider = Provider.CPU if self.device.type == "cpu" else Provider.AUTO
        finder = open_onnx_pack(
            self.options.faces, provider=provider, device_index=self.device.index or 0
        )
        return FaceScans(finder, crop)


def open_metrics(resources: Resources, stack: ExitStack) -> dict[str, Metric]:
    """The metrics asked for, closed with `stack`. Raises ValueError for what is missing."""
    check_there(resources.options)
    opened: dict[str, Metric] = {}
    for name in resources.options.metrics:
        module = importlib.import_module(COLUMNS[name].module, __package__)
        opened[name] = module.open_metric(resources)
        stack.callback(opened[name].close)
    return opened


def check_there(options: Options) -> None:
    """Raises ValueError, before anything is loaded, for a library or weights that are missing."""
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


def find_weights(folder: Path, metric: str, weights: Weights) -> Path:
    """The path of a metric's weights; ValueError when they are not there."""
    path = folder / weights.name
    if not path.exists():
        raise ValueError(
            f"metric {metric} needs {path}, which is not there; nothing is downloaded: get "
            f"{weights.name} from {weights.source} and put it into {folder}, or leave the metric "
            "out."
        )
    return path


def load_state(path: Path) -> Any:
    """What a .pth or .bin file holds, tensors and plain containers only; ValueError otherwise."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, UnpicklingError, EOFError, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(
            f"weights {path} could not be read ({reason}); needs the published file of tensors: "
            "download it again."
        ) from error


def load_weights(module: torch.nn.Module, state: Any, path: Path) -> torch.nn.Module:
    """`module` with the weights of `state`, in evaluation mode; ValueError when they differ."""
    if not isinstance(state, dict):
        raise ValueError(f"weights {path} hold a {type(state).__name__}; needs named tensors.")
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"weights {path} are of another network ({reason[:200]}); needs the published file: "
            "download it again."
        ) from error
    return module.eval().requires_grad_(False)


def settings(options: Options, *, with_weights: bool) -> dict[str, dict[str, Any]]:
    """What decides each metric's values besides the clips: the weights' digests, and frames."""
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
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
