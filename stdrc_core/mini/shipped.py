"""Where the miniature's files are that ship with this project; weights/README.md is their card."""

from __future__ import annotations

from pathlib import Path

_HERE = Path(__file__).parent
_FOLDER = _HERE / "weights"
FACES = _FOLDER / "faces"
CHECKPOINT_NAME = "stdrc_mini.safetensors"
ONE_PASS_NAME = "stdrc_mini_one_pass.safetensors"
CHECKPOINT = _FOLDER / CHECKPOINT_NAME
# ComfyUI offers all files of a folder as models of one kind, so LoRAs have a folder of their own.
ONE_PASS_LORA = _HERE / "loras" / ONE_PASS_NAME
