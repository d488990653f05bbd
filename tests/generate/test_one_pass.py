"""`generate --preset one-pass` without a checkpoint: the shipped miniature takes its own LoRA."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.clips import decode
from helpers.distilled_lora import FIXED, write_distilled
from helpers.generate_command import HEIGHT, NUM_FRAMES, WIDTH

from stdrc_core.generate import models
from stdrc_core.generate.__main__ import main, make_parser
from stdrc_core.generate.shot import Shot
from stdrc_core.ltx.distilled import Distilled
from stdrc_core.mini.shipped import CHECKPOINT, ONE_PASS_LORA
from stdrc_core.mini.text import MINIATURE, MiniatureText

PRESET = ("--preset", "one-pass")
NAMED = ("--checkpoint", str(CHECKPOINT), "--text-encoder", MINIATURE)
NUM_STEPS = 2


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A student of the shipped weights, far enough from them to be told by its clips."""
    return write_distilled(tmp_path_factory.mktemp("loras") / ONE_PASS_LORA.name, CHECKPOINT, FIXED)


@pytest.fixture
def shipped(student: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The student in the place of the LoRA that ships."""
    monkeypatch.setattr(models, "ONE_PASS_LORA", student)
    return student


def asked(*words: str | Path) -> Namespace:
    args = make_parser().parse_args([str(word) for word in words])
    models.name_models(args)
    return args


def test_the_clip_is_that_of_the_lora_named_by_hand(shipped: Path, photo: Path, tmp_path: Path):
    """Bit for bit, and the LoRA by itself begins with one pass; without it the clip is another."""
    given = ["--reference", photo, "--prompt", "a person", "--out", tmp_path, "--steps", NUM_STEPS]
    given += ["--frames", NUM_FRAMES, "--height", HEIGHT, "--width", WIDTH]
    ways = {
        "preset": PRESET,
        "by_hand": ("--lora", shipped),
        "without": (*PRESET, *NAMED),
    }
    clips, weights = {}, {}
    for name, words in ways.items():
        main([str(word) for word in (*given, "--name", name, *words)])
        clips[name] = decode(tmp_path / f"{name}.mp4")
        told = json.loads((tmp_path / f"{name}.json").read_text())["asked"]
        weights[name] = told["weights"]
        assert (told["text_scale"], told["reference_scale"]) == (1.0, 1.0)
    assert np.array_equal(clips["preset"], clips["by_hand"])
    assert (clips["preset"] != clips["without"]).mean() > 0.1
    assert weights["preset"] == f"{CHECKPOINT.name} + {ONE_PASS_LORA.name}"
    assert weights["without"] == CHECKPOINT.name


def test_a_step_is_one_forward_of_the_transformer_in_place_of_three(shipped: Path):
    """Forwards are counted by the rows that go through the transformer: streams run as a batch."""
    text = MiniatureText()
    rows = {}
    for name, words, scales in (
        ("one", PRESET, (1.0, 1.0)),
        ("three", (), (2.0, 4.0)),
    ):
        args = asked(*words)
        decision = models.decide_layout(args)
        pipeline = models.load_pipeline(args, decision, torch.device("cpu"), text.encode(""))
        assert pipeline.distilled == (Distilled(**FIXED) if words else None)
        seen = rows.setdefault(name, [])
        pipeline.backbone.register_forward_pre_hook(lambda _, given, seen=seen: seen.append(given))
        shot = Shot(num_frames=NUM_FRAMES, height=HEIGHT, width=WIDTH, num_steps=NUM_STEPS)
        shot = shot.guided(text_scale=scales[0], reference_scale=scales[1])
        pipeline(torch.zeros(1, 8, 8, 3), text.encode("a person"), shot)
    counted = {name: sum(len(video) for video, *_ in seen) for name, seen in rows.items()}
    assert counted == {"one": NUM_STEPS, "three": 3 * NUM_STEPS}


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--preset", "fast"),
        ("--text-scale", "1", "--reference-scale", "1"),
        (*PRESET, *NAMED),
    ],
)
def test_nothing_is_added_without_the_preset_or_to_a_checkpoint_that_was_named(
    shipped: Path, words: tuple[str, ...]
):
    assert asked(*words).lora == []


def test_a_lora_that_was_named_stays_alone(shipped: Path):
    assert asked(*PRESET, "--lora", "other.safetensors").lora == [Path("other.safetensors")]
    assert asked(*PRESET).lora == [shipped]
    # What one command took is not there in the next one of the same process.
    assert asked().lora == []


def test_without_its_file_the_preset_is_refused_in_a_sentence(
    photo: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    gone = tmp_path / "gone.safetensors"
    monkeypatch.setattr(models, "ONE_PASS_LORA", gone)
    given = [*PRESET, "--reference", photo, "--prompt", "a person", "--out", tmp_path / "out"]
    with pytest.raises(SystemExit) as stopped:
        main([str(word) for word in given])
    assert stopped.value.code == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("python -m stdrc_core.generate: preset was one-pass, and the mini")
    assert f"{gone}, is not there" in said
    assert "leave the preset out" in said
    assert not (tmp_path / "out").exists()
