"""What the trainer exports, in ComfyUI's own loaders: the same velocity as in the trainer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from helpers import mini_run
from helpers.comfyui import Worker

from stdrc_core.train.assemble import assemble
from stdrc_core.train.export import export
from stdrc_core.train.loop import train

pytestmark = pytest.mark.host


@pytest.fixture(scope="module")
def cache(mini_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mini_run.write_cache(tmp_path_factory.mktemp("cache"), mini_checkpoint)


def trained(out: Path, checkpoint: Path, cache: Path, method: str) -> tuple[Path, Any]:
    """The exported file of a short run, and its backbone."""
    config = mini_run.config(
        out,
        checkpoint,
        cache,
        trainable={"method": method, "rank": 4, "alpha": 8},
        optimizer={"lr": 3e-2 if method == "lora" else 1e-3},
    )
    parts = assemble(config, torch.device("cpu"))
    result = train(config, parts, Accelerator(cpu=True))
    return export(config, result.weights, out / f"{method}.safetensors"), parts.model.backbone


def compare(got: dict[str, torch.Tensor], backbone: Any) -> float:
    video_context, _ = backbone.split_context(got["context"])
    with torch.no_grad():
        ours = backbone(
            got["video"], got["sigma"], video_context, frame_rate=24.0, reference=got["reference"]
        )
    return float((ours - got["velocity"]).norm() / got["velocity"].norm())


def test_a_lora_computes_in_comfyui_what_it_computes_in_the_trainer(
    host: Worker, mini_checkpoint: Path, cache: Path, tmp_path: Path
) -> None:
    path, backbone = trained(tmp_path, mini_checkpoint, cache, "lora")
    for name, parameter in backbone.named_parameters():
        if ".lora_" in name:
            parameter.data = parameter.data.bfloat16().float()
    with_lora = host("trained.with_lora", path=str(path), strength=1.0)
    without = host("trained.with_lora", path=str(path), strength=0.0)
    assert compare(with_lora, backbone) < 1e-4
    difference = (with_lora["velocity"] - without["velocity"]).norm() / without["velocity"].norm()
    assert difference > 1e-2


def test_full_weights_compute_in_comfyui_what_they_compute_in_the_trainer(
    host: Worker, mini_checkpoint: Path, cache: Path, tmp_path: Path
) -> None:
    path, backbone = trained(tmp_path, mini_checkpoint, cache, "full")
    for parameter in backbone.parameters():
        parameter.data = parameter.data.bfloat16().float()
    assert compare(host("trained.full", path=str(path)), backbone) < 1e-4
