"""`--rehearse` of a clip, on the miniature: what is on the GPU, what waits on the host."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from helpers.distilled_lora import FIXED, write_distilled

from stdrc_core.generate.__main__ import main
from stdrc_core.ltx.backbone import load_backbone

SIZE = ("--frames", "17", "--height", "64", "--width", "64")


def mebibytes(said: str, name: str) -> float:
    number, unit = re.search(rf"{name} +([\d.]+) (MiB|GiB)", said).groups()
    return float(number) * (1024 if unit == "GiB" else 1)


def rehearse(caplog: pytest.LogCaptureFixture, *words: object) -> str:
    caplog.clear()
    caplog.set_level("INFO")
    main(["--rehearse", *SIZE, *map(str, words)])
    return caplog.text


def test_weights_are_on_the_gpu_or_wait_on_the_host(
    mini_checkpoint: Path, caplog: pytest.LogCaptureFixture
):
    backbone = load_backbone(mini_checkpoint, dtype=torch.bfloat16)
    whole = sum(each.nbytes for each in (*backbone.parameters(), *backbone.buffers())) / 2**20
    of_blocks = sum(p.nbytes for p in backbone.transformer.transformer_blocks.parameters()) / 2**20
    plain = rehearse(caplog, "--checkpoint", mini_checkpoint, "--vram", "25")
    assert mebibytes(plain, "weights") == pytest.approx(whole, abs=0.01)
    assert "fits a GPU of 25 GiB" in plain
    offloaded = rehearse(caplog, "--checkpoint", mini_checkpoint, "--offload", "--vram", "1")
    kept = mebibytes(offloaded, "host memory") - mebibytes(plain, "host memory")
    assert kept == pytest.approx(of_blocks, abs=0.02)
    assert "does not fit a GPU of 1 GiB" in offloaded
    assert "fewer --frames" in offloaded


def test_a_checkpoint_of_no_known_size_is_one_sentence(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as ended:
        main(["--rehearse", "--checkpoint", "mine.safetensors"])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert "mine.safetensors" in said
    assert "ltx-2.3" in said


def test_the_text_encoder_counts_where_it_is_on_the_gpu(
    mini_checkpoint: Path, caplog: pytest.LogCaptureFixture
):
    """It is of Gemma's size, 22 GiB, whatever the model's."""
    words = ("--checkpoint", mini_checkpoint, "--vram", "20")
    beside = rehearse(caplog, *words)
    assert "alone on the GPU before" in beside
    assert "does not fit a GPU of 20 GiB" in beside
    assert "Change this: --text-device cpu" in beside
    for elsewhere in (("--text-device", "cpu"), ("--offload",)):
        apart = rehearse(caplog, *words, *elsewhere)
        assert "alone on the host before" in apart
        assert "fits a GPU of 20 GiB" in apart


def test_a_distilled_lora_is_rehearsed_in_one_pass(
    mini_checkpoint: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    def step(*words: object) -> float:
        said = rehearse(caplog, "--checkpoint", "ltx-2.3", *words)
        return float(re.search(r"a step +([\d.]+) TFLOP", said).group(1))

    student = write_distilled(tmp_path / "student.safetensors", mini_checkpoint, FIXED)
    three, one = step(), step("--lora", student)
    assert one > 1
    assert three == pytest.approx(3 * one, rel=0.2)
    assert step("--lora", student, "--text-scale", "2", "--reference-scale", "3") == three
