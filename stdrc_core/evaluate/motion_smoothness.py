"""MS, motion smoothness: measured by VBench itself, in an environment of its own.

VBench takes the even frames, has AMT-S interpolate those between, and compares them with the odd
frames: 1 - mean absolute difference / 255. It reads a clip whole, and its release pins versions of
packages that this project cannot use. So frames go to it as folders of PNG files, a few at a time;
the mean over all odd frames is the mean over the parts, weighted by how many odd frames each has.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from .metric import Clip, Metric, Score, Watch
from .resources import Resources
from .weights import AMT, load_state

WORKER = Path(__file__).with_name("vbench_worker.py")
# How many frames a part has: an odd number, so that it begins and ends with an even frame of the
# clip, and the next part begins with that last one.
_PART_FRAMES = 33
_MIN_FRAMES = 3
_REMEDY = (
    "make an environment for VBench (python -m venv vbench && vbench/bin/pip install vbench) and "
    "give its Python as --vbench-python, or leave the metric out"
)


class _Watch(Watch):
    def __init__(self, worker: _Worker, clip: Clip) -> None:
        if clip.num_frames < _MIN_FRAMES:
            raise ValueError(
                f"clip has {clip.num_frames} frames; motion smoothness needs {_MIN_FRAMES}."
            )
        self.wanted = range(clip.num_frames)
        self._worker = worker
        self._part: list[Tensor] = []
        self._sum, self._count = 0.0, 0

    def see(self, index: int, frame: Tensor) -> None:
        self._part.append(frame)
        if len(self._part) == _PART_FRAMES:
            self._measure()
            self._part = [frame]

    def score(self) -> Score:
        if len(self._part) >= _MIN_FRAMES:
            self._measure()
        return Score(value=self._sum / self._count)

    def _measure(self) -> None:
        count = (len(self._part) - 1) // 2
        self._sum += count * self._worker.measure(self._part)
        self._count += count


class _Worker:
    """The process in which VBench runs."""

    def __init__(self, python: Path, weights: Path, device: torch.device) -> None:
        self._command = [str(python), str(WORKER), str(weights.resolve()), device.type]
        self._environment = _environment(device)
        self._folder = TemporaryDirectory(prefix="motion_smoothness_")
        self._log = Path(self._folder.name) / "log.txt"
        self._process: subprocess.Popen[str] | None = None
        try:
            self._start()
        except ValueError:
            self.close()
            raise

    def measure(self, frames: list[Tensor]) -> float:
        """VBench's score, 0 to 1, of frames `[h, w, 3]` uint8, three or more.

        Raises ValueError where VBench cannot score them or cannot be run.
        """
        if self._process.poll() is not None:
            # What ended it is told with the clip that it was scoring.
            self._start()
        with TemporaryDirectory(dir=self._folder.name, prefix="part_") as part:
            for number, frame in enumerate(frames):
                image = Image.fromarray(frame.numpy())
                image.save(Path(part) / f"{number:04d}.png", compress_level=1)
            self._tell(part)
            return self._answer()["value"]

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
        self._folder.cleanup()

    def _start(self) -> None:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=self._environment,
                # In this project's folder Python would find modules that are not VBench's.
                cwd=self._folder.name,
            )
        self._answer()

    def _tell(self, line: str) -> None:
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            # That it has ended is told where its answer is read.
            return

    def _answer(self) -> dict[str, Any]:
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            said = self._log.read_bytes().decode(errors="replace").strip().split("\n")
            raise ValueError(f"VBench could not be run ({said[-1]}); {_REMEDY}.")
        answer = json.loads(line)
        if "error" in answer:
            raise ValueError(f"VBench could not score the frames ({answer['error']}).")
        return answer


def _environment(device: torch.device) -> dict[str, str]:
    environment = os.environ | {"TORCH_FORCE_WEIGHTS_ONLY_LOAD": "1"}
    if device.type == "cuda":
        # VBench knows the name "cuda" alone, so that it is shown one GPU.
        shown = environment.get("CUDA_VISIBLE_DEVICES")
        index = device.index or 0
        environment["CUDA_VISIBLE_DEVICES"] = shown.split(",")[index] if shown else str(index)
    # With these variables of torchrun VBench would wait for other processes.
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        environment.pop(name, None)
    return environment


class MotionSmoothness(Metric):
    """One process of VBench scores all clips of this process."""

    def __init__(self, resources: Resources) -> None:
        python = resources.vbench_python
        if python is None or not python.is_file():
            given = "is not given" if python is None else f"{python} is not a file"
            raise ValueError(f"metric ms: --vbench-python {given}; {_REMEDY}.")
        path = resources.path("ms", AMT)
        state = load_state(path)
        if not isinstance(state, dict) or "state_dict" not in state:
            raise ValueError(
                f"weights {path} hold no state_dict; needs AMT's published file: download it again."
            )
        self._worker = _Worker(python, path, resources.device)

    def watch(self, clip: Clip) -> _Watch:
        return _Watch(self._worker, clip)

    def close(self) -> None:
        self._worker.close()


open_metric = MotionSmoothness
