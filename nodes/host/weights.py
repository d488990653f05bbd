"""What the loaded weights say of their training, read from where ComfyUI keeps it.

A LoRA's metadata are attached to the model that its loader returns. The next LoRA's metadata take
their place, but each model knows the one that it was cloned from, and that one still has the
former. Full weights' metadata are among the settings that their transformer was built with.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from comfy.model_patcher import ModelPatcher

from ...stdrc_core.ltx.reference_layout import Decision, LayoutChoice
from .version import model_version


def decide_layout(choice: LayoutChoice, model: ModelPatcher) -> Decision:
    """Decides where references stand on `model`, by `choice` and by the LoRAs that are on it now.

    The decision tells of weights that were trained on another version of LTX than the model. Raises
    ValueError if `auto` needs what the weights say and that cannot be read.
    """
    base = model.model
    return choice.decide(
        list(lora_metadata(model)),
        base.model_config.unet_config,
        model_version(base.diffusion_model),
    )


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
