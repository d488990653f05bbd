"""`model.loras`: a run on a base with LoRAs merged, as the teacher of a distillation above all."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import mini_run
from helpers.distilled_lora import RANGE, write_distilled
from helpers.tiny_lora import write_tiny_lora
from helpers.tiny_ltx import LTX_2_3, random_inputs, write_tiny
from helpers.told_weights import trained_for
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from torch import Tensor

from stdrc_core.ltx.backbone import VideoBackbone, load_backbone
from stdrc_core.ltx.checkpoint import transformer_key
from stdrc_core.ltx.distilled import Distilled
from stdrc_core.ltx.int8 import Int8
from stdrc_core.ltx.lora import merge_lora
from stdrc_core.ltx.lora_file import read_metadata
from stdrc_core.ltx.trained_for import from_metadata
from stdrc_core.train import export as export_module
from stdrc_core.train.assemble import load_trainable_backbone
from stdrc_core.train.config import ModelSection, TrainConfig
from stdrc_core.train.config_errors import sentence
from stdrc_core.train.distillation import base_under_adapter
from stdrc_core.train.export import export
from stdrc_core.train.loop import GroupedVelocity
from stdrc_core.train.quantization import load_base
from stdrc_core.train.resume import require_same_run
from stdrc_core.train.trainable import trained_parameters

CPU = torch.device("cpu")
SCALES = {"text_scale": 3.0, "reference_scale": 4.5}


def write_lora(path: Path, base: Path, seed: int) -> Path:
    """Random LoRAs on the first block's attention, a DoRA among them, and changes of its biases."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, weight in load_backbone(base, dtype=torch.float32).transformer.named_parameters():
        if not name.startswith("transformer_blocks.0.attn1.to_"):
            continue
        layer = transformer_key(name).removeprefix("model.").rpartition(".")[0]
        if weight.ndim == 1:
            tensors[f"{layer}.diff_b"] = 0.1 * torch.randn(weight.shape, generator=generator)
            continue
        rows, columns = weight.shape
        tensors[f"{layer}.lora_A.weight"] = 0.1 * torch.randn(2, columns, generator=generator)
        tensors[f"{layer}.lora_B.weight"] = 0.1 * torch.randn(rows, 2, generator=generator)
        if ".to_k" in name:
            tensors[f"{layer}.dora_scale"] = 1 + torch.rand(1, columns, generator=generator)
    save_file(tensors, path)
    return path


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("base") / "base.safetensors", LTX_2_3)


@pytest.fixture(scope="module")
def loras(base: Path) -> tuple[Path, Path]:
    first, second = (base.with_name(f"{name}.safetensors") for name in ("face", "steps"))
    return write_lora(first, base, 0), write_lora(second, base, 1)


def merged(base: Path, loras: tuple[Path, ...]) -> VideoBackbone:
    backbone = load_backbone(base, dtype=torch.float32)
    for lora in loras:
        merge_lora(backbone, lora)
    return backbone


def section(base: Path, loras: tuple[Path, ...], quantization: str = "none") -> ModelSection:
    return ModelSection(checkpoint=base, loras=loras, dtype="float32", quantization=quantization)


@pytest.mark.parametrize("order", [(), (0,), (0, 1), (1, 0)])
def test_the_base_is_the_file_with_one_lora_after_the_other(
    base: Path, loras: tuple[Path, Path], order: tuple[int, ...]
):
    asked = tuple(loras[i] for i in order)
    ours, theirs = load_base(section(base, asked), CPU), merged(base, asked)
    states = (dict(each.named_parameters()) for each in (ours, theirs))
    for (name, own), other in zip(next(states).items(), next(states).values(), strict=True):
        assert torch.equal(own, other), name
    plain = load_backbone(base, dtype=torch.float32)
    assert bool(asked) is not all(map(torch.equal, ours.parameters(), plain.parameters()))


def test_weights_are_quantised_with_the_loras_in_them(base: Path, loras: tuple[Path, Path]):
    ours, theirs = load_base(section(base, loras, "int8"), CPU), merged(base, loras)
    int8, num_quantized = Int8("model.quantization"), 0
    for (name, own), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        if type(own.data) is not Tensor and hasattr(own, "dequantize"):
            num_quantized += 1
            own, other = own.dequantize(), int8(other.detach()).dequantize()
        assert torch.equal(own, other), name
    assert num_quantized == 20


def config_of(base: Path, out: Path, **sections: dict[str, Any]) -> TrainConfig:
    objective = {"lambda_id": 0, "lambda_tic": 0} | sections.pop("objective", {})
    return mini_run.config(out / "run", base, out / "cache", objective=objective, **sections)


def test_the_teacher_is_the_base_with_the_lora_and_so_the_student_begins(
    base: Path, loras: tuple[Path, Path], tmp_path: Path
):
    config = config_of(base, tmp_path, model={"loras": loras[:1]}, objective={"distil": SCALES})
    model = GroupedVelocity(load_trainable_backbone(config, CPU), config, 24.0)
    group = (*random_inputs(model.backbone.context_dim), 0)
    (expected,) = GroupedVelocity(merged(base, loras[:1]), config, 24.0)([group])
    assert torch.equal(model([group])[0], expected)
    with torch.no_grad():
        for _, parameter in trained_parameters(model):
            parameter.add_(0.05)
    assert not torch.equal(model([group])[0], expected)
    assert torch.equal(base_under_adapter(model, [group])[0], expected)


def test_the_exported_lora_names_what_lies_under_it(
    base: Path, loras: tuple[Path, Path], tmp_path: Path
):
    facts = []
    for asked in ((), loras):
        config = config_of(base, tmp_path, model={"loras": asked}, objective={"distil": SCALES})
        backbone = load_trainable_backbone(config, CPU)
        weights = {f"backbone.{name}": p for name, p in trained_parameters(backbone)}
        path = export(config, weights, tmp_path / f"{len(asked)}.safetensors")
        facts.append(from_metadata(read_metadata(path)))
    assert [each.base_loras for each in facts] == [
        None,
        ("face.safetensors", "steps.safetensors"),
    ]
    assert {each.base_model for each in facts} == {"base.safetensors"}


def test_a_run_on_a_cache_goes_on_with_moved_files_and_with_no_others(
    mini_checkpoint: Path, mini_cache: Path, tmp_path: Path
):
    lora = write_tiny_lora(tmp_path / "face.safetensors", 0.3)

    def asked(num_steps: int, *names: Path) -> TrainConfig:
        return mini_run.config(
            tmp_path / "run",
            mini_checkpoint,
            mini_cache,
            model={"loras": names},
            run={"num_steps": num_steps, "checkpoint_every": 1, "trackers": []},
            objective={"lambda_id": 0, "lambda_tic": 0, "distil": SCALES},
        )

    config = asked(1, lora)
    config.run.out.mkdir()
    (config.run.out / "config.yaml").write_text(config.to_yaml())
    mini_run.train(config)
    moved = tmp_path / "elsewhere" / lora.name
    moved.parent.mkdir()
    lora.rename(moved)
    require_same_run(asked(2, moved))
    _, result = mini_run.train(asked(2, moved))
    assert result.weights
    with pytest.raises(ValueError, match=r"differs in model.loras \(was \[.*face.*is \[\]\)"):
        require_same_run(asked(2))


@pytest.mark.parametrize("scales", [SCALES, RANGE])
def test_weights_that_are_distilled_are_no_teacher(
    mini_checkpoint: Path, mini_cache: Path, tmp_path: Path, scales: dict[str, Any]
):
    student = write_distilled(tmp_path / "student.safetensors", mini_checkpoint, scales)
    asked = {"model": {"loras": [student]}, "objective": {"lambda_id": 0, "lambda_tic": 0}}
    config = mini_run.config(tmp_path / "run", mini_checkpoint, mini_cache, **asked)
    if isinstance(scales["text_scale"], list):
        with pytest.raises(ValueError, match="its scales are an input, which is lost"):
            mini_run.train(config)
    asked["objective"]["distil"] = SCALES
    config = mini_run.config(tmp_path / "run", mini_checkpoint, mini_cache, **asked)
    with pytest.raises(ValueError, match=r"is distilled for text_scale .* guide it twice"):
        mini_run.train(config)


@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_range_of_one_number_is_a_number(base: Path, tmp_path: Path, method: str):
    """Its weights are told no scales, and their file has another name than their teacher's."""
    distil = {"text_scale": [3, 3], "reference_scale": [4.5, 4.5]}
    objective, trainable = {"distil": distil}, {"method": method}
    config = config_of(base, tmp_path, objective=objective, trainable=trainable)
    assert export_module.trained_for(config).distilled == Distilled(**SCALES)
    assert export_module.weights_name(config) == f"stdrc_{method}_one_pass"
    plain = config_of(base, tmp_path, trainable=trainable)
    assert export_module.weights_name(plain) == f"stdrc_{method}"


def test_full_weights_with_loras_are_refused(base: Path, loras: tuple[Path, Path], tmp_path: Path):
    with pytest.raises(ValidationError) as caught:
        config_of(base, tmp_path, model={"loras": loras}, trainable={"method": "full"})
    told = sentence(caught.value, TrainConfig)
    assert told.startswith("model.loras was face.safetensors, steps.safetensors with trainable.m")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "could not be read"),
        ({"unet.down.weight": torch.zeros(2)}, "needs layers of LTX-2's video branch"),
    ],
)
def test_a_lora_that_cannot_be_merged_is_told_before_the_base_is_read(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: dict | None, words: str
):
    path = tmp_path / "other.safetensors"
    if content is not None:
        save_file(content, path)
    monkeypatch.setattr(
        "stdrc_core.train.quantization.load_backbone", lambda *_, **__: pytest.fail("was read")
    )
    with pytest.raises(ValueError, match=rf"^LoRA .*other.safetensors .*{words}"):
        load_base(section(base, (path,)), CPU)


def warned_of(caplog: pytest.LogCaptureFixture, config: TrainConfig, expected: int) -> list[str]:
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        mini_run.train(config)
    said = [m for m in caplog.messages if m.startswith(("the base", "model.checkpoint"))]
    assert len(said) == expected, said
    return said


def test_a_base_that_teaches_no_reference_is_warned_of(
    mini_checkpoint: Path, mini_cache: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    """The random miniature says nothing of its training; a LoRA of ours does, of tokens elsewhere
    or of another version of LTX too."""

    def asked(name: str, objective: dict[str, Any], *loras: Path) -> TrainConfig:
        return mini_run.config(
            tmp_path / name,
            mini_checkpoint,
            mini_cache,
            model={"loras": loras},
            run={"num_steps": 1, "trackers": []},
            objective={"lambda_id": 0, "lambda_tic": 0} | objective,
        )

    def lora(**facts: Any) -> Path:
        path = write_tiny_lora(tmp_path / "known" / "face.safetensors", 0.1)
        save_file(load_file(path), path, metadata=trained_for(**facts).lora_metadata())
        return path

    distil = {"distil": SCALES}
    warned_of(caplog, asked("plain", {}), 0)
    (said,) = warned_of(caplog, asked("distilled", distil), 1)
    assert "does not say that it was trained for ST-DRC" in said
    warned_of(caplog, asked("known", distil, lora()), 0)
    (said,) = warned_of(caplog, asked("elsewhere", distil, lora(placement="overlap")), 1)
    assert "the weights were trained for overlap" in said
    (said,) = warned_of(caplog, asked("version", {}, lora(base_version="2.5")), 1)
    assert "is for LTX-2.5" in said
