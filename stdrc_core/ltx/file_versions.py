"""Which version of LTX a model's files are for, and one sentence where they do not go together.

LTX-2.5's latents have the shape of LTX-2.3's, and its captions the width, so files of both versions
load beside each other without a word. Lightricks' files name their version in their metadata; where
they do not, a transformer is known by its tensors (base_version), a VAE by its decoder or by the
name that it is published under. Of a VAE of which nothing tells, nothing is said.
"""

from __future__ import annotations

import re
from pathlib import Path

from .base_version import base_version, title
from .checkpoint import VAE_PREFIX
from .checkpoint_files import Checkpoint, open_checkpoint

# Metadata of Lightricks' files: the version, "2.5.0" or "2.3.rc1" for example, and in LTX-2.5's
# transformer which Gemma 4 it was trained with.
_VERSION_KEY = "model_version"
LIGHTRICKS_KEYS = (_VERSION_KEY, "gemma_source_checkpoint")
# The first version with Gemma 4 and the diffusion decoder; its early builds called themselves 2.4.
_FIRST_OF_2_5 = (2, 4)
# The tensor of the diffusion decoder that takes the noise in.
_NOISE_LAYER = "decoder.conv_in_x_t.weight"
# The last block of the decoder of LTX-2.3 and later; LTX-2.0's decoder has two blocks less.
_BLOCK_OF_2_3 = "decoder.up_blocks.8.res_blocks.0.conv1.conv.weight"
_BLOCK_OF_2_0 = "decoder.up_blocks.6.res_blocks.0.conv1.conv.weight"
# Names that video VAEs are published under, by Lightricks and for ComfyUI.
_VAE_NAMES = {
    "2.5": re.compile(r"ltx-?2\.?5[-_].*vae"),
    "2.3": re.compile(r"ltx-?2\.?3[-_].*vae"),
}

CONV_VAE_2_5 = "ltx-2.5-video-vae-conv-bf16.safetensors"
DIFFUSION_VAE_2_5 = "ltx-2.5-video-vae-bf16.safetensors"
TEXT_ENCODER_2_5 = "gemma4-12b-with-proj-ltx-2.5-bf16.safetensors"


def transformer_version(path: str | Path) -> str | None:
    """Returns the version of LTX of a transformer's file or diffusers folder, by its tensors.

    Returns None for another model. Raises ValueError as `open_checkpoint` does.
    """
    return base_version(open_checkpoint(path).tensors)


def needs_gemma_4(version: str | None) -> bool:
    """Returns whether this version of LTX was trained with Gemma 4."""
    return version is not None and tuple(map(int, version.split("."))) >= _FIRST_OF_2_5


def vae_version(path: str | Path) -> str | None:
    """Returns the version of LTX that the video VAE of a file or diffusers folder is for.

    Returns None where nothing tells it. Raises ValueError as `open_checkpoint` does.
    """
    path = Path(path)
    checkpoint = open_checkpoint(path, "vae")
    if checkpoint.is_diffusers:
        pipeline = checkpoint.path.parent / "transformer"
        has_transformer = (pipeline / "config.json").is_file()
        return transformer_version(pipeline) if has_transformer else version_by_name(path.name)
    if version := _stated(checkpoint):
        return version
    if version := base_version(checkpoint.tensors):
        return version
    names = {name.removeprefix(VAE_PREFIX) for name in checkpoint.tensors}
    if decodes_by_diffusion(checkpoint):
        return "2.5"
    if _BLOCK_OF_2_0 in names and _BLOCK_OF_2_3 not in names:
        return "2.0"
    return version_by_name(path.name)


def version_by_name(name: str) -> str | None:
    """Returns the version that a video VAE is for by the name that it is published under."""
    return next((each for each, known in _VAE_NAMES.items() if known.match(name.lower())), None)


def decodes_by_diffusion(checkpoint: Checkpoint) -> bool:
    """Returns whether the file's VAE has LTX-2.5's one-step diffusion decoder."""
    return not {_NOISE_LAYER, VAE_PREFIX + _NOISE_LAYER}.isdisjoint(checkpoint.tensors)


def is_diffusion_vae(path: str | Path) -> bool:
    """Returns whether the video VAE of a file or folder has the one-step diffusion decoder.

    Raises ValueError as `open_checkpoint` does.
    """
    return decodes_by_diffusion(open_checkpoint(path, "vae"))


def require_same_version(checkpoint: str | Path, vae: str | Path | None) -> None:
    """Raises ValueError where the VAE is known to be for another version than the transformer.

    `vae` is None where the VAE is read from the checkpoint itself.
    """
    if vae is None or Path(vae) == Path(checkpoint):
        return
    version, other = transformer_version(checkpoint), vae_version(vae)
    if version is None or other is None or version == other:
        return
    remedy = f"take {CONV_VAE_2_5}" if version == "2.5" else f"take {title(version)}'s own"
    raise ValueError(
        f"vae {vae} is of {title(other)}, checkpoint {checkpoint} is {title(version)}; needs a VAE "
        f"of {title(version)}: {remedy}."
    )


def require_right_gemma(
    checkpoint: str | Path, text_encoder: str | Path, *, has_gemma_4: bool
) -> None:
    """Raises ValueError where the text encoder is of another Gemma than the transformer needs.

    `has_gemma_4` says that it is a Gemma 4. Of a transformer whose version nothing tells, nothing
    is said.
    """
    version = transformer_version(checkpoint)
    if version is None or needs_gemma_4(version) == has_gemma_4:
        return
    if has_gemma_4:
        found, needed = "a Gemma 4, that of LTX-2.5", "Gemma 3 12B: name its folder"
    else:
        found = "no Gemma 4"
        needed = f"the Gemma 4 that Lightricks tuned for it: name {TEXT_ENCODER_2_5}"
    raise ValueError(
        f"text encoder {text_encoder} is {found}, checkpoint {checkpoint} is {title(version)}; "
        f"needs {needed}."
    )


def _stated(checkpoint: Checkpoint) -> str | None:
    """Returns the version that a file's metadata name, None where they name none."""
    found = re.match(r"(\d+)\.(\d+)", checkpoint.metadata.get(_VERSION_KEY, ""))
    if not found:
        return None
    version = (int(found[1]), int(found[2]))
    return "2.5" if version == _FIRST_OF_2_5 else f"{version[0]}.{version[1]}"
