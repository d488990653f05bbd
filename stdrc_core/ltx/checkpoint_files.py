"""LTX-2 checkpoints as they are found on disk, and reading them into a module.

Three forms come in, all of them safetensors, none of them needing a hub:

* a single file in ComfyUI's layout (see checkpoint), sized by its own metadata;
* a split file: one part of it, its names with or without the prefix, often without metadata;
* a diffusers folder: config.json beside one .safetensors file, or shards with an index.

Tensors stay on disk until they are read, one at a time: a 22B model is never held twice.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from .checkpoint import TRANSFORMER_PREFIX, transformer_key

# Split files name the transformer's tensors with the last part of the prefix, or bare.
_SHORT_PREFIXES = ("diffusion_model.", "")
_FIRST_LAYER = transformer_key("proj_in.weight").removeprefix(TRANSFORMER_PREFIX)
_NUM_NAMES_SHOWN = 3

# A key of the module and the tensor that was read for it -> the tensor that the module gets.
Convert = Callable[[str, Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class StoredTensor:
    """Where a tensor lies: its file, its name there, its shape, its dtype in safetensors' words."""

    file: Path
    name: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """An opened checkpoint: names, shapes and settings; no tensor is in memory.

    `tensors` are keyed as a single file names them (a split file's short names have got the whole
    prefix), or as diffusers does where `is_diffusers`. `config` is the metadata's config, a
    diffusers folder's config.json, or empty.
    """

    path: Path
    is_diffusers: bool
    config: Mapping[str, Any] = field(repr=False)
    tensors: Mapping[str, StoredTensor] = field(repr=False)

    def read(
        self, names: Iterable[str], *, dtype: torch.dtype | None, device: torch.device | str
    ) -> Iterator[tuple[str, Tensor]]:
        """The tensors of these names, one by one, on `device`; dtype None keeps the file's."""
        by_file = sorted(names, key=lambda name: str(self.tensors[name].file))
        for path, group in groupby(by_file, key=lambda name: self.tensors[name].file):
            with _opened(path) as file:
                for name in group:
                    tensor = file.get_tensor(self.tensors[name].name)
                    # What safetensors hands out may still be the file, mapped into memory.
                    yield name, tensor.to(device=device, dtype=dtype, copy=True)


def open_checkpoint(path: str | Path, component: str = "transformer") -> Checkpoint:
    """Opens a single file, a split file, or a diffusers folder (of `component`, or one above it).

    Raises ValueError where there is nothing, no safetensors, or a file that is cut short.
    """
    path = Path(path)
    if path.is_dir():
        return _open_folder(path, component)
    if not path.exists():
        raise ValueError(
            f"checkpoint {path} does not exist; needs a .safetensors file or a diffusers folder."
        )
    stored, metadata = _read_header(path)
    return Checkpoint(
        path=path,
        is_diffusers=False,
        config=_parse(metadata.get("config", "{}"), f"config in the metadata of checkpoint {path}"),
        tensors=_with_prefix(stored),
    )


def load_into(
    module: nn.Module,
    checkpoint: Checkpoint,
    rename: Callable[[str], str],
    *,
    dtype: torch.dtype | None,
    device: torch.device | str,
    convert: Convert | None = None,
) -> None:
    """Gives `module`, built on the meta device, its tensors; dtype None keeps the file's.

    `rename` tells how the checkpoint names a key of the module. The tensors that are read become
    the module's own, so that there is one copy of them; `convert` has its turn with each before
    the next is read. Raises ValueError, before anything is read,
    for names that are missing and for shapes that differ.
    """
    wanted = {rename(key): (key, tuple(value.shape)) for key, value in module.state_dict().items()}
    missing = [name for name in wanted if name not in checkpoint.tensors]
    if missing:
        raise ValueError(
            f"checkpoint {checkpoint.path} lacks {len(missing)} of the model's {len(wanted)} "
            f"tensors ({first_few(missing)}); needs all of them: download it again."
        )
    stored = {name: checkpoint.tensors[name].shape for name in wanted}
    wrong = [
        f"{name} is {list(stored[name])}, not {list(shape)}"
        for name, (_, shape) in wanted.items()
        if stored[name] != shape
    ]
    if wrong:
        raise ValueError(
            f"checkpoint {checkpoint.path} has {len(wrong)} tensors of other shapes than its "
            f"config gives ({first_few(wrong)}); needs the config that belongs to its weights."
        )
    tensors = checkpoint.read(wanted, dtype=dtype, device=device)
    named = ((wanted[name][0], tensor) for name, tensor in tensors)
    state = {key: convert(key, value) if convert else value for key, value in named}
    module.load_state_dict(state, assign=True)


def first_few(names: list[str]) -> str:
    """The first names of a list, for an error message."""
    more = ", ..." if len(names) > _NUM_NAMES_SHOWN else ""
    return ", ".join(names[:_NUM_NAMES_SHOWN]) + more


def _open_folder(path: Path, component: str) -> Checkpoint:
    folder = path if (path / "config.json").is_file() else path / component
    config = folder / "config.json"
    if not config.is_file():
        raise ValueError(
            f"folder {path} has no config.json, nor a folder {component} with one; needs a "
            "diffusers model folder, or give a .safetensors file."
        )
    tensors: dict[str, StoredTensor] = {}
    for file in _shards(folder):
        tensors |= _read_header(file)[0]
    return Checkpoint(
        path=folder,
        is_diffusers=True,
        config=_parse(config.read_bytes(), str(config)),
        tensors=tensors,
    )


def _shards(folder: Path) -> list[Path]:
    """The .safetensors files of a diffusers folder: those of its index, or its only one."""
    indices = sorted(folder.glob("*.safetensors.index.json"))
    files = sorted(folder.glob("*.safetensors"))
    if len(indices) == 1:
        weight_map = _parse(indices[0].read_bytes(), str(indices[0])).get("weight_map")
        if not isinstance(weight_map, dict) or not weight_map:
            raise ValueError(f"{indices[0]} has no weight_map; needs the original index.")
        return [folder / name for name in sorted(set(weight_map.values()))]
    if indices or len(files) != 1:
        found = first_few([file.name for file in indices or files]) or "none"
        raise ValueError(
            f"folder {folder} needs one .safetensors file, or shards with one index; found {found}."
        )
    return files


def _read_header(path: Path) -> tuple[dict[str, StoredTensor], dict[str, str]]:
    """All tensors of a file by their names in it, and its metadata."""
    stored = {}
    with _opened(path) as file:
        for name in file.keys():  # noqa: SIM118 (not a dict)
            part = file.get_slice(name)
            stored[name] = StoredTensor(
                file=path, name=name, shape=tuple(part.get_shape()), dtype=part.get_dtype()
            )
        return stored, file.metadata() or {}


def _opened(path: Path) -> safe_open:
    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        raise ValueError(
            f"checkpoint {path} could not be read as safetensors ({error}); needs a whole "
            ".safetensors file: download it again."
        ) from error


def _parse(text: str | bytes, source: str) -> dict[str, Any]:
    try:
        parsed = json.loads(text)
    # Bytes that are no text raise a ValueError too.
    except ValueError as error:
        raise ValueError(f"{source} is not JSON ({error}); needs the original file.") from error
    if not isinstance(parsed, dict):
        raise ValueError(f"{source} is a JSON {type(parsed).__name__}; needs an object.")
    return parsed


def _with_prefix(stored: dict[str, StoredTensor]) -> dict[str, StoredTensor]:
    """A split transformer's short names as a single file has them; other files as they are."""
    for prefix in _SHORT_PREFIXES:
        if prefix + _FIRST_LAYER in stored:
            return {
                TRANSFORMER_PREFIX + name.removeprefix(prefix): tensor
                for name, tensor in stored.items()
            }
    return stored
