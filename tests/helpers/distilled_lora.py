"""LoRAs as the trainer exports them for distilled students, with weights that were moved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from helpers import mini_run
from stdrc_core.train.assemble import load_trainable_backbone
from stdrc_core.train.export import export

FIXED = {"text_scale": 2.0, "reference_scale": 4.0}
RANGE = {"text_scale": [1.0, 6.0], "reference_scale": [1.0, 8.0]}


def write_distilled(
    path: Path,
    base: Path,
    distil: dict[str, Any] | None,
    moved: float = 0.1,
    loras: tuple[Path, ...] = (),
) -> Path:
    """Writes a student of `base` with `loras` merged, so far from it that it matters which scales
    it is told; without `distil` it is a LoRA like any other."""
    config = mini_run.config(
        path.parent,
        base,
        path.parent / "no cache",
        model={"loras": loras},
        objective={"lambda_id": 0, "lambda_tic": 0, "distil": distil},
        validation={"text_scale": 3.0, "reference_scale": 5.0},
    )
    backbone = load_trainable_backbone(config, torch.device("cpu"))
    generator = torch.Generator().manual_seed(9)
    weights = {
        f"backbone.{name}": p.detach() + moved * torch.randn(p.shape, generator=generator)
        for name, p in backbone.named_parameters()
        if p.requires_grad
    }
    return export(config, weights, path)
