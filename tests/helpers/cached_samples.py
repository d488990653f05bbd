"""Random samples of a cache, and caches of them."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import torch
from torch import Tensor

from stdrc_core.train.cache import Manifest, Sample
from stdrc_core.train.cache_writer import CacheWriter

MANIFEST = Manifest(
    num_frames=9,
    height=64,
    width=96,
    fps=24.0,
    latent_channels=128,
    context_shape=(4, 6),
    checkpoint="mini.safetensors",
    checkpoint_fingerprint="abc",
    text_encoder="miniature",
    face_pack="tiny",
)
EMPTY = torch.arange(24.0).view(4, 6)


def make_sample(name: str, seed: int = 0) -> Sample:
    generator = torch.Generator().manual_seed(seed)
    return Sample(
        id=name,
        video=f"clips/{name}",
        caption="a grüne Wiese,\u2028緑\n",
        identity=None if seed % 2 else f"person {seed}",
        reference_source="photo",
        latent=torch.randn(128, 2, 2, 3, generator=generator).bfloat16(),
        context=torch.randn(4, 6, generator=generator).bfloat16(),
        reference=torch.randint(0, 256, (5, 7, 3), generator=generator, dtype=torch.uint8),
        boxes=torch.rand(9, 4, generator=generator),
        landmarks=torch.rand(9, 5, 2, generator=generator),
        has_face=torch.rand(9, generator=generator) > 0.5,
        e_ref=torch.rand(16, generator=generator),
    )


def write_samples(folder: Path, samples: list[Sample], **options) -> None:
    with CacheWriter(folder, MANIFEST, EMPTY, **options) as writer:
        for sample in samples:
            writer.add(sample)


def assert_same(one: Sample, other: Sample) -> None:
    for field in fields(Sample):
        a, b = getattr(one, field.name), getattr(other, field.name)
        if isinstance(a, Tensor):
            assert a.dtype == b.dtype, field.name
            assert torch.equal(a, b), field.name
        else:
            assert a == b, field.name


SAMPLES = [make_sample(f"folder/{name}.mp4", seed) for seed, name in enumerate("dacbe")]
