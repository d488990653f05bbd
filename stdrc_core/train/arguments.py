"""The arguments of the commands of `python -m stdrc_core.train`, a function for each command.

Nothing heavy is imported here, so that `--help` comes at once (commands).
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from ..mini.text import MINIATURE

# The size of the clips of a cache that is not there, for `--rehearse`.
NUM_FRAMES, HEIGHT, WIDTH = 49, 512, 768
_QUANTIZATIONS = ("none", "int8")
_DTYPES = ("bfloat16", "float32")


def prepare(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--data", type=Path, required=True, help="folder of clips, .jsonl manifest or VIP .json")
    add("--clips", type=Path, help="where VIP-200K's clips are; by default beside its .json")
    add("--out", type=Path, required=True, help="cache folder, new or begun")
    add("--checkpoint", type=Path, required=True, help="LTX-2 file, transformer or folder")
    add("--vae", type=Path, help="file of the video VAE; by default --checkpoint")
    add("--faces", type=Path, required=True, help="folder of an InsightFace pack, as buffalo_l")
    add("--text-encoder", required=True, help=f"Gemma's folder or file, or {MINIATURE!r}")
    add("--num-frames", type=int, default=121, help="frames of a clip, 8n + 1")
    add("--height", type=int, default=544, help="pixels, a multiple of 32")
    add("--width", type=int, default=960, help="pixels, a multiple of 32")
    add("--fps", type=float, default=24.0, help="frame rate that clips are resampled to")
    add("--min-cosine", type=float, default=0.25, help="least likeness of clip and reference")
    add("--shard-size", type=int, default=32, help="samples a file")
    add("--retry", action="store_true", help="try again what earlier runs set aside")
    add("--device", help="cpu, cuda, cuda:1, ...; by default this process's GPU")
    add("--text-device", help="for Gemma, 24 GB; by default --device")
    add("--text-quantization", choices=_QUANTIZATIONS, default="none", help="of Gemma's weights")
    add("--vae-dtype", choices=_DTYPES, help="by default bfloat16 on CUDA, else float32")
    add("--rank", type=int, default=int(os.environ.get("RANK", "0")), help="this process")
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    add("--world-size", type=int, default=world_size, help="number of processes")
    add("--rehearse", action="store_true", help="says what a clip takes, and makes no cache")
    add("--vram", type=float, default=24.0, help="GiB of the GPU that --rehearse judges for")


def run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", type=Path, help="YAML recipe")
    parser.add_argument(
        "--set",
        dest="changes",
        metavar="SECTION.KEY=VALUE",
        action="append",
        default=[],
        help="changes a value of the recipe; may be given several times",
    )
    parser.add_argument(
        "--rehearse",
        action="store_true",
        help="prints the resolved configuration and what a step of the run takes, and stops; "
        "neither a GPU nor files of weights are needed",
    )
    add = parser.add_argument_group("with --rehearse").add_argument
    add("--gpus", type=int, default=1, help="GPUs that share the run, by default %(default)s")
    add("--vram", type=float, default=24, help="GiB of each GPU, by default %(default)s")
    add("--num-frames", type=int, help=f"where no cache is: its frames, {NUM_FRAMES} if not")
    add("--height", type=int, help=f"where no cache is: its height, {HEIGHT} if not given")
    add("--width", type=int, help=f"where no cache is: its width, {WIDTH} if not given")
    add("--report", type=Path, metavar="FILE", help="writes it to a JSON file as well")


def export(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, help="folder of a run (its run.out)")
    parser.add_argument(
        "--checkpoint",
        default="last",
        help="last (default), best (by FaceSim), or a name in RUN/checkpoints",
    )
    parser.add_argument(
        "--out",
        type=Path,
        help="file to write; by default in RUN, named after the checkpoint",
    )


def configuration(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, help="file to write; by default the page is printed")
