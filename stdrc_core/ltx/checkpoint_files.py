"""LTX-2 checkpoints as they are found on disk, and how a module gets their tensors.

A checkpoint has one of three forms. All are safetensors, and none needs a hub:

* a single file in ComfyUI's layout (checkpoint), whose metadata tell the model's sizes;
* a split file, which holds one part of a single file: its names have the prefix or not, and it
  often has no metadata;
* a diffusers folder: config.json beside one .safetensors file, or beside shards with an index.

Tensors stay on disk until they are read, and they are read one at a time, so that a model of 22
billion parameters is never held twice. Weights that the file keeps in 8 bits (packed_weights) are
read back as they come.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from ..folders import listed
from .checkpoint import TEXT_PREFIX, TRANSFORMER_PREFIX, transformer_key
from .lora_names import without_wrappers
from .packed_weights import Packing, lies_beside_a_weight, packings, unpack

# What weights have that no scale has to be read with.
FULL_PRECISION = ("F64", "F32", "F16", "BF16")
_FIRST_LAYER = transformer_key("proj_in.weight").removeprefix(TRANSFORMER_PREFIX)
_NUM_NAMES_SHOWN = 3

# (a key of the module, the tensor that was read for it) -> the tensor that the module gets.
Convert = Callable[[str, Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class StoredTensor:
    """Where a tensor lies on disk, and what it is like."""

    file: Path
    """The safetensors file that holds it."""
    name: str
    """The tensor's name in that file."""
    shape: tuple[int, ...]
    """The tensor's shape."""
    dtype: str
    """The tensor's dtype, as safetensors names it, for example "BF16"."""
    packing: Packing | None = None
    """How a weight that the file keeps in 8 bits is read back."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """An opened checkpoint: its names, shapes and settings, without a tensor in memory."""

    path: Path
    """The file or folder."""
    is_diffusers: bool
    """Whether it is a diffusers folder, with diffusers' names and settings."""
    config: Mapping[str, Any] = field(repr=False)
    """The `config` of the file's metadata, or the folder's config.json; empty where there is none.
    """
    tensors: Mapping[str, StoredTensor] = field(repr=False)
    """The tensors by name: diffusers' names for a diffusers folder, else those of a single file.
    The short names of a split file have been given the whole prefix, and what only lies beside a
    packed weight is left out."""
    metadata: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The file's safetensors metadata; empty for a folder."""

    def read(
        self, names: Iterable[str], *, dtype: torch.dtype | None, device: torch.device | str
    ) -> Iterator[tuple[str, Tensor]]:
        """Yields (name, tensor) for each of `names`, one after another, read to `device`.

        They come file by file, not in the order of `names`. A dtype of None keeps the file's; a
        packed weight is then bfloat16.
        """
        by_file = sorted(names, key=lambda name: str(self.tensors[name].file))
        for path, group in groupby(by_file, key=lambda name: self.tensors[name].file):
            with _opened(path) as file:
                for name in group:
                    stored = self.tensors[name]
                    tensor = file.get_tensor(stored.name)
                    if stored.packing is not None:
                        scale = file.get_tensor(stored.packing.scale).to(device)
                        dense = dtype or torch.bfloat16
                        yield name, unpack(tensor.to(device), scale, stored.packing, dense)
                        continue
                    # Without the copy, the tensor may be the file itself, mapped into memory.
                    yield name, tensor.to(device=device, dtype=dtype, copy=True)

    def require_readable(self, names: Iterable[str], take: str) -> None:
        """Raises ValueError where one of `names` has less than 16 bits and cannot be read back.

        `take` says which file to take instead.
        """
        for name in names:
            stored = self.tensors[name]
            is_known = stored.packing is not None and stored.packing.is_known
            if is_known or (stored.packing is None and stored.dtype in FULL_PRECISION):
                continue
            how = "no scale" if stored.packing is None else f"the format {stored.packing.title}"
            raise ValueError(
                f"checkpoint {self.path} holds {stored.dtype} weights with {how} ({name}), which "
                "cannot be read back; needs bfloat16, or fp8 or int8 with ComfyUI's scales: take "
                f"{take}."
            )


def open_checkpoint(path: str | Path | Checkpoint, component: str = "transformer") -> Checkpoint:
    """Opens a single file, a split file or a diffusers folder; an opened one is returned.

    A folder may hold the model itself, or a folder named `component` with the model. Raises
    ValueError for a path that does not exist, that is not safetensors, or that is cut short.
    """
    if isinstance(path, Checkpoint):
        return path
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
        metadata=metadata,
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
    """Gives `module`, which was built on the meta device, its tensors from `checkpoint`.

    `rename(key)` returns the checkpoint's name for a key of the module. A dtype of None keeps the
    file's. The tensors that are read become the module's own, so that there is one copy of them.
    `convert` gets each of them before the next one is read, and returns the tensor to use.

    Raises ValueError for names that are missing and for shapes that differ, before any tensor is
    read.
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


def stored_dtypes(path: Path) -> dict[str, str]:
    """Returns the dtypes of a safetensors file's tensors, as safetensors names them.

    Raises ValueError where the file cannot be read.
    """
    with _opened(path) as file:
        return {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118


def first_few(names: list[str]) -> str:
    """Returns the first of `names` as text for an error message."""
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
    """Returns the .safetensors files of a diffusers folder: those of its index, or its only one."""
    indices = listed(folder, (".safetensors.index.json",))
    files = listed(folder, (".safetensors",))
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
    """Returns the tensors of a file by their names in it, and the file's metadata.

    What only lies beside packed weights is left out.
    """
    stored = {}
    with _opened(path) as file:
        for name in file.keys():  # noqa: SIM118 (not a dict)
            part = file.get_slice(name)
            stored[name] = StoredTensor(
                file=path, name=name, shape=tuple(part.get_shape()), dtype=part.get_dtype()
            )
        metadata = file.metadata() or {}
        dtypes = {name: tensor.dtype for name, tensor in stored.items()}
        try:
            packed = packings(dtypes, metadata, file.get_tensor)
        except ValueError as error:
            raise ValueError(
                f"checkpoint {path} has {error}; needs the original file: download it again."
            ) from error
    for name, packing in packed.items():
        if packing.scale is not None:
            packing = packing.fitted(stored[name].shape, stored[packing.scale].shape)
        stored[name] = replace(stored[name], packing=packing)
    kept = {name: each for name, each in stored.items() if not lies_beside_a_weight(name)}
    return kept, metadata


def _opened(path: Path) -> safe_open:
    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        if path.suffix.lower() == ".gguf":
            raise ValueError(
                f"checkpoint {path} is a GGUF, which ComfyUI-GGUF alone reads; needs a safetensors "
                "file: take the one in bfloat16, or in fp8 or int8 with ComfyUI's scales."
            ) from error
        raise ValueError(
            f"checkpoint {path} could not be read as safetensors ({error}); needs a whole "
            ".safetensors file: download it again."
        ) from error
    except RuntimeError as error:
        # torch maps the file for writing, so the system sets memory aside for all of it.
        size_gb = path.stat().st_size / 1e9
        raise ValueError(
            f"checkpoint {path} could not be mapped into memory ({error}); needs RAM and swap "
            f"together as large as the file, {size_gb:.0f} GB: add swap."
        ) from error


def _parse(text: str | bytes, source: str) -> dict[str, Any]:
    try:
        parsed = json.loads(text)
    # Bytes that are not text raise a ValueError too.
    except ValueError as error:
        raise ValueError(f"{source} is not JSON ({error}); needs the original file.") from error
    if not isinstance(parsed, dict):
        raise ValueError(f"{source} is a JSON {type(parsed).__name__}; needs an object.")
    return parsed


def _with_prefix(stored: dict[str, StoredTensor]) -> dict[str, StoredTensor]:
    """Returns the tensors of a split transformer under a single file's names.

    Split files name them with the last part of the prefix or without it, and those of trainers with
    what their modules were wrapped in. The tensors of other files are returned as they are.
    """
    prefixes = (
        name.removesuffix(_FIRST_LAYER)
        for name in stored
        if name.endswith(_FIRST_LAYER) and without_wrappers(name) == _FIRST_LAYER
    )
    prefix = next(prefixes, TRANSFORMER_PREFIX)
    if prefix == TRANSFORMER_PREFIX:
        return stored
    return {
        TRANSFORMER_PREFIX + name.removeprefix(prefix)
        if name.startswith(prefix) and not name.startswith(TEXT_PREFIX)
        else name: tensor
        for name, tensor in stored.items()
    }
