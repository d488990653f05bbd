"""CLIP by transformers, from a folder as it is published; nothing is downloaded."""

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
    """The model, frozen; ValueError where the folder lacks some of it."""
    from transformers import CLIPModel

    model, names = opened(folder, CLIPModel.from_pretrained, output_loading_info=True)
    if names["missing_keys"]:
        raise ValueError(
            f"weights {folder} lack {len(names['missing_keys'])} tensors, among them "
            f"{sorted(names['missing_keys'])[0]}; needs CLIP's folder as OpenAI publishes it: "
            "download it again."
        )
    return model.eval().requires_grad_(False)


def embed_images(model: CLIPModel, pixels: Tensor) -> Tensor:
    """Prepared `[B, 3, S, S]` to `[B, D]` of length 1."""
    seen = model.vision_model(pixel_values=pixels).pooler_output
    return F.normalize(model.visual_projection(seen), dim=-1)


def embed_words(model: CLIPModel, tokens: dict[str, Tensor]) -> Tensor:
    """Tokens `[B, N]` to `[B, D]` of length 1."""
    read = model.text_model(**tokens).pooler_output
    return F.normalize(model.text_projection(read), dim=-1)


def opened(folder: Path, open_it: Callable[..., _Opened], **options: Any) -> _Opened:
    """What `from_pretrained` makes of a folder here; ValueError where it cannot."""
    try:
        return open_it(str(folder), local_files_only=True, **options)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(
            f"weights {folder} could not be read ({reason}); needs CLIP's folder as OpenAI "
            "publishes it: download it again."
        ) from error
