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
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import unset_fake_temporarily

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

from helpers import fake_cuda_metrics, published_files  # noqa: E402
from helpers.fake_cuda import CUDA, check, fake_cuda, filled  # noqa: E402
from helpers.fake_gradients import gradients  # noqa: E402
from stdrc_core.faces.align import arcface_template  # noqa: E402
from stdrc_core.faces.published import sized_recognizer  # noqa: E402
from stdrc_core.generate import models  # noqa: E402
from stdrc_core.generate import pipeline as pipeline_module  # noqa: E402
from stdrc_core.generate.pipeline import Pipeline, Shot  # noqa: E402
from stdrc_core.ltx import checkpoint_files, connector, gemma4, lora_file, text, vae  # noqa: E402
from stdrc_core.ltx.reference_layout import Decision, ReferenceLayout  # noqa: E402
from stdrc_core.method import reference  # noqa: E402
from stdrc_core.method.layout import Placement  # noqa: E402
from stdrc_core.method.reference import ReferenceTimestep  # noqa: E402
from stdrc_core.train import clip_stages  # noqa: E402
from stdrc_core.train.assemble import ReferenceEncoder  # noqa: E402
from stdrc_core.train.face_losses import FaceLosses  # noqa: E402
from stdrc_core.train.objective import TrainingSample  # noqa: E402

SHOT = Shot(num_frames=49, height=512, width=768, num_steps=2)
FRAMES = [49, 512, 768, 3]
FEW_LAYERS = 2
# Frames, height and width in pixels.
Size = tuple[int, int, int]
CASES: dict[str, Callable[[Path], None]] = dict(fake_cuda_metrics.CASES)


def case(function: Callable[[Path], None]) -> Callable[[Path], None]:
    CASES[function.__name__] = function
    return function


@contextmanager
def opened(folder: Path, **files: published_files.PublishedFile) -> Iterator[dict[str, Path]]:
    """In the block the paths that it gets, one for each of `files`, are read as these files."""
    paths = {name: folder / f"{name}.safetensors" for name in files}
    for path in paths.values():
        path.touch()

    def safe_open(path: str | Path, framework: str) -> published_files.PublishedFile:
        return files[Path(path).stem]

    with (
        fake_cuda(),
        mock.patch.object(checkpoint_files, "safe_open", safe_open),
        mock.patch.object(lora_file, "safe_open", safe_open),
    ):
        yield paths


@contextmanager
def pipeline(
    folder: Path, version: str = "2.3", num_layers: int = FEW_LAYERS, **more: Any
) -> Iterator[Pipeline]:
    """The pipeline of `generate`, loaded by its own code onto the GPU; `more` are a `vae` and a
    `lora`.

    All layers are of one make, so that most cases have a few of them.
    """
    # The schedule picks sigmas by their size, and photos are refused by the size of their numbers.
    schedule = mock.patch.object(
        pipeline_module, "schedule_from", lambda start, _: torch.tensor([start, 0.2, 0.0])
    )
    taken = mock.patch.object(reference, "_check_photo", lambda _: None)
    file = published_files.ltx(version, num_layers)
    with opened(folder, checkpoint=file, **more) as paths, schedule, taken:
        loras = [paths.pop("lora")] if "lora" in paths else []
        args = argparse.Namespace(**{"vae": None, "lora": loras, "offload": False} | paths)
        decision = Decision(layout=ReferenceLayout(), sentence="")
        yield models.load_pipeline(args, decision, CUDA, torch.randn(1024, 4096))


def sampled(made: Pipeline, **more: object) -> Tensor:
    """One clip of a photo and a prompt, which `generate` holds on the CPU."""
    photos, contexts = [torch.rand(1, 700, 500, 3)], torch.randn(1, 1024, 4096)
    shot = more.pop("shot", SHOT)
    return made.many(more.pop("photos", photos), contexts, shot, [0], **more)


def generates(folder: Path, version: str, num_layers: int, **more: Any) -> None:
    with pipeline(folder, version, num_layers, **more) as made:
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
    generates(folder, "2.3", published_files.NUM_LAYERS)


@case
def generate_2_5(folder: Path) -> None:
    generates(folder, "2.5", FEW_LAYERS, vae=published_files.conv_vae())


@case
def generate_with_a_lora(folder: Path) -> None:
    """Its halves lie on the CPU, the weights on the GPU."""
    with pipeline(folder, lora=published_files.lora(FEW_LAYERS)) as made:
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
def captions_2_3(folder: Path) -> None:
    """Gemma 3 12B's language model and LTX-2.3's connector, as `generate` and `prepare` do it."""
    from transformers import Gemma3TextConfig, Gemma3TextModel

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
    with opened(folder, checkpoint=published_files.ltx("2.3")) as paths:
        made = connector.load_connector(paths["checkpoint"]).to(device=CUDA, dtype=torch.bfloat16)
        encoder = text.GemmaText("gemma", Tokenizer(), filled(model, torch.bfloat16), made)
        check(encoder.encode("a person"), [1024, 4096], torch.float32, "cpu")


@case
def captions_2_5(folder: Path) -> None:
    """Gemma 4 12B in one file, and the connector of LTX-2.5's transformer, by our own loader."""
    files = {"checkpoint": published_files.ltx("2.5"), "gemma": published_files.gemma_4()}
    tokenizer = mock.patch.object(gemma4, "_tokenizer", lambda *_: Tokenizer())
    # Fake weights take no memory, and accelerate cannot make them empty.
    empty = mock.patch("accelerate.init_empty_weights", lambda **_: nullcontext())
    with opened(folder, **files) as paths, tokenizer, empty:
        encoder = text.load_gemma(paths["gemma"], paths["checkpoint"], CUDA)
        assert {p.device.type for p in encoder.model.parameters()} == {"cuda"}
        check(encoder.encode("a person"), [1024, 4096], torch.float32, "cpu")


def encodes_and_decodes(folder: Path, file: published_files.PublishedFile, size: Size) -> None:
    """As the stage of `prepare` encodes a clip, and as validation decodes it."""
    latent_size = [128, (size[0] - 1) // 8 + 1, size[1] // 32, size[2] // 32]
    taken = mock.patch.object(reference, "_check_photo", lambda _: None)
    with opened(folder, vae=file) as paths, taken:
        made = vae.load_vae(paths["vae"], torch.bfloat16).to(CUDA)
        stages = clip_stages.make_stages({}, None, vae=made, text=None, finder=None)
        clip = torch.zeros(*size, 3, dtype=torch.uint8)
        latent = stages["encode"](clip_stages.Work(entry=None, clip=clip)).latent
        check(latent, latent_size, torch.bfloat16, "cpu")
        on_gpu = torch.randn(1, *latent_size, device=CUDA)
        check(made.decode(on_gpu), [1, 3, *size], torch.float32, "cuda")
        encoder = ReferenceEncoder(made, *size[1:], CUDA)
        photo = encoder([torch.rand(1, 300, 200, 3)])
        check(photo, [1, 128, 1, *latent_size[2:]], torch.float32, "cuda")


@case
def clips_2_3(folder: Path) -> None:
    encodes_and_decodes(folder, published_files.ltx("2.3"), (49, 512, 768))


@case
def clips_2_5(folder: Path) -> None:
    encodes_and_decodes(folder, published_files.conv_vae(), (49, 512, 768))


@case
def clips_2_5_by_diffusion(folder: Path) -> None:
    """A small clip, since the decoder has thousands of tiles in a large one."""
    encodes_and_decodes(folder, published_files.diffusion_vae(), (9, 64, 96))


@case
def identity_losses(folder: Path) -> None:
    """L_id and L_tic through LTX-2.5's convolutional decoder and buffalo_l's ArcFace, and their
    gradient with respect to the latent."""
    grid = (128, 7, 16, 24)
    middle = torch.tensor([384.0, 256.0])
    sample = TrainingSample(
        latent=torch.zeros(grid),
        context=torch.zeros(1024, 4096),
        photo=torch.zeros(1, 512, 768, 3),
        landmarks=(arcface_template().float() + middle).expand(49, 5, 2),
        has_face=torch.ones(49, dtype=torch.bool),
        e_ref=torch.ones(512),
    )
    view = FaceLosses._view

    def with_real_numbers(losses: FaceLosses, clean: Tensor, _: object, draws: Any) -> Any:
        """What is looked at depends on numbers, and is drawn and cut on the CPU."""
        with unset_fake_temporarily():
            real = view(losses, torch.zeros(clean.shape), sample, draws)
        window = clean[tuple(map(slice, real.window.shape))]
        landmarks = torch.zeros(real.landmarks.shape)
        frames = torch.zeros(real.frames.shape, dtype=torch.int64)
        return replace(real, window=window, landmarks=landmarks, frames=frames)

    generators = [torch.Generator()]
    recognizer = sized_recognizer(torch.device("meta"))
    with (
        opened(folder, vae=published_files.conv_vae()) as paths,
        mock.patch.object(FaceLosses, "_view", with_real_numbers),
        torch.backends.cudnn.flags(enabled=False),
        torch.enable_grad(),
    ):
        decoder = vae.load_vae(paths["vae"], torch.bfloat16).to(CUDA)
        decoder.enable_gradient_checkpointing()
        embed = filled(recognizer, torch.float32).embed_faces
        fake = replace(sample, e_ref=torch.ones(512))
        for margin in (None, 2):
            losses = FaceLosses(
                decoder.decode, embed, num_latent_frames=3, num_frames=8, crop_margin=margin
            )
            clean = torch.randn(1, *grid, device=CUDA, requires_grad=True)
            ids, tics = losses(clean, [fake], generators)
            check(ids, [1], torch.float32, "cuda")
            (gradient,) = gradients((ids + tics).sum(), [clean])
            check(gradient, [1, *grid], torch.float32, "cuda")


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


@case
def a_way_over_the_cpu(folder: Path) -> None:
    """The tokens' boxes, which the transformer moves itself: a GPU says nothing."""

    def moved(_: object, args: tuple, kwargs: dict[str, Any]) -> tuple:
        return args, kwargs | {"video_coords": kwargs["video_coords"].cpu()}

    with pipeline(folder) as made:
        made.backbone.transformer.register_forward_pre_hook(moved, with_kwargs=True)
        sampled(made)


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
