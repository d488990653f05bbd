"""transformers' CLIP, read from a folder as it is published; nothing is downloaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    from transformers import CLIPModel

_Opened = TypeVar("_Opened")


def open_clip(folder: Path) -> CLIPModel:
    """The model of a folder, frozen; raises ValueError where tensors are missing in the folder."""
    from transformers import CLIPModel

    model, names = open_from_folder(folder, CLIPModel.from_pretrained, output_loading_info=True)
    if names["missing_keys"]:
        raise ValueError(
            f"weights {folder} lack {len(names['missing_keys'])} tensors, among them "
            f"{sorted(names['missing_keys'])[0]}; needs CLIP's folder as OpenAI publishes it: "
            "download it again."
        )
    return model.eval().requires_grad_(False)


def embed_images(model: CLIPModel, pixels: Tensor) -> Tensor:
    """The embeddings `[B, D]`, of length 1, of prepared images `[B, 3, S, S]`."""
    seen = model.vision_model(pixel_values=pixels).pooler_output
    return F.normalize(model.visual_projection(seen), dim=-1)


def embed_text(model: CLIPModel, tokens: dict[str, Tensor]) -> Tensor:
    """The embeddings `[B, D]`, of length 1, of texts in tokens `[B, N]`."""
    read = model.text_model(**tokens).pooler_output
    return F.normalize(model.text_projection(read), dim=-1)


def open_from_folder(
    folder: Path, from_pretrained: Callable[..., _Opened], **options: Any
) -> _Opened:
    """What `from_pretrained` makes of a folder; raises ValueError where it cannot be read."""
    try:
        return from_pretrained(str(folder), local_files_only=True, **options)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(
            f"weights {folder} could not be read ({reason}); needs CLIP's folder as OpenAI "
            "publishes it: download it again."
        ) from error
