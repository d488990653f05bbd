"""Detection and embedding, frames a second: `python tests/benchmarks/faces.py [--pack large]`.

Against InsightFace's `FaceAnalysis.get` frame by frame, opened as its documentation has it, on the
same frames by turns in one run (aim: at least 1.5 times as fast on two cores). `--pack mini` is the
pack that ships, which has no other models than the two; `--pack large` has networks of buffalo_l's
kinds and about its sizes, with random weights, and a detector that finds white squares. The same
with `allowed_modules` tells what is gained beyond leaving the other models out.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

from benchmarks.identity import arcface_r50  # noqa: E402
from helpers.tiny_face_networks import (  # noqa: E402
    NUM_ANCHORS,
    STRIDES,
    SquareDetector,
    export,
    export_detector,
    randomize,
)
from insightface.app import FaceAnalysis  # noqa: E402

from stdrc_core.experiments.scores import draw_cases  # noqa: E402
from stdrc_core.faces.finder import EmbeddedFace  # noqa: E402
from stdrc_core.faces.onnx_finder import open_onnx_pack  # noqa: E402
from stdrc_core.mini.shipped import FACES  # noqa: E402

AIM = 1.5
SAME = 1e-5
HEIGHT, WIDTH = 720, 1280
# A cell of the detector's finest stride at 640 pixels: one face, found there alone.
SQUARE_PX = 16
BOX = torch.tensor([10.0, 12.0, 30.0, 28.0])
POINTS = torch.tensor([[2.0, -3.0], [18.0, -2.0], [10.0, 7.0], [4.0, 15.0], [16.0, 16.0]])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pack", choices=("mini", "large"), default="mini")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--frames", type=int, default=16)
    args = parser.parse_args()
    warnings.filterwarnings("ignore", category=FutureWarning)
    torch.set_num_threads(2)
    with tempfile.TemporaryDirectory() as folder:
        if args.pack == "mini":
            pack, frames = FACES, drawn_frames(args.frames)
        else:
            pack, frames = write_large_pack(Path(folder)), square_frames(args.frames)
        compare(pack, frames, args.rounds)


def compare(pack: Path, frames: Tensor, rounds: int) -> None:
    ours = open_onnx_pack(pack)
    whole, two = (
        FaceAnalysis(name=str(pack)),
        FaceAnalysis(name=str(pack), allowed_modules=["detection", "recognition"]),
    )
    for each in (whole, two):
        each.prepare(0)
    runs = {
        "ours": lambda: ours.find(frames),
        "FaceAnalysis": lambda: frame_by_frame(whole, frames),
        "its two models": lambda: frame_by_frame(two, frames),
    }
    check(runs["ours"](), runs["FaceAnalysis"]())
    models = ", ".join(sorted(whole.models))
    report(f"{len(frames)} frames of {frames.shape[2]} x {frames.shape[1]}; pack of {models}")
    times_s: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            started = time.perf_counter()
            run()
            times_s[name].append(time.perf_counter() - started)
    for name, values in times_s.items():
        ratios = [a / b for a, b in zip(values, times_s["ours"], strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4) if rounds > 1 else ratios * 3
        line = f"{name:>15}: {len(frames) / statistics.median(values):7.2f} frames/s"
        if name != "ours":
            line += f"; ours {middle:.2f} times as fast (quartiles {low:.2f} to {high:.2f})"
        report(line + (f", aim {AIM}" if name == "FaceAnalysis" else ""))


def frame_by_frame(analysis: FaceAnalysis, frames: Tensor) -> list[list]:
    return [analysis.get(np.ascontiguousarray(frame[..., ::-1])) for frame in frames.numpy()]


def check(ours: list[tuple[EmbeddedFace, ...]], theirs: list[list]) -> None:
    """The work has to be the same."""
    num_faces = 0
    for found, expected in zip(ours, theirs, strict=True):
        assert len(found) == len(expected) > 0
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one.embedding, other.normed_embedding, atol=SAME)
            num_faces += 1
    report(f"{num_faces / len(ours):.2f} faces a frame, the same by both")


def drawn_frames(count: int) -> Tensor:
    clips = [case.true_clip() for case in draw_cases(-(-count // 17), seed=0)]
    small = torch.cat(clips)[:count].movedim(-1, 1).float()
    large = nn.functional.interpolate(small, size=(HEIGHT, HEIGHT), mode="bilinear")
    wide = nn.functional.pad(large, ((WIDTH - HEIGHT) // 2,) * 2, value=90)
    return wide.movedim(1, -1).round().to(torch.uint8).contiguous()


def square_frames(count: int) -> Tensor:
    """A white square on noise, at another place in each frame."""
    generator = torch.Generator().manual_seed(0)
    frames = torch.randint(0, 120, (count, HEIGHT, WIDTH, 3), generator=generator)
    for i, frame in enumerate(frames):
        left, top = SQUARE_PX * (20 + 5 * (i % 8)), SQUARE_PX * (12 + 5 * (i % 4))
        frame[top : top + SQUARE_PX, left : left + SQUARE_PX] = 255
    return frames.to(torch.uint8)


def write_large_pack(folder: Path) -> Path:
    """buffalo_l's five models by kind and about by size, with random weights."""
    torch.manual_seed(0)
    export_detector(LargeDetector(), folder / "det_10g.onnx")
    for name, network, size in (
        ("w600k_r50", randomize(arcface_r50()), 112),
        ("1k3d68", randomize(bottlenecks((3, 4, 6, 3), 64, 3309)), 192),
        ("2d106det", randomize(bottlenecks((1, 2, 2, 1), 16, 212)), 192),
        ("genderage", randomize(bottlenecks((1, 1, 1, 1), 16, 3)), 96),
    ):
        export(network, folder / f"{name}.onnx", torch.zeros(1, 3, size, size))
    return folder


class LargeDetector(SquareDetector):
    """Finds white squares, and does about the work of SCRFD-10G (10 GFLOP at 640 x 480) besides."""

    def __init__(self) -> None:
        super().__init__(BOX, POINTS, (1.0, 1.0, 1.0))
        widths, depths = (56, 88, 88, 224), (3, 4, 2, 3)
        stages, width_in = [], 56
        for width, depth in zip(widths, depths, strict=True):
            stages.append(convolutions(width_in, width, 2, depth))
            width_in = width
        self.stem = convolutions(3, 56, 2, 1)
        self.stages = nn.ModuleList(stages)
        self.necks = nn.ModuleList(convolutions(width, 80, 1, 3) for width in widths[1:])
        self.ends = nn.ModuleList(nn.Conv2d(80, NUM_ANCHORS, 1) for _ in STRIDES)
        self.eval()

    def forward(self, x: Tensor) -> list[Tensor]:
        outputs = super().forward(x)
        x, maps = self.stem(x), []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        for i, (neck, end) in enumerate(zip(self.necks, self.ends, strict=True)):
            rows = end(neck(maps[i + 1])).permute(0, 2, 3, 1).reshape(-1, 1)
            # Too little to change what is found, and enough to be computed.
            outputs[i] = outputs[i] + 1e-12 * rows.tanh()
        return outputs


def convolutions(width_in: int, width: int, stride: int, depth: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for i in range(depth):
        layers += [
            nn.Conv2d(width_in if i == 0 else width, width, 3, stride if i == 0 else 1, 1),
            nn.ReLU(),
        ]
    return nn.Sequential(*layers)


class Bottleneck(nn.Module):
    """ResNet-50's block."""

    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(width_in, width, 1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, stride, 1),
            nn.ReLU(),
            nn.Conv2d(width, 4 * width, 1),
        )
        self.shortcut = nn.Conv2d(width_in, 4 * width, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x) + self.shortcut(x))


def bottlenecks(depths: tuple[int, ...], width: int, num_outputs: int) -> nn.Sequential:
    blocks, width_in = [], width
    for i, depth in enumerate(depths):
        for j in range(depth):
            blocks.append(Bottleneck(width_in, width << i, 2 if j == 0 and i else 1))
            width_in = 4 * width << i
    return nn.Sequential(
        nn.Conv2d(3, width, 7, 2, 3),
        nn.MaxPool2d(3, 2, 1),
        *blocks,
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(width_in, num_outputs),
    )


def report(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
