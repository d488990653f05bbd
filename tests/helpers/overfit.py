"""The miniature overfitted by the commands: two clips of one caption, told apart by a photo."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
import yaml
from torch import Tensor

from helpers import commands
from helpers.clips import encode
from helpers.drawn_faces import BLUE, RED, SIDE, caption, draw, write_pack, write_photo
from stdrc_core.ltx.backbone import VideoBackbone, load_backbone
from stdrc_core.ltx.vae import load_vae
from stdrc_core.photo_file import load_photo
from stdrc_core.train.assemble import ReferenceEncoder
from stdrc_core.train.cache import Cache

NUM_FRAMES, NUM_STEPS, FPS = 9, 50, 24.0
PERSONS = {"red": RED, "blue": BLUE}
CAPTION = "a person looks up"
# One stream sees the text alone, one the photo too, twice as strongly: s_y = 1 leaves v0 out.
TEXT_SCALE, REFERENCE_SCALE, NUM_SAMPLING_STEPS = 1.0, 2.0, 8


@dataclass(frozen=True, kw_only=True)
class Overfit:
    """What the commands left on disk; persons are named by their colour."""

    folder: Path
    base: Path

    @property
    def out(self) -> Path:
        return self.folder / "run"

    @property
    def weights(self) -> Path:
        return self.out / "stdrc_full.safetensors"

    def photo(self, person: str) -> Tensor:
        """`[1, h, w, 3]` in [0, 1]."""
        return load_photo(self.folder / "clips" / f"{person}.ref.png")

    def clip(self, person: str) -> Tensor:
        """The clean latent, `[1, C, T, H, W]`."""
        cache = Cache(self.folder / "cache")
        return cache[cache.ids.index(f"{person}.mp4")].latent[None].float()

    def reference(self, person: str) -> Tensor:
        """The photo's latent, `[1, C, 1, H, W]`."""
        encode = ReferenceEncoder(load_vae(self.base), SIDE, SIDE, torch.device("cpu"))
        with torch.no_grad():
            return encode([self.photo(person)])

    def backbone(self) -> VideoBackbone:
        """The exported weights."""
        return load_backbone(self.weights, dtype=torch.float32).eval()

    def losses(self) -> list[float]:
        lines = (self.out / "log.jsonl").read_text().splitlines()
        return [json.loads(line)["flow"] for line in lines]


def make_overfit(folder: Path, checkpoint: Path) -> Overfit:
    """Prepares, trains, validates and exports in `folder`."""
    clips, cache = folder / "clips", folder / "cache"
    for name, color in PERSONS.items():
        caption(encode(clips / f"{name}.mp4", draw(NUM_FRAMES, color)), CAPTION)
        write_photo(clips / f"{name}.ref.png", color)
    caption(clips / "broken.mp4").write_text("not a video")
    pack = write_pack(folder / "pack")
    commands.train(
        *("prepare", "--data", clips, "--out", cache, "--checkpoint", checkpoint),
        *("--faces", pack, "--text-encoder", "miniature", "--num-frames", NUM_FRAMES),
        *("--height", SIDE, "--width", SIDE, "--fps", FPS, "--device", "cpu"),
    )
    recipe = folder / "recipe.yaml"
    made = Overfit(folder=folder, base=checkpoint)
    values = {
        "model": {
            "checkpoint": str(checkpoint),
            "dtype": "float32",
            "gradient_checkpointing": False,
        },
        "data": {"cache": str(cache)},
        "run": {
            "out": str(made.out),
            "num_steps": NUM_STEPS,
            "batch_size": 8,
            "micro_batch_size": 8,
        },
        # Without identity losses; test_end_to_end trains with them.
        "objective": {"face_pack": str(pack), "lambda_id": 0, "lambda_tic": 0, "text_p_drop": 0},
        "trainable": {"method": "full"},
        "optimizer": {"lr": 5e-3, "beta2": 0.99, "num_warmup_steps": 5},
        "validation": {
            "every": NUM_STEPS,
            "text_encoder": "miniature",
            "num_steps": NUM_SAMPLING_STEPS,
            "text_scale": TEXT_SCALE,
            "reference_scale": REFERENCE_SCALE,
            "items": [
                {"prompt": CAPTION, "photo": str(clips / f"{name}.ref.png")} for name in PERSONS
            ],
        },
    }
    recipe.write_text(yaml.safe_dump(values))
    commands.train(recipe)
    return made
