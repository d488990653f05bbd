"""What the loaded weights say of their training, as ComfyUI keeps it.

ComfyUI keeps two things. A LoRA's metadata are an attachment of the model that its loader returns:
the next LoRA's take their place, but every model knows the one that it was cloned from, and that
one still has them. Full weights' are among the settings that their transformer was built with.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from comfy.model_patcher import ModelPatcher

from ...stdrc_core.ltx.reference_layout import Decision, LayoutChoice


def decide_layout(choice: LayoutChoice, model: ModelPatcher) -> Decision:
    """What `model`, with the LoRAs that are on it by now, is sampled with.

    Raises ValueError where `auto` needs what the weights say and that cannot be read.
    """
    return choice.decide(list(lora_metadata(model)), model.model.model_config.unet_config)


def lora_metadata(model: ModelPatcher) -> Iterator[Mapping[str, str]]:
    """Of each LoRA on `model` whose loader kept it, the last one first."""
    patcher: ModelPatcher | None = model
    last = None
    while patcher is not None:
        metadata = patcher.get_attachment("lora_metadata")
        # A clone has its parent's attachments until a loader sets its own.
        if metadata and metadata is not last:
            yield metadata
            last = metadata
        patcher = patcher.parent
