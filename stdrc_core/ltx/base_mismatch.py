"""Tells of weights that were trained on another version of LTX than the model is.

Such a LoRA loads without a word, as most of its tensors have the sizes of both versions. ST-DRC's
own weights say in their metadata which version they were trained on, and so do the LoRAs of some
other trainers; of the adapters that are known by name, and of Lightricks' own LoRAs, it is
published. Weights of which nothing is known are not told of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from .adapters import Adapter, known_by_file
from .adapters import from_metadata as from_others_metadata
from .base_version import title, version_by_file, version_by_metadata
from .trained_for import TrainedFor, from_metadata, from_settings

_Said = TypeVar("_Said", TrainedFor, Adapter)


def base_mismatches(
    version: str | None,
    *,
    adapter: Adapter | None,
    lora_files: Sequence[str],
    lora_metadata: Sequence[Mapping[str, str]],
    settings: Mapping[str, Any],
) -> list[str]:
    """Returns a sentence for each of the weights on a model that are for another version of LTX.

    `version` is the model's; where it is None, nothing is told. `adapter` is the one that the user
    named, `lora_files` are the file names of the LoRAs, `lora_metadata` their safetensors metadata,
    and `settings` those that the transformer was built with.
    """
    if version is None:
        return []
    found = (
        *_named(adapter, lora_files),
        *(_of_metadata(each) for each in lora_metadata),
        *_of_full_weights(settings),
    )
    sentences = [
        f"The model is {title(version)}, and {what} is for {title(other)}: load {title(other)}, or "
        f"weights for {title(version)}."
        for what, other in found
        if other is not None and other != version
    ]
    # An adapter may be known twice, by its name and by its file's.
    return list(dict.fromkeys(sentences))


def _named(adapter: Adapter | None, lora_files: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    if adapter is not None:
        yield adapter.name, adapter.base_version
    for file_name in lora_files:
        if known := known_by_file(file_name):
            yield known.name, known.base_version
        else:
            yield f"the LoRA {file_name}", version_by_file(file_name)


def _of_metadata(metadata: Mapping[str, str]) -> tuple[str, str | None]:
    if weights := _readable(from_metadata, metadata):
        return f"an ST-DRC LoRA on it (trained on {weights.base_model})", weights.base_version
    version = version_by_metadata(metadata)
    if adapter := _readable(from_others_metadata, metadata):
        return adapter.name, adapter.base_version or version
    return "a LoRA on it", version


def _of_full_weights(settings: Mapping[str, Any]) -> Iterator[tuple[str, str | None]]:
    if weights := _readable(from_settings, settings):
        yield f"its ST-DRC training (on {weights.base_model})", weights.base_version


def _readable(
    read: Callable[[Mapping[str, Any]], _Said | None], source: Mapping[str, Any]
) -> _Said | None:
    """Returns what weights say, or None where they say nothing or nothing that can be read.

    Of what cannot be read, the choice of the layout tells (reference_layout).
    """
    try:
        return read(source)
    except ValueError:
        return None
