"""The metrics' networks at full size on a GPU that is none: cases of run_on_fake_cuda.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import torch
from torch import Tensor

from stdrc_core.evaluate import (
    aesthetic_quality,
    clip_networks,
    curricular_face,
    dynamic_degree,
    facesim_cur,
    frame_batches,
)
from stdrc_core.evaluate.resources import Resources

from .fake_cuda import CUDA, check, fake_cuda, filled


def resources(folder: Path) -> Resources:
    return Resources(device=CUDA, weights=folder, num_frames=16, batch_size=2)


@contextmanager
def metrics() -> Iterator[None]:
    """In the block no metric looks for a file of weights."""
    with fake_cuda(), mock.patch.object(Resources, "path", lambda self, *_: self.weights):
        yield


def scored(batches: frame_batches.FrameBatches, items: list[Tensor]) -> list[Tensor]:
    """What the batches make of items on the CPU."""
    outputs: list[Tensor] = []
    for item in items:
        batches.add(item, outputs)
    batches.flush()
    return outputs


def facesim_by_curricular_face(folder: Path) -> None:
    with metrics():
        state = curricular_face.IR101().state_dict()
        scans = mock.patch.object(Resources, "scans", None)
        with mock.patch.object(facesim_cur, "load_state", lambda _: state), scans:
            metric = facesim_cur.FaceSimCur(resources(folder))
        crops = [torch.zeros(3, 112, 112, dtype=torch.uint8)] * 3
        for output in scored(metric._batches, crops):
            check(output, [512], torch.float32, "cpu")


def clip_model(layers: int, width: int, patch: int, projection: int) -> torch.nn.Module:
    from transformers import CLIPConfig, CLIPModel

    body = {"num_hidden_layers": layers, "hidden_size": width, "patch_size": patch}
    body |= {"num_attention_heads": width // 64, "intermediate_size": 4 * width}
    with torch.device("meta"):
        model = CLIPModel(CLIPConfig(vision_config=body, projection_dim=projection))
    return filled(model, torch.float32, torch.device("cpu"))


def clip_images_and_text(folder: Path) -> None:
    with metrics():
        model = clip_model(12, 768, 32, 512).to(CUDA)
        frames = torch.rand(2, 3, 224, 224, device=CUDA)
        check(clip_networks.embed_images(model, frames), [2, 512], torch.float32, "cuda")
        tokens = {"input_ids": torch.ones(1, 9, dtype=torch.int64, device=CUDA)}
        tokens["attention_mask"] = torch.ones_like(tokens["input_ids"])
        check(clip_networks.embed_text(model, tokens), [1, 512], torch.float32, "cuda")


def aesthetics(folder: Path) -> None:
    with metrics():
        model = clip_model(24, 1024, 14, 768)
        state = torch.nn.Linear(768, 1).state_dict()
        opened_clip = mock.patch.object(aesthetic_quality, "open_clip", lambda _: model)
        head = mock.patch.object(aesthetic_quality, "load_state", lambda _: state)
        with opened_clip, head:
            metric = aesthetic_quality.AestheticQuality(resources(folder))
        frame = torch.zeros(512, 768, 3, dtype=torch.uint8)
        items = [aesthetic_quality.prepared(frame, metric.side_px)] * 3
        for output in scored(metric.batches, items):
            check(output, [], torch.float32, "cpu")


def motion_by_raft(folder: Path) -> None:
    from torchvision.models.optical_flow import raft_large

    with metrics():
        state = raft_large(weights=None).state_dict()
        with mock.patch.object(dynamic_degree, "load_state", lambda _: state):
            metric = dynamic_degree.DynamicDegree(resources(folder))
        pairs = [torch.zeros(2, 3, 512, 768)] * 2
        # torch has no fake form of cuDNN's grid sampler.
        with torch.backends.cudnn.flags(enabled=False):
            for output in scored(metric._batches, pairs):
                check(output, [], torch.float32, "cpu")


CASES: dict[str, Callable[[Path], None]] = {
    each.__name__: each
    for each in (facesim_by_curricular_face, clip_images_and_text, aesthetics, motion_by_raft)
}
