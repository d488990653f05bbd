"""What the loaded weights say of their training, read from where ComfyUI keeps it.

A LoRA's metadata are attached to the model that its loader returns. The next LoRA's metadata take
their place, but each model knows the one that it was cloned from, and that one still has the
former. Loaders of other packs often leave the metadata out, and none keeps the tensors that are no
LoRA layers; both are then read from the files that the workflow names. Full weights' metadata are
among the settings that their transformer was built with.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial

import folder_paths
from comfy.model_patcher import ModelPatcher

from ...stdrc_core.ltx.adapters import Adapter
from ...stdrc_core.ltx.guidance_embedding import GuidanceEmbedding, read_guidance_embedding
from ...stdrc_core.ltx.lora_file import read_metadata
from ...stdrc_core.ltx.reference_layout import Decision, LayoutChoice
from ...stdrc_core.ltx.slot_tags import SlotTags, read_slot_tags
from .version import model_version


def decide_layout(choice: LayoutChoice, model: ModelPatcher) -> Decision:
    """Decides where references stand on `model`, by `choice` and by the LoRAs that are on it now.

    The decision tells of weights that were trained on another version of LTX than the model. Raises
    ValueError if `auto` needs what the weights say and that cannot be read.
    """
    paths = list(_paths(choice.lora_files))
    attached = list(lora_metadata(model))
    of_files = [metadata for metadata in map(read_metadata, paths) if metadata not in attached]
    base = model.model
    return choice.decide(
        [*attached, *of_files],
        base.model_config.unet_config,
        model_version(base.diffusion_model),
        partial(_find_tags, paths),
    )


def _paths(lora_files: Iterable[str]) -> Iterator[str]:
    """Yields the paths of those LoRA files that are there and are safetensors."""
    for name in lora_files:
        # Some loaders leave the ending out.
        for file_name in (name, f"{name}.safetensors"):
            path = folder_paths.get_full_path("loras", file_name)
            if path is not None and path.endswith(".safetensors"):
                yield path


def _find_tags(paths: Iterable[str], adapter: Adapter) -> SlotTags | None:
    """Reads an adapter's slot tags from the first of these LoRA files that has some."""
    found = (read_slot_tags(path, adapter.tags.scale) for path in paths)
    return next(filter(None, found), None)


def find_guidance_embedding(lora_files: Iterable[str]) -> GuidanceEmbedding | None:
    """Reads the embedding of guidance scales from the first of these LoRA files that has one."""
    found = map(read_guidance_embedding, _paths(lora_files))
    return next(filter(None, found), None)


def lora_metadata(model: ModelPatcher) -> Iterator[Mapping[str, str]]:
    """Yields the metadata of each LoRA on `model` whose loader kept them, the last LoRA first."""
    patcher: ModelPatcher | None = model
    last = None
    while patcher is not None:
        metadata = patcher.get_attachment("lora_metadata")
        # A clone has its parent's attachments until a loader sets its own.
        if metadata and metadata is not last:
            yield metadata
            last = metadata
        patcher = patcher.parent
