"""CLIP's two halves by transformers, from a folder as it is published; nothing is downloaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from torch import nn

_Opened = TypeVar("_Opened")


def open_images(folder: Path) -> nn.Module:
    """Pixels `[B, 3, 224, 224]` to `image_embeds` `[B, D]`, projected, not normalised."""
    from transformers import CLIPVisionModelWithProjection

    return _network(folder, CLIPVisionModelWithProjection.from_pretrained)


def open_words(folder: Path) -> nn.Module:
    """Tokens to `text_embeds` `[B, D]`, projected, not normalised."""
    from transformers import CLIPTextModelWithProjection

    return _network(folder, CLIPTextModelWithProjection.from_pretrained)


def opened(folder: Path, open_it: Callable[..., _Opened]) -> _Opened:
    """What `from_pretrained` makes of a folder here; ValueError where it cannot."""
    try:
        return open_it(str(folder), local_files_only=True)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(
            f"weights {folder} could not be read ({reason}); needs CLIP's folder as OpenAI "
            "publishes it: download it again."
        ) from error


def _network(folder: Path, open_it: Callable[..., tuple[nn.Module, dict]]) -> nn.Module:
    # The folder holds both halves: the names of the other one are no mistake, missing ones are.
    network, names = opened(folder, lambda *a, **k: open_it(*a, **k, output_loading_info=True))
    if names["missing_keys"]:
        raise ValueError(
            f"weights {folder} lack {len(names['missing_keys'])} tensors, among them "
            f"{sorted(names['missing_keys'])[0]}; needs CLIP's folder as OpenAI publishes it: "
            "download it again."
        )
    return network.eval().requires_grad_(False)
