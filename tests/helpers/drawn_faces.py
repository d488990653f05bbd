"""Drawn persons: clips and photos of coloured faces, and a face pack that knows them."""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn

from helpers.tiny_face_networks import SquareDetector, export_detector, export_recognizer

SIDE = 96
# Persons are colours; a face is a patch of the person's colour around a white square.
RED, GREEN, BLUE = (230, 40, 40), (40, 230, 40), (40, 40, 230)
PATCH, SQUARE = 80, 24


def draw(
    num_frames: int, color: tuple[int, int, int] | None, shade: int = 30, size: tuple = (SIDE, SIDE)
) -> Tensor:
    """`[F, h, w, 3]`: a face that drifts to the right over a grey `shade`; None is nobody."""
    frames = torch.full((num_frames, *size, 3), shade, dtype=torch.uint8)
    top, left = (size[0] - PATCH) // 2, (size[1] - PATCH) // 2 - 8
    for i in range(num_frames if color else 0):
        x = left + i % 16
        frames[i, top : top + PATCH, x : x + PATCH] = torch.tensor(color, dtype=torch.uint8)
        inset = (PATCH - SQUARE) // 2
        rows = slice(top + inset, top + inset + SQUARE)
        frames[i, rows, x + inset : x + inset + SQUARE] = 255
    return frames


def write_photo(path: Path, color: tuple[int, int, int] | None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(draw(1, color, shade=90)[0].numpy()).save(path)
    return path


class MeanColor(nn.Sequential):
    """Embeds a crop as its mean colour, (x - 127.5) / 127.5."""

    def __init__(self) -> None:
        super().__init__(nn.Flatten(), nn.Linear(3 * 112 * 112, 3, bias=False))
        with torch.no_grad():
            self[1].weight.zero_()
            for channel in range(3):
                self[1].weight[channel].view(3, -1)[channel] = 1 / 112**2


def write_pack(folder: Path) -> Path:
    """A face pack in InsightFace's layout, run by the real InsightFace and ONNX Runtime."""
    folder.mkdir(parents=True)
    # From the first pixel of a cell in the middle of the white square.
    points = torch.tensor([[-5.0, -6], [13, -6], [4, 4], [-3, 14], [11, 14]])
    detector = SquareDetector(torch.tensor([36.0, 36, 44, 44]), points, (1.0, 1.0, 1.0))
    export_detector(detector, folder / "det.onnx", SIDE)
    export_recognizer(MeanColor().eval(), folder / "rec.onnx")
    return folder


def caption(video: Path, text: str = "a person looks up") -> Path:
    video.with_suffix(".txt").write_text(text)
    return video
