"""MS against VBench's own run over a whole clip. Needs an environment that VBench is installed in,
whose Python VBENCH_PYTHON names."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
import torch
from helpers.clips import decode
from helpers.drawn_persons import DrawnPersons, Evaluate
from PIL import Image

from stdrc_core.video import read_frames, write_clip

# Random weights as AMT publishes its own, and VBench's score of a whole folder of frames.
WHOLE = """
import cv2  # before decord, or it reads no PNG files
import sys, os, json, torch, vbench
from omegaconf import OmegaConf
from vbench.motion_smoothness import MotionSmoothness
from vbench.third_party.amt.utils.build_utils import build_from_cfg
folder, weights, scores = sys.argv[1:]
config = os.path.join(os.path.dirname(vbench.__file__), "third_party/amt/cfgs/AMT-S.yaml")
torch.manual_seed(0)
network = build_from_cfg(OmegaConf.load(config).network)
torch.save({"state_dict": network.state_dict()}, weights)
motion = MotionSmoothness(config, weights, "cpu")
found = {name: motion.motion_score(os.path.join(folder, name)) for name in os.listdir(folder)}
json.dump(found, open(scores, "w"))
"""


@pytest.fixture(scope="module")
def vbench_python() -> str:
    python = os.environ.get("VBENCH_PYTHON")
    if python is None:
        pytest.skip("VBENCH_PYTHON is not set: python -m venv vbench, pip install vbench there")
    return python


def test_motion_smoothness_is_vbenchs(
    world: DrawnPersons, tmp_path: Path, evaluate: Evaluate, vbench_python: str
):
    """Of a clip in one part, and of one of three parts, of an even number of frames."""
    short = world.folder / "0_0.mp4"
    frames = read_frames(short, [i / 24 for i in range(17)])
    long = torch.stack([frames[i % 17] for i in range(70)])
    write_clip(tmp_path / "long.mp4", long, 24)
    (tmp_path / "short.mp4").symlink_to(short)
    for name in ("long", "short"):
        (tmp_path / "frames" / name).mkdir(parents=True)
        for i, frame in enumerate(decode(tmp_path / f"{name}.mp4")):
            image = Image.fromarray(frame)
            image.save(tmp_path / "frames" / name / f"{i:05d}.png")
    weights, scores = tmp_path / "amt-s.pth", tmp_path / "scores.json"
    script = tmp_path / "whole.py"
    script.write_text(WHOLE)
    subprocess.run(
        [vbench_python, script, tmp_path / "frames", weights, scores], check=True, cwd=tmp_path
    )
    expected = json.loads(scores.read_text())
    write_clip(tmp_path / "two.mp4", long[:2], 24)
    report = evaluate(
        [{"video": f"{name}.mp4"} for name in ("long", "two", "short")],
        videos=tmp_path,
        metrics=["ms"],
        weights=tmp_path,
        faces=None,
        vbench_python=vbench_python,
    )
    results = {result["video"]: result for result in report["results"]}
    for name in ("long", "short"):
        value = results[f"{name}.mp4"]["scores"]["ms"]["value"]
        assert value == pytest.approx(expected[name], abs=1e-9)
        assert 0 < value < 1
    assert "needs 3" in results["two.mp4"]["problems"]["ms"]
