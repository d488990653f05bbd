"""Where the miniature's files are that ship with this project; weights/README.md is their card."""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path(__file__).parent / "weights"
FACES = _FOLDER / "faces"
CHECKPOINT_NAME = "stdrc_mini.safetensors"
ONE_PASS_NAME = "stdrc_mini_one_pass.safetensors"
CHECKPOINT = _FOLDER / CHECKPOINT_NAME
