"""Tells which ONNX file of an InsightFace pack does what: detection, recognition, gender and age.

InsightFace tells the models of a folder apart by their shapes, and takes the first of each kind by
name. A detector has five outputs or more. A recogniser has a square input of 112 pixels or more,
but not one of 192 pixels, which is a model of landmarks, nor one of 128 pixels beside a second
input, which is a face swap. The model of gender and age has an input of 96 pixels and three numbers
as output.

InsightFace would download a folder that is missing; here nothing is downloaded.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from ..folders import listed
from ..text_files import read_json
from .onnx_file import input_shapes, read_onnx

_MIN_DETECTOR_OUTPUTS = 5
_LANDMARK_SIZE_PX = 192
_SWAP_SIZE_PX = 128
_MIN_RECOGNIZER_SIZE_PX = 112
_RECOGNIZER_STEP_PX = 16
_ATTRIBUTES_SIZE_PX = 96
# The model gives two scores of gender and one number for the age.
_NUM_GENDERAGE = 3
# How deep archives and InsightFace's own folders put a pack.
_MAX_DEPTH = 3
_REMEDY = "unpack an InsightFace pack such as buffalo_l there"


class FaceTask(StrEnum):
    """What a model of a pack does, as InsightFace names it."""

    DETECTION = "detection"
    RECOGNITION = "recognition"
    GENDERAGE = "genderage"


@dataclass(frozen=True, kw_only=True)
class FacePack:
    """A folder with the models of a face pack."""

    folder: Path
    """The pack's folder."""
    files: tuple[Path, ...]
    """All ONNX files of the folder, in the order of their names."""
    models: Mapping[FaceTask, Path]
    """The file for each task that the pack has a model for."""

    def model(self, task: FaceTask) -> Path:
        """Returns the file that does the task. Raises ValueError where the pack has none."""
        if task not in self.models:
            names = ", ".join(file.name for file in self.files)
            raise ValueError(
                f"face pack {self.folder} has no {task} model among {names}; needs one: {_REMEDY}."
            )
        return self.models[task]


def read_pack(folder: str | Path) -> FacePack:
    """Reads which model of a folder does what, without downloading or running anything.

    The pack may lie up to three folders below `folder`, as archives unpack it. Raises ValueError
    where the folder is missing, or has no ONNX files or several packs, where a file is damaged or
    no model of images, and where the pack has a manifest of InsightFace's version 2, which then
    counts instead of the shapes.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"face pack {folder} is no folder; nothing is downloaded: {_REMEDY}.")
    folder = _unpacked(folder)
    files = onnx_files(folder)
    if _has_manifest(folder / "manifest.json"):
        raise ValueError(
            f"face pack {folder} goes by a manifest of version 2; needs a pack whose models are "
            f"told apart by shape: {_REMEDY}."
        )
    models: dict[FaceTask, Path] = {}
    for file in files:
        task = _task(file)
        if task is not None:
            models.setdefault(task, file)
    return FacePack(folder=folder, files=files, models=models)


def find_packs(parent: Path) -> dict[str, Path]:
    """Returns the folders in `parent` that have ONNX files, or one folder below that has."""
    folders = [path for path in listed(parent) if path.is_dir()]
    return {path.name: path for path in folders if onnx_files(path) or len(_inner(path)) == 1}


def onnx_files(folder: Path) -> tuple[Path, ...]:
    """Returns the ONNX files in a folder, in the order of their names; none for no folder."""
    return tuple(listed(folder, (".onnx",)))


def pack_name(folder: Path) -> str:
    """Returns what the pack in `folder` is called: the folder's name, for `.` too."""
    return Path(os.path.abspath(folder)).name


def _unpacked(folder: Path) -> Path:
    """The folder with the ONNX files: `folder`, or else the only one below it that has some."""
    if onnx_files(folder):
        return folder
    inner = _inner(folder)
    if len(inner) > 1:
        raise ValueError(
            f"face pack {folder} holds {', '.join(path.name for path in inner)}; needs one pack: "
            f"name its own folder, such as {inner[0]}."
        )
    if not inner:
        raise ValueError(f"face pack {folder} holds no .onnx file; needs two or more: {_REMEDY}.")
    return inner[0]


def _inner(folder: Path) -> list[Path]:
    """The folders below `folder` with ONNX files that are the least deep."""
    level = [folder]
    for _ in range(_MAX_DEPTH):
        level = [path for each in level for path in listed(each) if path.is_dir()]
        found = [path for path in level if onnx_files(path)]
        if found:
            return found
    return []


def _task(file: Path) -> FaceTask | None:
    graph = read_onnx(file, with_weights=False).graph
    inputs = list(input_shapes(graph).values())
    if not inputs or len(inputs[0]) != 4:
        raise ValueError(
            f"{file} takes inputs of shapes {inputs}; a face pack needs models of images "
            "[B, 3, height, width]: move the file elsewhere."
        )
    height, width = inputs[0][2:]
    if len(graph.output) >= _MIN_DETECTOR_OUTPUTS:
        return FaceTask.DETECTION
    if (height, width) == (_ATTRIBUTES_SIZE_PX, _ATTRIBUTES_SIZE_PX):
        sides = graph.output[0].type.tensor_type.shape.dim
        is_genderage = len(sides) == 2 and sides[1].dim_value == _NUM_GENDERAGE
        return FaceTask.GENDERAGE if is_genderage else None
    if height is None or height != width or height < _MIN_RECOGNIZER_SIZE_PX:
        return None
    is_swap = len(inputs) == 2 and height == _SWAP_SIZE_PX
    if height == _LANDMARK_SIZE_PX or is_swap or height % _RECOGNIZER_STEP_PX:
        return None
    return FaceTask.RECOGNITION


def _has_manifest(path: Path) -> bool:
    # For InsightFace too, a manifest that cannot be read or is of another version counts as none.
    try:
        manifest = read_json(path)
    except (OSError, ValueError):
        return False
    return isinstance(manifest, dict) and manifest.get("manifest_version") == 2
