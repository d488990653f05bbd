"""Where references stand for a checkpoint and LoRAs that are files: `generate`'s and a run's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .base_version import base_version
from .checkpoint_files import open_checkpoint
from .lora_file import read_metadata
from .reference_layout import Decision, LayoutChoice


def decide_for_files(checkpoint: Path, loras: Sequence[Path], **chosen: Any) -> Decision:
    """Decides by what the files say, of which headers alone are read.

    `loras` are in the order in which they are merged, and `chosen` are the user's choices, fields
    of `LayoutChoice`. Raises ValueError for files that cannot be read, and as `LayoutChoice.decide`
    does.
    """
    last_first = loras[::-1]
    choice = LayoutChoice(lora_files=tuple(path.name for path in last_first), **chosen)
    metadata = [read_metadata(path) for path in last_first]
    opened = open_checkpoint(checkpoint)
    settings = opened.config.get("transformer", {})
    return choice.decide(metadata, settings, base_version(opened.tensors))
