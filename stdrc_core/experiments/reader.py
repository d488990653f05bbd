"""Reads a caption's attributes back from frames: how well a clip does what its prompt says.

A small network, trained on drawn clips; it knows nothing of the generator that it judges.
"""

from __future__ import annotations

import random

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm.auto import tqdm

from ..mini.character import draw_numbers, identity
from ..mini.drawing import draw_clip
from ..mini.scene import ATTRIBUTES, draw_scene
from ..mini_build.descent import descend

# So many frames of a clip tell a nod, there and back, from standing still.
_NUM_FRAMES = 5
_SIDE_PX = 64
_WIDTHS = (32, 48, 64, 96, 128)
_NOISE = 0.05


class CaptionReader(nn.Module):
    """Maps a clip's five frames, `[B, 15, 64, 64]` in [-1, 1], to a logit for each value of each
    attribute."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3 * _NUM_FRAMES
        for width in _WIDTHS:
            layers += [
                nn.Conv2d(channels, width, 3, stride=2, padding=1),
                nn.BatchNorm2d(width),
                nn.ReLU(),
            ]
            channels = width
        cells = (_SIDE_PX // 2 ** len(_WIDTHS)) ** 2
        self.body = nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.1))
        self.heads = nn.ModuleDict(
            {name: nn.Linear(channels * cells, len(values)) for name, values in ATTRIBUTES.items()}
        )

    def forward(self, frames: Tensor) -> dict[str, Tensor]:
        features = self.body(frames)
        return {name: head(features) for name, head in self.heads.items()}

    @torch.no_grad()
    def read(self, clips: Tensor) -> list[dict[str, str]]:
        """For each of the clips `[B, F, h, w, 3]` uint8, the likeliest value of each attribute."""
        logits = self(_squeezed(clips))
        chosen = {name: each.argmax(dim=1).tolist() for name, each in logits.items()}
        return [
            {name: ATTRIBUTES[name][indices[i]] for name, indices in chosen.items()}
            for i in range(len(clips))
        ]


def train_reader(*, num_clips: int, num_steps: int, seed: int = 0) -> CaptionReader:
    """A reader that is trained on drawn clips of `num_clips` persons; it leaves the global random
    state as it was."""
    rng = random.Random(seed)
    frames, labels = [], []
    for number in tqdm(draw_numbers(num_clips, rng, unseen=False), "clips to read", unit="clip"):
        scene = draw_scene(rng)
        frames.append(_squeezed(torch.from_numpy(draw_clip(identity(number), scene).pixels[None])))
        labels.append([values.index(getattr(scene, name)) for name, values in ATTRIBUTES.items()])
    pictures, truth = torch.cat(frames), torch.tensor(labels)
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        reader = CaptionReader()

        def loss() -> Tensor:
            chosen = torch.randint(len(pictures), (64,), generator=generator)
            noise = torch.randn(pictures[chosen].shape, generator=generator)
            logits = reader(pictures[chosen] + _NOISE * noise)
            return sum(
                F.cross_entropy(each, truth[chosen, i]) for i, each in enumerate(logits.values())
            )

        descend(reader, loss, num_steps=num_steps, lr=3e-3, name="reader")
    return reader


def _squeezed(clips: Tensor) -> Tensor:
    """Five frames of each clip `[B, F, h, w, 3]` uint8, scaled down and one after another in the
    channels: `[B, 15, 64, 64]` in [-1, 1]."""
    chosen = clips[:, np.linspace(0, clips.shape[1] - 1, _NUM_FRAMES).round().astype(int)]
    flat = chosen.permute(0, 1, 4, 2, 3).flatten(0, 1).float() / 127.5 - 1
    small = F.interpolate(flat, size=(_SIDE_PX, _SIDE_PX), mode="area")
    return small.unflatten(0, (len(clips), -1)).flatten(1, 2)
