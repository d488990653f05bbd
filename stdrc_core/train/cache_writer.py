"""Writes the cache that `cache` reads: shards of samples, each whole or not at all."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from ..files import encoded, write_text, written_aside
from ..folders import listed
from .cache import (
    COMMON,
    MANIFEST,
    OF_REFERENCE,
    SAMPLES,
    SHARDS,
    TENSORS,
    Manifest,
    Sample,
    read_manifest,
    read_samples,
)


class CacheWriter:
    """Adds samples to a cache, new or begun; several ranks may write to one folder at a time.

    Used as a context manager, it writes the last, smaller shard when it is left without an error.
    """

    def __init__(
        self,
        folder: str | Path,
        manifest: Manifest,
        empty_context: Tensor,
        *,
        rank: int = 0,
        shard_size: int = 32,
    ) -> None:
        """`rank` is this process's number; a shard holds `shard_size` samples.

        Raises ValueError when the folder holds a cache that was made with other settings, or files
        that are not a cache.
        """
        self.folder, self.rank, self.shard_size = Path(folder), rank, shard_size
        self._check_folder()
        (self.folder / SHARDS).mkdir(parents=True, exist_ok=True)
        self._settle_manifest(manifest)
        if not (self.folder / COMMON).exists():
            _write_tensors(self.folder / COMMON, {"empty_context": empty_context.bfloat16()})
        lines = read_samples(self.folder, existing_only=True)
        self.ids: set[str] = set(lines)
        self._waiting: list[Sample] = []
        self._next_shard = 1 + max(
            (_number(line["shard"]) for line in lines.values() if self._is_own(line["shard"])),
            default=-1,
        )
        # A killed run of this rank may have left files half written.
        for partial in (self.folder / SHARDS).glob(f".{rank:03d}-*.partial"):
            partial.unlink()

    def __enter__(self) -> CacheWriter:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.flush()

    def add(self, sample: Sample) -> None:
        """Takes a sample, and writes a shard when there are enough.

        Raises ValueError where a sample of that id is in the cache already.
        """
        if sample.id in self.ids:
            raise ValueError(f"sample {sample.id} is in the cache already; needs an id of its own.")
        self.ids.add(sample.id)
        self._waiting.append(sample)
        if len(self._waiting) >= self.shard_size:
            self.flush()

    def flush(self) -> None:
        """Writes the samples added since the last shard: first the shard, then their lines."""
        if not self._waiting:
            return
        name = f"{self.rank:03d}-{self._next_shard:05d}.safetensors"
        tensors = {
            f"{sample.id}/{key}": tensor
            for sample in self._waiting
            for key, tensor in _stored_tensors(sample).items()
        }
        _write_tensors(self.folder / SHARDS / name, tensors)
        append_lines(self.folder / SAMPLES, [_line(sample, name) for sample in self._waiting])
        self._next_shard += 1
        self._waiting = []

    def _is_own(self, shard: str) -> bool:
        return shard.startswith(f"{self.rank:03d}-")

    def _check_folder(self) -> None:
        """Raises ValueError where the folder is in other use."""
        if not self.folder.exists() or (self.folder / MANIFEST).is_file():
            return
        is_folder = self.folder.is_dir()
        found = [path.name for path in listed(self.folder)] if is_folder else ["a file"]
        # Another rank may have made the folder and not written its manifest yet.
        foreign = [name for name in found if name != SHARDS]
        if foreign:
            raise ValueError(
                f"cache {self.folder} is not a cache, but holds {foreign[0]}; needs a folder that "
                "is new, empty or a cache: choose another --out."
            )

    def _settle_manifest(self, manifest: Manifest) -> None:
        """Writes the manifest, or raises ValueError where there is another one."""
        there = read_manifest(self.folder)
        if there is None:
            text = json.dumps(dataclasses.asdict(manifest), indent=2)
            write_text(self.folder / MANIFEST, text)
            return
        for field in fields(Manifest):
            old, new = getattr(there, field.name), getattr(manifest, field.name)
            if old not in (new, None):
                raise ValueError(
                    f"cache {self.folder} was made with {field.name} {old}, this run has {new}; "
                    "needs the same settings to go on: choose another --out."
                )


def append_lines(path: Path, lines: list[Mapping[str, Any]]) -> None:
    """Appends the lines in one write, so that those of several processes do not mix.

    Where the file ends in a torn line, a new one is begun.
    """
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    with path.open("ab+", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        if size:
            file.seek(size - 1)
            if file.read(1) != b"\n":
                text = "\n" + text
        file.write(encoded(text))
        os.fsync(file.fileno())


def _line(sample: Sample, shard: str) -> dict[str, Any]:
    """A sample's line of samples.jsonl."""
    names = ("id", "video", "caption", "identity", "reference_source")
    line = {"shard": shard, **{name: getattr(sample, name) for name in names}}
    line["further_sources"] = [each.source for each in sample.further]
    origins = [sample.origin, *(each.origin for each in sample.further)]
    if origins[0] is not None:
        line["origins"] = [None if each is None else astuple(each) for each in origins]
    return line if sample.shot is None else line | {"shot": astuple(sample.shot)}


def _stored_tensors(sample: Sample) -> dict[str, Tensor]:
    """A sample's tensors as its shard holds them; those of slot k > 0 end in `.k`."""
    dtypes = {"latent": torch.bfloat16, "context": torch.bfloat16, "reference": torch.uint8}
    dtypes["has_face"] = torch.bool
    tensors = {name: (name, getattr(sample, name)) for name in TENSORS}
    for slot, each in enumerate(sample.further, 1):
        tensors |= {f"{name}.{slot}": (name, getattr(each, name)) for name in OF_REFERENCE}
    return {
        # safetensors takes no tensors that share memory, as two references of one photo may.
        key: tensor.detach().cpu().to(dtypes.get(name, torch.float32)).contiguous().clone()
        for key, (name, tensor) in tensors.items()
    }


def _write_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """Writes a safetensors file; raises OSError, in one sentence, where it cannot."""
    try:
        with written_aside(path) as partial:
            save_file(tensors, partial)
    except (SafetensorError, OSError) as error:
        raise OSError(
            f"cache file {path} could not be written ({error}); needs a writable folder with free "
            "space: make room and start prepare again, which goes on from here."
        ) from error


def _number(shard: str) -> int:
    """NNNNN of a shard's name."""
    return int(shard.removesuffix(".safetensors").split("-")[1])
