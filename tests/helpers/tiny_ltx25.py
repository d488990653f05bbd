"""The split files of a tiny LTX-2.5, and its training by the commands that users type."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import yaml
from safetensors.torch import load_file, save_file

from helpers import commands, tiny_diffusion_vae, tiny_gemma4
from helpers.clips import encode
from helpers.drawn_faces import BLUE, RED, SIDE, caption, draw, write_pack, write_photo
from stdrc_core.mini.config import VAE_CONFIG

NUM_FRAMES = 9
CAPTION = "a red car turns left"


@dataclass(frozen=True, kw_only=True)
class Files:
    transformer: Path
    text_encoder: Path
    vae: Path
    """With the miniature's convolutional decoder."""
    diffusion_vae: Path


def write_files(folder: Path, mini_checkpoint: Path) -> Files:
    """As Lightricks splits them, each with the version in its metadata."""
    connectors = tiny_gemma4.build_connectors()
    return Files(
        transformer=tiny_gemma4.write_transformer(folder / "transformer.safetensors", connectors),
        text_encoder=tiny_gemma4.write_packed(
            folder / "gemma4.safetensors", tiny_gemma4.build(), connectors
        ),
        vae=write_conv_vae(folder / "vae_conv.safetensors", mini_checkpoint, "2.5.0"),
        diffusion_vae=tiny_diffusion_vae.write(
            folder / "vae.safetensors",
            tiny_diffusion_vae.file_tensors(*tiny_diffusion_vae.build()),
        ),
    )


def write_conv_vae(path: Path, mini_checkpoint: Path, version: str | None) -> Path:
    tensors = {
        name.removeprefix("vae."): value.float()
        for name, value in load_file(mini_checkpoint).items()
        if name.startswith("vae.")
    }
    metadata = {"config": json.dumps({"vae": VAE_CONFIG})}
    save_file(tensors, path, metadata=metadata | ({"model_version": version} if version else {}))
    return path


def write_clips(folder: Path) -> Path:
    """Two persons with a photo each."""
    for name, color in (("red", RED), ("blue", BLUE)):
        path = encode(folder / f"{name}.mp4", draw(NUM_FRAMES + 4, color))
        caption(path)
        path.with_suffix(".txt").write_text(CAPTION)
        write_photo(folder / f"{name}.ref.png", color)
    return folder


def prepare(folder: Path, files: Files, vae: Path, clips: Path, pack: Path) -> Path:
    cache = folder / "cache"
    commands.train(
        *("prepare", "--data", clips, "--out", cache, "--checkpoint", files.transformer),
        *("--vae", vae, "--text-encoder", files.text_encoder, "--faces", pack),
        *("--num-frames", NUM_FRAMES, "--height", SIDE, "--width", SIDE),
    )
    return cache


def recipe(folder: Path, files: Files, cache: Path, pack: Path, num_steps: int) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(
        yaml.safe_dump(
            {
                "model": {
                    "checkpoint": str(files.transformer),
                    "vae": str(files.vae),
                    "dtype": "float32",
                },
                "data": {"cache": str(cache)},
                "run": {
                    "out": str(folder / "run"),
                    "num_steps": num_steps,
                    "batch_size": 2,
                    "micro_batch_size": 2,
                },
                "objective": {"face_pack": str(pack), "identity_latent_frames": 1},
                "trainable": {"method": "lora", "rank": 4, "alpha": 4},
                "optimizer": {"lr": 1e-2},
            }
        )
    )
    return path


def trained(folder: Path, files: Files, num_steps: int = 20) -> Path:
    """Prepares, trains and exports; returns the LoRA's file."""
    clips = folder / "clips"
    clips.mkdir()
    pack = write_pack(folder / "pack")
    cache = prepare(folder, files, files.vae, write_clips(clips), pack)
    commands.train(recipe(folder, files, cache, pack, num_steps))
    out = folder / "ltx25_lora.safetensors"
    commands.train("export", folder / "run", "--out", out)
    return out
