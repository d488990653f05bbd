"""`python run_on_fake_cuda.py FOLDER CASE...`: forward passes at full size, without a GPU.

It runs in a Python whose torch is built for CUDA, and prints a JSON object: for each case the error
that it ended with, or "".
"""

from __future__ import annotations

import argparse
import json
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import torch
from torch import Tensor

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

from helpers import published_files  # noqa: E402
from helpers.fake_cuda import CUDA, check, fake_cuda, filled  # noqa: E402
from stdrc_core.evaluate import (  # noqa: E402
    aesthetic_quality,
    clip_networks,
    curricular_face,
    dynamic_degree,
    facesim_cur,
    frame_batches,
)
from stdrc_core.evaluate.resources import Resources  # noqa: E402
from stdrc_core.generate import models  # noqa: E402
from stdrc_core.generate import pipeline as pipeline_module  # noqa: E402
from stdrc_core.generate.pipeline import Pipeline, Shot  # noqa: E402
from stdrc_core.ltx import checkpoint_files, connector, lora_file, text, vae  # noqa: E402
from stdrc_core.ltx.reference_layout import ReferenceLayout  # noqa: E402
from stdrc_core.method import reference  # noqa: E402
from stdrc_core.method.layout import Placement  # noqa: E402
from stdrc_core.method.reference import ReferenceTimestep  # noqa: E402

SHOT = Shot(num_frames=49, height=512, width=768, num_steps=2)
FRAMES = [49, 512, 768, 3]
FEW_LAYERS = 2
CASES: dict[str, Callable[[Path], None]] = {}


def case(function: Callable[[Path], None]) -> Callable[[Path], None]:
    CASES[function.__name__] = function
    return function


@contextmanager
def opened(file: published_files.PublishedFile, *modules: object) -> Iterator[None]:
    """In the block `modules` read `file`, whatever path they are given."""
    with fake_cuda():
        patches = [mock.patch.object(module, "safe_open", file) for module in modules]
        for patch in patches:
            patch.start()
        try:
            yield
        finally:
            for patch in patches:
                patch.stop()


@contextmanager
def pipeline(
    folder: Path, version: str = "2.3", num_layers: int = FEW_LAYERS, with_lora: bool = False
) -> Iterator[Pipeline]:
    """The pipeline of `generate`, loaded by its own code onto the GPU.

    All layers are of one make, so that most cases have a few of them.
    """
    path = folder / "ltx.safetensors"
    path.touch()
    args = argparse.Namespace(checkpoint=path, vae=None, lora=None, offload=False)
    lora_read = mock.patch.object(lora_file, "safe_open", published_files.lora(num_layers))
    # The schedule picks sigmas by their size, and photos are refused by the size of their numbers.
    schedule = mock.patch.object(
        pipeline_module, "schedule_from", lambda start, _: torch.tensor([start, 0.2, 0.0])
    )
    file = published_files.ltx(version, num_layers)
    taken = mock.patch.object(reference, "_check_photo", lambda _: None)
    with opened(file, checkpoint_files, vae), lora_read, schedule, taken:
        args.lora = path if with_lora else None
        yield models.load_pipeline(args, ReferenceLayout(), CUDA, torch.randn(1024, 4096))


def sampled(made: Pipeline, **more: object) -> Tensor:
    """One clip of a photo and a prompt, which `generate` holds on the CPU."""
    photos, contexts = [torch.rand(1, 700, 500, 3)], torch.randn(1, 1024, 4096)
    shot = more.pop("shot", SHOT)
    return made.many(more.pop("photos", photos), contexts, shot, [0], **more)


def generates(folder: Path, version: str) -> None:
    with pipeline(folder, version, published_files.NUM_LAYERS) as made:
        assert {p.device.type for p in made.backbone.parameters()} == {"cuda"}
        check(sampled(made), [1, *FRAMES], torch.float32, "cpu")


@case
def generate_in_other_ways(folder: Path) -> None:
    """With several photos, from a first frame, from a draft, and guided otherwise."""
    with pipeline(folder) as made:
        two = [[torch.rand(1, 700, 500, 3), torch.rand(1, 300, 300, 3)]]
        check(sampled(made, photos=two), [1, *FRAMES], torch.float32, "cpu")
        frame = torch.rand(1, 512, 768, 3)
        check(sampled(made, first_frames=frame), [1, *FRAMES], torch.float32, "cpu")
        still = Shot(num_frames=1, height=512, width=768, num_steps=2)
        draft = {"drafts": frame, "draft_sigma": 0.4, "shot": still}
        check(sampled(made, **draft), [1, 1, *FRAMES[1:]], torch.float32, "cpu")
        fast = {"guidance_rescale": 0.5, "reference_every": 2}
        check(sampled(made, shot=SHOT.guided(**fast)), [1, *FRAMES], torch.float32, "cpu")


@case
def generate_2_3(folder: Path) -> None:
    generates(folder, "2.3")


@case
def generate_2_5(folder: Path) -> None:
    generates(folder, "2.5")


@case
def generate_with_a_lora(folder: Path) -> None:
    """Its halves lie on the CPU, the weights on the GPU."""
    with pipeline(folder, with_lora=True) as made:
        check(sampled(made), [1, *FRAMES], torch.float32, "cpu")


@case
def every_placement(folder: Path) -> None:
    with pipeline(folder) as made:
        video = torch.randn(1, 128, 7, 16, 24, device=CUDA)
        photos = torch.randn(1, 128, 2, 16, 24, device=CUDA)
        context = torch.randn(1, 1024, 4096, device=CUDA)
        for placement in Placement:
            for timestep in ReferenceTimestep:
                velocity = made.backbone(
                    video,
                    torch.rand(1, device=CUDA),
                    context,
                    frame_rate=24.0,
                    reference=photos,
                    placement=placement,
                    reference_timestep=timestep,
                )
                check(velocity, [*video.shape], torch.float32, "cuda")


class Tokenizer:
    """Stands for Gemma's: what it returns is on the CPU."""

    padding_side, pad_token, eos_token = "right", "<pad>", "<eos>"

    def __call__(self, texts: list[str], max_length: int, **_: object) -> dict[str, Tensor]:
        ids = torch.ones(len(texts), max_length, dtype=torch.int64)
        return {"input_ids": ids, "attention_mask": ids}


@case
def captions(folder: Path) -> None:
    """Gemma 3 12B's language model and LTX-2.3's connector, as `generate` and `prepare` do it."""
    from transformers import Gemma3TextConfig, Gemma3TextModel

    path = folder / "ltx.safetensors"
    path.touch()
    config = Gemma3TextConfig(
        hidden_size=published_files.GEMMA_WIDTH,
        num_hidden_layers=published_files.GEMMA_LAYERS,
        intermediate_size=15360,
        num_attention_heads=16,
        num_key_value_heads=8,
        head_dim=256,
        sliding_window=1024,
    )
    with torch.device("meta"):
        model = Gemma3TextModel(config)
    with opened(published_files.ltx("2.3"), connector):
        made = connector.load_connector(path).to(device=CUDA, dtype=torch.bfloat16)
        encoder = text.GemmaText("gemma", Tokenizer(), filled(model, torch.bfloat16), made)
        check(encoder.encode("a person"), [1024, 4096], torch.float32, "cpu")


@case
def clips(folder: Path) -> None:
    """The VAE as `prepare` encodes clips with it, and validation decodes."""
    path = folder / "ltx.safetensors"
    path.touch()
    with opened(published_files.ltx("2.3"), vae):
        made = vae.load_vae(path, torch.bfloat16).to(CUDA)
        pixels = torch.rand(1, 3, 49, 512, 768, device=CUDA) * 2 - 1
        latent = made.encode(pixels)
        check(latent, [1, 128, 7, 16, 24], torch.float32, "cuda")
        check(made.decode(latent), [1, 3, 49, 512, 768], torch.float32, "cuda")
        check(made.encode(pixels.cpu()), [1, 128, 7, 16, 24], torch.float32, "cpu")


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


@case
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


@case
def clip_images_and_text(folder: Path) -> None:
    with metrics():
        model = clip_model(12, 768, 32, 512).to(CUDA)
        frames = torch.rand(2, 3, 224, 224, device=CUDA)
        check(clip_networks.embed_images(model, frames), [2, 512], torch.float32, "cuda")
        tokens = {"input_ids": torch.ones(1, 9, dtype=torch.int64, device=CUDA)}
        tokens["attention_mask"] = torch.ones_like(tokens["input_ids"])
        check(clip_networks.embed_text(model, tokens), [1, 512], torch.float32, "cuda")


@case
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


@case
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


def strayed(folder: Path, change: Callable[[Tensor], Tensor]) -> None:
    """Samples while one input of one layer goes through `change`."""
    with pipeline(folder) as made:
        layer = made.backbone.transformer.transformer_blocks[-1].attn2.to_k
        layer.register_forward_pre_hook(lambda _, inputs: (change(inputs[0]),))
        sampled(made)


@case
def a_device_that_is_wrong(folder: Path) -> None:
    strayed(folder, Tensor.cpu)


@case
def a_dtype_that_is_wrong(folder: Path) -> None:
    strayed(folder, Tensor.float)


def main() -> None:
    torch.set_num_threads(1)
    folder, *names = sys.argv[1:]
    results = {}
    for name in names or CASES:
        try:
            CASES[name](Path(folder))
            results[name] = ""
        # Each error is for the test that reads this.
        except Exception as error:  # noqa: BLE001
            results[name] = f"{type(error).__name__}: {error}\n{traceback.format_exc()}"
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main()
