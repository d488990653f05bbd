"""Which LTX a transformer is, and which one other weights are for.

The versions are told apart by the tensors that came with each. LTX-2.0 brought the audio tower,
LTX-2.3 gated attention and an AdaLN for the prompt, LTX-2.5 a marker for latent frames that hold a
single pixel frame, and feed-forwards without biases. A LoRA has none of these tensors, and it fits
another version's transformer without a word, so a LoRA's version has to be written down: ST-DRC's
own say it (trained_for), and so do those of some other trainers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

# ComfyUI, single files and diffusers have these names alike.
MARKER = "keyframes_abs_pos_embedding"
_FIRST_BLOCK = "transformer_blocks.0."
# What the first block has of LTX-2.3 that LTX-2.0 does not have.
_OF_2_3 = {"prompt_scale_shift_table", "attn1.to_gate_logits.weight"}

# The names that Lightricks publishes its files under, for example
# ltx-2.5-22b-distilled-lora-450-bf16 (huggingface.co/Lightricks).
_PUBLISHED_NAMES = {
    "2.0": re.compile(r"ltx-2-19b-"),
    "2.3": re.compile(r"ltx-2\.3-22b-"),
    "2.5": re.compile(r"ltx-2\.5-22b-"),
}
# Where a LoRA's metadata say the version: musubi-tuner with LTX-2
# (github.com/AkaneTendo25/musubi-tuner, ltx2_train_network).
_METADATA_KEY, _VERSION = "ss_ltx_version", re.compile(r"\d+\.\d+")


def base_version(names: Iterable[str]) -> str | None:
    """Returns the version of LTX whose transformer has tensors of these `names`.

    It is "0.9" (LTX-Video), "2.0", "2.3" or "2.5", or None for another model. The names may be
    those of a single file, of a diffusers folder or of a module's parameters, with any prefix.
    """
    names = list(names)
    block = {name.partition(_FIRST_BLOCK)[2] for name in names if f".{_FIRST_BLOCK}" in f".{name}"}
    if not {"attn1.to_q.weight", "ff.net.0.proj.weight"} <= block:
        return None
    is_marked = any(name.rpartition(".")[2] == MARKER for name in names)
    if is_marked or "ff.net.0.proj.bias" not in block:
        return "2.5"
    if _OF_2_3 & block:
        return "2.3"
    return "2.0" if any(name.startswith("audio_") for name in block) else "0.9"


def version_by_file(file_name: str) -> str | None:
    """Returns the version that a file of Lightricks' is for, by its published name.

    Folders and upper case do not matter. Returns None for other names.
    """
    stem = file_name.replace("\\", "/").rpartition("/")[2].lower()
    return next((name for name, known in _PUBLISHED_NAMES.items() if known.match(stem)), None)


def version_by_metadata(metadata: Mapping[str, str]) -> str | None:
    """Returns the version that another trainer's LoRA is for, by its safetensors metadata.

    Returns None where they do not say it.
    """
    version = metadata.get(_METADATA_KEY, "")
    return version if _VERSION.fullmatch(version) else None


def title(version: str) -> str:
    """Returns what a version is called in messages."""
    return "LTX-Video 0.9" if version == "0.9" else f"LTX-{version}"
