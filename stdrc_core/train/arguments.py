"""The arguments of the commands of `python -m stdrc_core.train`, a function for each command.

Nothing heavy is imported here, so that `--help` comes at once (commands).
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from ..mini.text import MINIATURE
from .collect.options import CollectConfig

# The size of the clips of a cache that is not there, for `--rehearse`.
NUM_FRAMES, HEIGHT, WIDTH = 49, 512, 768
_QUANTIZATIONS = ("none", "int8")
_DTYPES = ("bfloat16", "float32")
_PROVIDERS = ("auto", "cuda", "cpu")


def collect(parser: argparse.ArgumentParser) -> None:
    add, default = parser.add_argument, CollectConfig()
    add("--footage", type=Path, help="folder of videos, and photos if you have some")
    add("--out", type=Path, required=True, help="folder of the data set, new or begun")
    add("--faces", type=Path, help="folder of an InsightFace pack, as buffalo_l")
    add("--num-frames", type=int, default=default.num_frames, help="frames of a clip, 8n + 1")
    add("--fps", type=float, default=default.fps, help="frame rate that prepare resamples to")
    add("--persons", type=int, default=default.num_persons, help="persons seen all the time")
    add("--min-face", type=int, default=default.min_face_px, help="least side of a face, pixels")
    add("--min-sharpness", type=float, default=default.min_sharpness, help="of faces, 0 to 1")
    add("--max-burnt", type=float, default=default.max_burnt, help="share burnt out or in the dark")
    add("--max-yaw", type=float, default=default.max_yaw_deg, help="degrees, in most frames")
    add("--min-motion", type=float, default=default.min_motion, help="in face widths")
    add("--shot-threshold", type=float, default=default.shot_threshold, help="PySceneDetect's")
    add("--sample-fps", type=float, default=default.sample_fps, help="frames a second searched")
    add("--same-person", type=float, help="least cosine of one person; by default measured")
    add("--min-reference-cosine", type=float, help="by default that of --same-person")
    add("--references", type=int, default=default.num_references, help="of a person in a clip")
    add("--captions", help="'sidecar', an OpenAI-compatible address, or a model's folder")
    add("--caption-model", help="the model's name at that address; by default its first")
    add("--caption-timeout", type=float, default=120.0, help="seconds to wait for a caption")
    add("--jobs", type=int, default=default.jobs, help="files in work at a time")
    add("--retry", action="store_true", help="try again what failed before")
    add("--device", choices=_PROVIDERS, default="auto", help="for the face pack")
    add("--rank", type=int, default=int(os.environ.get("RANK", "0")), help="this process")
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    add("--world-size", type=int, default=world_size, help="number of processes")
    add("--look", action="store_true", help="shows OUT/report.html and takes its ticks")


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
