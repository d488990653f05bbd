"""A small world for the trainer: random samples, and stand-ins for the frozen networks.

The stand-ins are real modules with real gradients, small enough for exact comparisons in float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from stdrc_core.method.reference import append_reference, strip_reference
from stdrc_core.train.config import TrainConfig
from stdrc_core.train.draws import TrainingSample
from stdrc_core.train.face_losses import FaceLosses
from stdrc_core.train.loop import GroupedVelocity, Parts
from stdrc_core.train.objective import Group, Objective
from stdrc_core.train.objective_config import ObjectiveSection, ReferenceSection

C, T, H, W = 4, 3, 2, 2
CONTEXT = (5, 6)
FRAMES, SIZE_PX, EMBEDDING = 8 * (T - 1) + 1, 16, 7
FRAME_RATE = 24.0


class TinyBackbone(nn.Module):
    """A velocity model with attention over all tokens, so that a reference matters."""

    def __init__(self) -> None:
        super().__init__()
        self.into = nn.Linear(C + 1, 16)
        self.attention = nn.MultiheadAttention(16, 2, batch_first=True)
        self.text = nn.Linear(CONTEXT[1], 16)
        self.out = nn.Linear(16, C)

    def forward(
        self, video: Tensor, t: Tensor, context: Tensor, *, reference: Tensor | None, **_: Any
    ) -> Tensor:
        full = video if reference is None else append_reference(video, reference)
        tokens = full.flatten(2).mT
        tokens = torch.cat((tokens, t[:, None, None].expand(-1, tokens.shape[1], 1)), dim=-1)
        hidden = self.into(tokens) + self.text(context).mean(dim=1, keepdim=True)
        hidden = hidden + self.attention(hidden, hidden, hidden, need_weights=False)[0]
        velocity = self.out(torch.tanh(hidden)).mT.reshape(full.shape)
        return velocity if reference is None else strip_reference(velocity, reference.shape[2])


def random_samples(count: int, seed: int = 0) -> list[TrainingSample]:
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    return [
        TrainingSample(
            latent=normal(C, T, H, W),
            context=normal(*CONTEXT),
            photo=torch.rand((1, 12, 10, 3), generator=generator),
            landmarks=normal(FRAMES, 5, 2),
            has_face=torch.rand(FRAMES, generator=generator) < 0.8,
            e_ref=normal(EMBEDDING),
        )
        for _ in range(count)
    ]


def encode_references(photos: Sequence[Tensor]) -> Tensor:
    """Each photo's mean colours as a latent frame."""
    pooled = torch.cat(
        [nn.functional.adaptive_avg_pool2d(photo.movedim(-1, 1), (H, W)) for photo in photos]
    )
    return torch.cat((pooled, pooled.mean(dim=1, keepdim=True)), dim=1)[:, :, None]


def face_losses(**options: int) -> FaceLosses:
    """A linear decoder and face network, fixed by a seed."""
    generator = torch.Generator().manual_seed(7)
    decoder = torch.randn((C, 3), generator=generator)
    network = torch.randn((3 * SIZE_PX * SIZE_PX, EMBEDDING), generator=generator)

    def decode(latent: Tensor) -> Tensor:
        pixels = torch.einsum("bcthw,cd->bdthw", latent, decoder).tanh()
        frames = pixels.repeat_interleave(8, dim=2)[:, :, 7:]
        return nn.functional.interpolate(frames, size=(frames.shape[2], SIZE_PX, SIZE_PX))

    def embed(pixels: Tensor, landmarks: Tensor) -> Tensor:
        return pixels.flatten(1) @ network + landmarks.flatten(1).sum(dim=1, keepdim=True)

    return FaceLosses(decode, embed, **{"num_latent_frames": 2, "num_frames": 4} | options)


def config(out: Path, **sections: dict[str, Any]) -> TrainConfig:
    """A configuration of a short run, sections changed by key."""
    values: dict[str, dict[str, Any]] = {
        "model": {"checkpoint": "unused", "dtype": "float32"},
        "data": {"cache": "unused"},
        "run": {
            "out": out,
            "num_steps": 6,
            "batch_size": 4,
            "micro_batch_size": 2,
            "checkpoint_every": 2,
        },
        "objective": {"face_pack": "unused"},
        "trainable": {"method": "full"},
        "optimizer": {"lr": 1e-2, "num_warmup_steps": 3, "ema_decay": 0.9},
    }
    for name, changes in sections.items():
        values[name] = values.get(name, {}) | changes
    return TrainConfig.model_validate(values)


def parts(config: TrainConfig, num_samples: int = 7) -> Parts:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        backbone = TinyBackbone()
    objective = Objective(
        config.objective,
        config.reference,
        encode_references=encode_references,
        empty_context=torch.zeros(CONTEXT),
        face_losses=face_losses(),
    )
    return Parts(
        model=GroupedVelocity(backbone, config, FRAME_RATE),
        objective=objective,
        samples=random_samples(num_samples),
    )


NO_AUGMENTATION = {"p_flip": 0, "p_rotate": 0, "p_crop": 0, "p_color": 0}


def objective_sections(**objective: float) -> tuple[ObjectiveSection, ReferenceSection]:
    return (
        ObjectiveSection(face_pack=Path("unused"), **objective),
        ReferenceSection(augmentation=NO_AUGMENTATION),
    )


def make_objective(objective: ObjectiveSection, reference: ReferenceSection) -> Objective:
    return Objective(
        objective,
        reference,
        encode_references=encode_references,
        empty_context=torch.full(CONTEXT, 9.0),
        face_losses=face_losses(num_latent_frames=T, num_frames=99),
    )


class Recorder:
    """A velocity model that answers 0.7 times its input, and keeps what it was given."""

    def __init__(self) -> None:
        self.groups: list[Group] = []

    def __call__(self, groups: list[Group]) -> list[Tensor]:
        self.groups += groups
        return [0.7 * video for video, *_ in groups]
