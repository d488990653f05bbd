"""The face nodes with the miniature's pack, in the host."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import comfy.model_management
import comfy.utils
import folder_paths
import nodes
import psutil
import torch
from scenarios import world
from torch import Tensor

MINIATURE = "stdrc_mini"


def similarity(**inputs: Any) -> dict[str, Any]:
    """ArcFace Similarity's outputs by name, and what its progress bar was told."""
    told: list[tuple[int, int]] = []
    comfy.utils.set_progress_bar_global_hook(
        lambda value, total, *_, **__: told.append((value, total))
    )
    try:
        outputs = world.node("STDRCArcFaceSimilarity", **{"face_pack": MINIATURE} | inputs)
    finally:
        comfy.utils.set_progress_bar_global_hook(None)
    names = ("similarity", "plot", "annotated", "report")
    return dict(zip(names, outputs, strict=True)) | {"progress": told}
