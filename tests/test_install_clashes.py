"""install.py says which installed packages share one folder, and leaves them as they are."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import PROJECT

SCRIPT = PROJECT / "install.py"
spec = importlib.util.spec_from_file_location("stdrc_install_clashes", SCRIPT)
install = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = install
spec.loader.exec_module(install)

# What is installed -> the folder, and the package that the advice keeps; none where all is well.
SITUATIONS: dict[str, tuple[dict[str, str], tuple[str, str] | None]] = {
    "opencv beside contrib": (
        {"opencv-python": "4.12.0.88", "opencv-contrib-python": "4.11.0.86"},
        ("cv2", "opencv-contrib-python==4.11.0.86"),
    ),
    "opencv beside headless": (
        {"opencv-python": "4.12.0.88", "opencv-python-headless": "4.12.0.88"},
        ("cv2", "opencv-python==4.12.0.88"),
    ),
    "contrib's headless beside opencv": (
        {"opencv-python": "4.9", "opencv-contrib-python-headless": "4.10"},
        ("cv2", "opencv-contrib-python-headless==4.10"),
    ),
    "both headless": (
        {"opencv-python-headless": "5.0", "opencv-contrib-python-headless": "5.0"},
        ("cv2", "opencv-contrib-python-headless==5.0"),
    ),
    "all four": (
        {
            "opencv-python": "1",
            "opencv-python-headless": "2",
            "opencv-contrib-python": "3",
            "opencv-contrib-python-headless": "4",
        },
        ("cv2", "opencv-contrib-python==3"),
    ),
    "DirectML beside the CPU's": (
        {"onnxruntime": "1.31.1", "onnxruntime-directml": "1.24"},
        ("onnxruntime", "onnxruntime-directml==1.24"),
    ),
    "ROCm beside the CPU's": (
        {"onnxruntime": "1.31.1", "onnxruntime-rocm": "1.22"},
        ("onnxruntime", "onnxruntime-rocm==1.22"),
    ),
    "OpenVINO beside CUDA's and the CPU's": (
        {"onnxruntime": "1.31.1", "onnxruntime-gpu": "1.31.1", "onnxruntime-openvino": "1.24"},
        ("onnxruntime", "onnxruntime-openvino==1.24"),
    ),
    "Pillow beside its fork": (
        {"pillow": "13.0", "pillow-simd": "9.5"},
        ("PIL", "pillow-simd==9.5"),
    ),
    "one opencv": ({"opencv-python": "5.0", "numpy": "2.3"}, None),
    "contrib alone": ({"opencv-contrib-python": "5.0"}, None),
    "what InsightFace leads to": ({"onnxruntime": "1.32", "onnxruntime-gpu": "1.31"}, None),
    "nothing": ({}, None),
}


@pytest.mark.parametrize("has_pip", [True, False])
@pytest.mark.parametrize("situation", SITUATIONS)
def test_packages_that_share_a_folder_are_named_with_what_to_do(situation: str, has_pip: bool):
    packages, expected = SITUATIONS[situation]
    said = install.clashes(packages, has_pip=has_pip)
    if expected is None:
        assert said == []
        return
    (sentence,) = said
    folder, kept = expected
    assert f"share the folder {folder}" in sentence
    assert all(f"{name} {version}" in sentence for name, version in packages.items())
    assert sentence.endswith(f"install --no-deps {kept}")
    assert ("-m uv pip" in sentence) == (not has_pip)
    assert "\n" not in sentence


@pytest.mark.parametrize("names", [("opencv_python", "opencv_contrib_python"), ("opencv_python",)])
def test_a_real_run_says_so_and_changes_nothing(tmp_path: Path, names: tuple[str, ...]):
    """The packages are real metadata in a folder of their own, in the wheels' spelling."""
    for name in names:
        folder = tmp_path / f"{name}-4.11.0.86.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 4.11\n")
    for name in ("torch", "onnxruntime"):
        (tmp_path / f"{name}.py").write_text("raise ImportError")
    before = sorted(tmp_path.rglob("*"))
    done = subprocess.run(
        # Without the packages of this environment.
        [sys.executable, "-S", str(SCRIPT)],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"},
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert sum("share the folder cv2" in line for line in lines) == (len(names) > 1)
    assert lines[-1].endswith("onnxruntime is left as it is.")
    assert sorted(tmp_path.rglob("*")) == before
