"""The cache between `prepare` and a training run: what a step needs, and nothing to decode.

    manifest.json        what all samples share; another manifest is another cache
    common.safetensors   `empty_context` `[L, D]`, the empty prompt
    samples.jsonl        a line for each sample, appended once its shard is on disk
    shards/RRR-NNNNN.safetensors   written by rank RRR, whole or not at all

The reference is kept as pixels, since augmentation precedes the VAE (docs/method.md section 4).
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..files import written_aside

log = logging.getLogger(__name__)

FORMAT_VERSION = 1
_HASHED_BYTES = 1 << 20
MANIFEST, SAMPLES, COMMON, SHARDS = (
    "manifest.json",
    "samples.jsonl",
    "common.safetensors",
    "shards",
)
_OF_REFERENCE = ("reference", "boxes", "landmarks", "has_face", "e_ref")
_TENSORS = ("latent", "context", *_OF_REFERENCE)


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What every sample of a cache has in common; pixels, frames per second."""

    num_frames: int
    height: int
    width: int
    fps: float
    latent_channels: int
    context_shape: tuple[int, int]
    # Name and fingerprint of the file whose VAE and connectors made the cache.
    checkpoint: str
    checkpoint_fingerprint: str
    text_encoder: str
    face_pack: str
    # Of the VAE that encoded; None where a cache is older than this line.
    vae_dtype: str | None = None
    format_version: int = FORMAT_VERSION


@dataclass(frozen=True, kw_only=True, eq=False)
class FurtherReference:
    """A reference beside a sample's first one, and its person in the clip: as there."""

    source: str
    reference: Tensor
    boxes: Tensor
    landmarks: Tensor
    has_face: Tensor
    e_ref: Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """One clip and its reference, as a training step takes them."""

    id: str
    video: str
    """The clip's file."""
    caption: str
    identity: str | None
    reference_source: str
    """Where the reference is from: a photo, another clip, or the same clip outside the window."""
    latent: Tensor
    """Clean video latent, `[C, T, H, W]` bfloat16."""
    context: Tensor
    """Text embedding, `[L, D]` bfloat16."""
    reference: Tensor
    """The photo before augmentation, `[h, w, 3]` uint8."""
    boxes: Tensor
    """`[F, 4]` float32 left, top, right, bottom, px of the clip's target size; 0 without a face."""
    landmarks: Tensor
    """`[F, 5, 2]` float32 (x, y), px of the clip's target size; 0 without a face."""
    has_face: Tensor
    """`[F]` bool, m_f of Eq. 9."""
    e_ref: Tensor
    """Embedding of the unaugmented reference, `[D]` float32 of length 1."""
    further: tuple[FurtherReference, ...] = ()
    """Those of slots 1, 2, ...; the fields above are of slot 0."""


def fingerprint(path: Path) -> str:
    """Tells files apart without reading all of 46 GB: size, first and last megabyte."""
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        digest.update(file.read(_HASHED_BYTES))
        file.seek(max(0, size - _HASHED_BYTES))
        digest.update(file.read(_HASHED_BYTES))
    return digest.hexdigest()[:16]


class Cache:
    """Reads a cache; samples are in the order of their ids, however many processes wrote it.

    Shards are opened for each read, so it may be handed to worker processes.
    """

    def __init__(self, folder: str | Path) -> None:
        """Raises ValueError when the folder is no cache, is empty or of another version."""
        self.folder = Path(folder)
        self.manifest = read_manifest(self.folder)
        if self.manifest is None:
            raise ValueError(
                f"cache {folder} has no {MANIFEST}; needs a folder made by "
                "`python -m stdrc_core.train prepare`: check the path."
            )
        lines = read_samples(self.folder)
        self._lines = [lines[key] for key in sorted(lines)]
        if not self._lines:
            raise ValueError(f"cache {folder} holds no samples; run prepare on it first.")

    def __len__(self) -> int:
        return len(self._lines)

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))

    @property
    def ids(self) -> list[str]:
        return [line["id"] for line in self._lines]

    @property
    def num_references(self) -> set[int]:
        """How many references a sample has: each number that occurs."""
        return {1 + len(_further_sources(line)) for line in self._lines}

    @property
    def empty_context(self) -> Tensor:
        """The empty prompt's embedding, `[L, D]` bfloat16."""
        path = self.folder / COMMON
        return _read(path, ("empty_context",))["empty_context"]

    def __getitem__(self, index: int) -> Sample:
        """Raises ValueError when the sample's shard is missing or damaged."""
        line = self._lines[index]
        sources = dict(enumerate(_further_sources(line), 1))
        keys = {name: f"{line['id']}/{name}" for name in _TENSORS}
        keys |= {
            (name, slot): f"{line['id']}/{name}.{slot}"
            for slot in sources
            for name in _OF_REFERENCE
        }
        tensors = _read(self.folder / SHARDS / line["shard"], tuple(keys.values()))
        known = {field.name for field in fields(Sample)}
        return Sample(
            **{key: value for key, value in line.items() if key in known},
            **{name: tensors[keys[name]] for name in _TENSORS},
            further=tuple(
                FurtherReference(
                    source=source, **{name: tensors[keys[name, slot]] for name in _OF_REFERENCE}
                )
                for slot, source in sources.items()
            ),
        )

    def require(self, *, context_dim: int, latent_channels: int) -> None:
        """Raises ValueError unless the cache was made for a model of these sizes."""
        made = self.manifest
        for name, has, needs in (
            ("prompts", made.context_shape[1], context_dim),
            ("latents", made.latent_channels, latent_channels),
        ):
            if has != needs:
                raise ValueError(
                    f"cache {self.folder} was made for a model of another size: its {name} have "
                    f"{has} channels, model.checkpoint needs {needs}; prepare another cache with "
                    "this checkpoint, or name the one that made it."
                )


class CacheWriter:
    """Adds samples to a cache, new or begun; several ranks may write to one folder at a time.

    Used as a context manager it writes the last, smaller shard on leaving without an error.
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
        """Raises ValueError when the folder holds a cache made with other settings, or no cache
        but other files."""
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
        # What a killed run of this rank left half written.
        for partial in (self.folder / SHARDS).glob(f".{rank:03d}-*.partial"):
            partial.unlink()

    def __enter__(self) -> CacheWriter:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.flush()

    def add(self, sample: Sample) -> None:
        """Takes a sample; every `shard_size`-th writes a shard. Its id must not be there yet."""
        if sample.id in self.ids:
            raise ValueError(f"sample {sample.id} is in the cache already; needs an id of its own.")
        self.ids.add(sample.id)
        self._waiting.append(sample)
        if len(self._waiting) >= self.shard_size:
            self.flush()

    def flush(self) -> None:
        """Writes what was added since the last shard: first the shard, then its lines."""
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
        if not self.folder.exists() or (self.folder / MANIFEST).is_file():
            return
        is_folder = self.folder.is_dir()
        found = sorted(path.name for path in self.folder.iterdir()) if is_folder else ["a file"]
        # Another rank may be about to write its manifest.
        foreign = [name for name in found if name != SHARDS and not name.startswith(".")]
        if foreign:
            raise ValueError(
                f"cache {self.folder} is not a cache, but holds {foreign[0]}; needs a folder that "
                "is new, empty or a cache: choose another --out."
            )

    def _settle_manifest(self, manifest: Manifest) -> None:
        there = read_manifest(self.folder)
        if there is None:
            text = json.dumps(dataclasses.asdict(manifest), indent=2)
            with written_aside(self.folder / MANIFEST) as partial:
                partial.write_text(text, encoding="utf-8")
            return
        for field in fields(Manifest):
            old, new = getattr(there, field.name), getattr(manifest, field.name)
            if old not in (new, None):
                raise ValueError(
                    f"cache {self.folder} was made with {field.name} {old}, this run has {new}; "
                    "needs the same settings to go on: choose another --out."
                )


def read_manifest(folder: Path) -> Manifest | None:
    """None when there is none; ValueError when it cannot be read or is of another version."""
    path = folder / MANIFEST
    if not path.is_file():
        return None
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        version = values.get("format_version")
        if version == FORMAT_VERSION:
            return Manifest(**values | {"context_shape": tuple(values["context_shape"])})
    except (json.JSONDecodeError, AttributeError, TypeError, KeyError) as error:
        raise ValueError(
            f"{path} could not be read ({error}); needs a manifest as prepare writes it: prepare "
            "the cache anew."
        ) from error
    raise ValueError(
        f"cache {folder} has format version {version}; this version reads {FORMAT_VERSION}: "
        "prepare the cache anew."
    )


def read_samples(folder: Path, *, existing_only: bool = False) -> dict[str, dict[str, Any]]:
    """Lines of samples.jsonl by id, a later one replacing an earlier one.

    `existing_only` leaves out those whose shard is gone: they are to be made again.
    """
    lines = {line["id"]: line for line in read_lines(folder / SAMPLES)}
    if not existing_only:
        return lines
    shards = {path.name for path in (folder / SHARDS).glob("*.safetensors")}
    return {key: line for key, line in lines.items() if line["shard"] in shards}


def read_lines(path: Path) -> list[dict[str, Any]]:
    """JSON lines of a file, none when it is missing; one torn by a killed run is left out."""
    lines = []
    content = path.read_bytes().decode(errors="replace") if path.is_file() else ""
    # Not splitlines: a caption may hold a line separator of Unicode.
    for text in filter(None, content.split("\n")):
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            log.warning("%s has a torn line, which is left out: %.60s", path, text)
    return lines


def append_lines(path: Path, lines: list[Mapping[str, Any]]) -> None:
    """Appends in one write, so that processes do not mix; after a torn line begins a new one."""
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    with path.open("ab+", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        if size:
            file.seek(size - 1)
            if file.read(1) != b"\n":
                text = "\n" + text
        file.write(text.encode())
        os.fsync(file.fileno())


def _number(shard: str) -> int:
    return int(shard.removesuffix(".safetensors").split("-")[1])


def _line(sample: Sample, shard: str) -> dict[str, Any]:
    names = ("id", "video", "caption", "identity", "reference_source")
    line = {"shard": shard, **{name: getattr(sample, name) for name in names}}
    return line | {"further_sources": [each.source for each in sample.further]}


def _further_sources(line: Mapping[str, Any]) -> list[str]:
    """None in a cache from before there were several references."""
    return line.get("further_sources", [])


def _stored_tensors(sample: Sample) -> dict[str, Tensor]:
    dtypes = {"latent": torch.bfloat16, "context": torch.bfloat16, "reference": torch.uint8}
    dtypes["has_face"] = torch.bool
    tensors = {name: (name, getattr(sample, name)) for name in _TENSORS}
    for slot, each in enumerate(sample.further, 1):
        tensors |= {f"{name}.{slot}": (name, getattr(each, name)) for name in _OF_REFERENCE}
    return {
        key: tensor.detach().cpu().to(dtypes.get(name, torch.float32)).contiguous()
        for key, (name, tensor) in tensors.items()
    }


def _write_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    try:
        with written_aside(path) as partial:
            save_file(tensors, partial)
    except (SafetensorError, OSError) as error:
        raise OSError(
            f"cache file {path} could not be written ({error}); needs a writable folder with free "
            "space: make room and start prepare again, which goes on from here."
        ) from error


def _read(path: Path, keys: tuple[str, ...]) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in keys}
    except (SafetensorError, OSError) as error:
        raise ValueError(
            f"cache file {path} is missing or damaged ({error}); needs the file as prepare wrote "
            "it: delete it and run prepare again, which makes only what is missing."
        ) from error
