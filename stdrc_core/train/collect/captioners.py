"""Opens what writes captions: texts beside the videos, a server of the user's, or a local model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from PIL import Image

from .chat_captioner import ChatCaptioner
from .local_captioner import LocalCaptioner

SIDECAR = "sidecar"


class Captioner(Protocol):
    """What makes a caption of some frames of a clip."""

    name: str
    """What it is, and with which instruction it works; captions by another are made again."""

    def caption(self, frames: Sequence[Image.Image]) -> str:
        """The caption. Raises CaptionError where there is none, and ConnectionError where nobody
        answers."""
        ...


def open_captioner(given: str | None, model: str | None, timeout_s: float) -> Captioner | None:
    """The captioner that the user names: an address, or a model's folder; None for neither.

    Raises ValueError where it is none of these, and for a folder without a model.
    """
    if given is None or given == SIDECAR:
        return None
    if given.startswith(("http://", "https://")):
        return ChatCaptioner(given, model, timeout_s)
    if Path(given).is_dir():
        return LocalCaptioner(Path(given))
    raise ValueError(
        f"captions was {given!r}; needs {SIDECAR!r} for texts beside the videos, an address such "
        "as http://127.0.0.1:8080/v1, or the folder of a vision-language model: check it."
    )
