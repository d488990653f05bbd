"""Cost of a training step: `python tests/benchmarks/identity.py [--preset full --gpu]`.

A LoRA step (or `--method full`) on one clip with L_id and L_tic over one without (aim: at most
1.30), tokens a second, operations a second and on a GPU the peak of memory. Time,
steps of all kinds by turns in one run (on a CPU the time of one thread, which other programs do
not lengthen), and floating-point operations, which are counted without running and hold for any
machine (`--preset full --flops` needs none). All weights are random.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

from diffusers import AutoencoderKLLTX2Video, LTX2VideoTransformer3DModel  # noqa: E402
from helpers import tiny_ltx  # noqa: E402
from helpers.tiny_face_networks import IRBlock, ir_net  # noqa: E402

from stdrc_core.faces.align import arcface_template, warp_face  # noqa: E402
from stdrc_core.ltx.backbone import VideoBackbone  # noqa: E402
from stdrc_core.ltx.published import PUBLISHED  # noqa: E402
from stdrc_core.ltx.transformer_config import arguments_of  # noqa: E402
from stdrc_core.ltx.vae import VideoVAE, diffusers_config  # noqa: E402
from stdrc_core.method.grid import LTX_SCALE_FACTORS  # noqa: E402
from stdrc_core.train.assemble import ReferenceEncoder  # noqa: E402
from stdrc_core.train.config import TrainConfig  # noqa: E402
from stdrc_core.train.draws import TrainingSample, draw  # noqa: E402
from stdrc_core.train.face_losses import FaceLosses  # noqa: E402
from stdrc_core.train.loop import GroupedVelocity  # noqa: E402
from stdrc_core.train.objective import Objective  # noqa: E402
from stdrc_core.train.optimizer import make_optimizer  # noqa: E402
from stdrc_core.train.trainable import make_trainable  # noqa: E402

PRESETS: dict[str, dict[str, Any]] = {
    # Transformer and decoder in about the full size's proportion, for one core. Narrow convolutions
    # are slower per operation than the full size's, so the identity losses weigh more in time.
    "mini": {
        "layers_heads_dim": (16, 8, 128),
        "vae_base_channels": 16,
        "recognizer": ir_net,
        "dtype": "float32",
        "latent": (4, 4, 6),
        "prompt_tokens": 64,
        "rounds": 10,
    },
    # LTX-2.3, 49 frames of 512 x 768.
    "full": {
        "layers_heads_dim": (48, 32, 128),
        "vae_base_channels": 128,
        "recognizer": lambda: arcface_r50(),
        "dtype": "bfloat16",
        "latent": (7, 16, 24),
        "prompt_tokens": 1024,
        "rounds": 10,
    },
}
# Changes of the objective, by what the report calls them.
KINDS: dict[str, dict[str, Any]] = {
    "plain": {"lambda_id": 0, "lambda_tic": 0},
    "whole frames": {},
    "crop, margin 4": {"identity_crop_margin": 4},
    "crop, margin 2": {"identity_crop_margin": 2},
    "crop, margin 0": {"identity_crop_margin": 0},
}
AIM = 1.30
# Side of the square that ArcFace sees, of the frame's height: a half-length portrait.
FACE_SHARE = 0.25


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", choices=PRESETS, default="mini")
    parser.add_argument("--gpu", action="store_true", help="on the GPU, not the CPU")
    parser.add_argument("--flops", action="store_true", help="count operations, run nothing")
    parser.add_argument("--rounds", type=int, help="instead of the preset's")
    parser.add_argument("--latent", type=int, nargs=3, metavar=("T", "H", "W"))
    parser.add_argument("--layers", type=int, help="blocks of the transformer, where not all fit")
    parser.add_argument("--method", choices=("lora", "full"), default="lora")
    parser.add_argument("--peak-tflops", type=float, help="of the machine: gives its use")
    args = parser.parse_args()
    preset = PRESETS[args.preset]
    given = {"rounds": args.rounds, "latent": args.latent}
    if args.layers:
        given["layers_heads_dim"] = (args.layers, *preset["layers_heads_dim"][1:])
    chosen = preset | {name: value for name, value in given.items() if value is not None}
    chosen["method"] = args.method
    counted = World(chosen, torch.device("meta"))
    sys.stdout.write(f"{counted.size}, {chosen['dtype']}\n")
    operations = {name: counted.flops(changes) for name, changes in KINDS.items()}
    for name, count in operations.items():
        over = count / operations["plain"]
        report(f"{name:>16}: {count / 1e12:9.4f} TFLOP a step, {over:.3f} of plain")
    if not args.flops:
        torch.set_num_threads(1)
        world = World(chosen, torch.device("cuda" if args.gpu else "cpu"))
        report_run(world, chosen["rounds"], operations, args.peak_tflops)


def report_run(
    world: World, rounds: int, operations: dict[str, int], peak_tflops: float | None
) -> None:
    on_gpu = world.device.type == "cuda"
    name = torch.cuda.get_device_name() if on_gpu else f"{platform.machine()}, one thread"
    report(f"{name}, torch {torch.__version__}, {rounds} rounds")
    steps = {kind: world.step(changes) for kind, changes in KINDS.items()}
    times_s: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for number in range(-1, rounds):
        for kind, step in steps.items():
            if on_gpu:
                torch.cuda.reset_peak_memory_stats()
            started = now_s(on_gpu)
            step(number)
            # The first round warms up.
            if number >= 0:
                times_s[kind].append(now_s(on_gpu) - started)
            # From here on the optimizer has its moments.
            if on_gpu and number == 0:
                report(f"{kind:>16}: peak {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB")
    for kind, values in times_s.items():
        ratios = [a / b for a, b in zip(values, times_s["plain"], strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4) if rounds > 1 else ratios * 3
        median_s = statistics.median(values)
        tflops = operations[kind] / median_s / 1e12
        line = f"{kind:>16}: {median_s * 1e3:9.1f} ms a step (median), "
        line += f"{world.num_tokens / median_s:.0f} tokens/s, {tflops:.4g} TFLOP/s"
        if peak_tflops:
            line += f" ({tflops / peak_tflops:.1%} of the machine's)"
        if kind != "plain":
            line += f", {middle:.3f} of plain (quartiles {low:.3f} to {high:.3f}"
            line += f", aim at most {AIM:.2f})"
        report(line)
    for kind, changes in KINDS.items():
        if "identity_crop_margin" in changes:
            lost = world.crop_error(changes["identity_crop_margin"])
            report(f"{kind:>16}: the aligned face differs by {lost:.2%} of its spread")


def now_s(on_gpu: bool) -> float:
    if on_gpu:
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


def report(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


class World:
    """The networks of a preset with random weights on a device, and a clip with one face."""

    def __init__(self, preset: dict[str, Any], device: torch.device) -> None:
        self.device, dtype = device, getattr(torch, preset["dtype"])
        frames, rows, columns = preset["latent"]
        scale = LTX_SCALE_FACTORS
        num_frames = (frames - 1) * scale.time + 1
        height, width = rows * scale.height, columns * scale.width
        layers, heads, head_dim = preset["layers_heads_dim"]
        settings = tiny_ltx.LTX_2_3 | {
            "num_layers": layers,
            "num_attention_heads": heads,
            "attention_head_dim": head_dim,
            "cross_attention_dim": heads * head_dim,
        }
        channels = preset["vae_base_channels"]
        vae_settings = PUBLISHED["2.3"].vae | {
            "encoder_base_channels": channels,
            "decoder_base_channels": channels,
        }
        torch.manual_seed(0)
        # Built in its own precision: in float32 the full size would not fit everywhere.
        torch.set_default_dtype(dtype)
        with device:
            backbone = VideoBackbone(
                LTX2VideoTransformer3DModel(**arguments_of(settings, "the preset"))
            )
            self.vae = VideoVAE(AutoencoderKLLTX2Video(**diffusers_config(vae_settings)))
        torch.set_default_dtype(torch.float32)
        with device:
            self.recognizer = preset["recognizer"]().eval().requires_grad_(False)
            backbone.transformer.enable_gradient_checkpointing()
            self.vae.enable_gradient_checkpointing()
            make_trainable(backbone, configuration(preset["method"]).trainable, 0)
        # The reference is one latent frame more.
        self.num_tokens = (frames + 1) * rows * columns
        num_parameters = sum(p.numel() for p in backbone.parameters())
        self.model = GroupedVelocity(backbone, configuration(), frame_rate=24.0)
        self.optimizer = make_optimizer(configuration(), self.model)
        self.encode = ReferenceEncoder(self.vae, height, width, device)
        self.size = (
            f"{num_parameters / 1e6:.0f} M parameters, {num_frames} frames of {width} x {height}, "
            f"decoder of {sum(p.numel() for p in self.vae.vae.decoder.parameters()) / 1e6:.1f} M"
        )
        context = torch.randn(preset["prompt_tokens"], backbone.context_dim, device=device)
        face = (arcface_template().float() - 56) * (FACE_SHARE * height / 112)
        self.sample = TrainingSample(
            latent=torch.randn(128, *preset["latent"], device=device),
            context=context,
            photo=torch.rand(1, height, width, 3),
            landmarks=(face + torch.tensor([0.45 * width, 0.35 * height])).expand(num_frames, 5, 2),
            has_face=torch.ones(num_frames, dtype=torch.bool),
            e_ref=torch.randn(self.recognizer[-1].num_features),
        )

    def embed(self, images: Tensor, landmarks: Tensor) -> Tensor:
        return self.recognizer(warp_face(images, landmarks) * 2 - 1)

    def face_losses(self, margin: int | None, embed: Callable[..., Tensor]) -> FaceLosses:
        section = configuration().objective
        return FaceLosses(
            self.vae.decode,
            embed,
            num_latent_frames=section.identity_latent_frames,
            num_frames=section.identity_frames,
            crop_margin=margin,
        )

    def loss(self, changes: dict[str, Any]) -> Callable[[int], Tensor]:
        """The objective of the clip in a step of that number."""
        config = configuration(**changes)
        objective = Objective(
            config.objective,
            config.reference,
            encode_references=self.encode,
            empty_context=self.sample.context,
            face_losses=self.face_losses(config.objective.identity_crop_margin, self.embed),
        )

        def loss(number: int) -> Tensor:
            drawn = draw(self.sample, (0, number, 0), config.objective, config.reference)
            return objective(self.model, [self.sample], [drawn]).total

        return loss

    def step(self, changes: dict[str, Any]) -> Callable[[int], None]:
        loss = self.loss(changes)

        def step(number: int) -> None:
            loss(number).backward()
            self.optimizer.step()
            self.optimizer.zero_grad()

        return step

    def flops(self, changes: dict[str, Any]) -> int:
        loss = self.loss(changes)
        with FlopCounterMode(display=False) as counter:
            loss(0).backward()
        return counter.get_total_flops()

    @torch.no_grad()
    def crop_error(self, margin: int) -> float:
        """Mean difference of the aligned faces to those of whole frames, in standard deviations."""
        seen: list[Tensor] = []

        def keep(images: Tensor, landmarks: Tensor) -> Tensor:
            seen.append(warp_face(images, landmarks))
            return seen[-1].flatten(1)

        for chosen in (None, margin):
            sample = replace(self.sample, e_ref=torch.ones(3 * 112 * 112))
            generator = torch.Generator().manual_seed(0)
            self.face_losses(chosen, keep)(sample.latent[None], [sample], [generator])
        whole, cropped = seen
        return ((cropped - whole).abs().mean() / whole.std()).item()


def configuration(method: str = "lora", **objective: Any) -> TrainConfig:
    """A run as the recipes have it; every sample has its reference, so that all cost alike."""
    return TrainConfig.model_validate(
        {
            "model": {"checkpoint": "random"},
            "data": {"cache": "random"},
            "run": {"out": "none"},
            "reference": {"p_drop": 0},
            "objective": {"face_pack": "random"} | objective,
            "trainable": {"method": method},
        }
    )


def arcface_r50() -> nn.Sequential:
    """ArcFace's r50, with a convolution in every shortcut: about a twentieth more work."""
    blocks, width_in = [], 64
    for width, count in ((64, 3), (128, 4), (256, 14), (512, 3)):
        for index in range(count):
            blocks.append(IRBlock(width_in, width, 2 if index == 0 else 1))
            width_in = width
    return nn.Sequential(
        nn.Conv2d(3, 64, 3, 1, 1, bias=False),
        nn.BatchNorm2d(64),
        nn.PReLU(64),
        *blocks,
        nn.BatchNorm2d(512),
        nn.Flatten(),
        nn.Linear(512 * 7 * 7, 512),
        nn.BatchNorm1d(512),
    )


if __name__ == "__main__":
    main()
