"""A run on the miniature LTX-2.3: a cache of drawn clips through its real VAE, a configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from stdrc_core.ltx.vae import load_vae
from stdrc_core.mini.config import VIDEO_DIM
from stdrc_core.mini.prompt import encode_prompt
from stdrc_core.train import loop
from stdrc_core.train.assemble import assemble
from stdrc_core.train.cache import Manifest, Sample, fingerprint
from stdrc_core.train.cache_writer import CacheWriter
from stdrc_core.train.config import TrainConfig
from stdrc_core.train.loop import Parts, Result

NUM_FRAMES, SIZE_PX, FPS = 9, 96, 24.0


def encode_text(text: str) -> Tensor:
    """The video's part of the miniature's prompt."""
    return encode_prompt(text)[0, :, :VIDEO_DIM]


def write_cache(folder: Path, checkpoint: Path, num_clips: int = 3) -> Path:
    """Clips of one moving colour each; the reference is a photo of the same colour."""
    vae = load_vae(checkpoint)
    generator = torch.Generator().manual_seed(0)
    empty = encode_text("")
    manifest = Manifest(
        num_frames=NUM_FRAMES,
        height=SIZE_PX,
        width=SIZE_PX,
        fps=FPS,
        latent_channels=128,
        context_shape=tuple(empty.shape),
        checkpoint=checkpoint.name,
        checkpoint_fingerprint=fingerprint(checkpoint),
        text_encoder="miniature",
        face_pack="none",
    )
    with CacheWriter(folder, manifest, empty) as writer:
        for index in range(num_clips):
            color = torch.rand(3, generator=generator)
            clip = torch.zeros(1, 3, NUM_FRAMES, SIZE_PX, SIZE_PX)
            for frame in range(NUM_FRAMES):
                left = 8 * frame
                clip[0, :, frame, 20:60, left : left + 30] = color[:, None, None]
            writer.add(
                Sample(
                    id=f"clip{index}",
                    video=f"clip{index}.mp4",
                    caption="a square moves",
                    identity=None,
                    reference_source="photo",
                    latent=vae.encode(clip * 2 - 1)[0],
                    context=encode_text("a square moves"),
                    reference=(color.expand(40, 30, 3) * 255).byte(),
                    boxes=torch.tensor([[10.0, 10, 60, 70]]).expand(NUM_FRAMES, 4),
                    landmarks=torch.tensor(
                        [[30.0, 30], [60, 30], [45, 45], [33, 60], [57, 60]]
                    ).expand(NUM_FRAMES, 5, 2),
                    has_face=torch.ones(NUM_FRAMES, dtype=torch.bool),
                    e_ref=torch.nn.functional.normalize(torch.ones(16), dim=0),
                )
            )
    return folder


def config(out: Path, checkpoint: Path, cache: Path, **sections: dict[str, Any]) -> TrainConfig:
    values: dict[str, dict[str, Any]] = {
        "model": {"checkpoint": checkpoint, "dtype": "float32"},
        "data": {"cache": cache},
        "run": {
            "out": out,
            "num_steps": 2,
            "batch_size": 2,
            "micro_batch_size": 2,
            "trackers": ["tensorboard"],
        },
        "objective": {"lambda_id": 0, "lambda_tic": 0},
        "trainable": {"method": "lora", "rank": 4, "alpha": 8},
        "optimizer": {"lr": 1e-2},
    }
    for name, changes in sections.items():
        values[name] = values.get(name, {}) | changes
    return TrainConfig.model_validate(values)


def train(config: TrainConfig, validate: loop.Validate | None = None) -> tuple[Parts, Result]:
    """The whole run in this process, on the CPU."""
    parts = assemble(config, torch.device("cpu"))
    return parts, loop.train(config, parts, Accelerator(cpu=True), validate)
