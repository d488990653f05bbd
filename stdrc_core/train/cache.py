"""The cache that `prepare` writes and a run reads: all that a step needs, encoded already.

    manifest.json        what all samples have in common; a cache has one manifest for good
    common.safetensors   `empty_context` `[L, D]`, the embedding of the empty prompt
    samples.jsonl        a line for each sample, appended when its shard is on disk
    shards/RRR-NNNNN.safetensors   tensors of samples, each file written whole by rank RRR

References are kept as pixels, since augmentation precedes the VAE (docs/method.md section 4).
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..folders import files_below, has_ending, listed
from ..ltx.base_version import title
from ..text_files import read_json
from .dataset_entry import Origin, Stretch

log = logging.getLogger(__name__)

FORMAT_VERSION = 1
_HASHED_BYTES = 1 << 20
MANIFEST, SAMPLES, COMMON, SHARDS = (
    "manifest.json",
    "samples.jsonl",
    "common.safetensors",
    "shards",
)
# The tensors that a sample has for each of its references, and all that it has.
OF_REFERENCE = ("reference", "boxes", "landmarks", "has_face", "e_ref")
TENSORS = ("latent", "context", *OF_REFERENCE)


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What all samples of a cache have in common; sides are in pixels, fps in frames a second."""

    num_frames: int
    height: int
    width: int
    fps: float
    latent_channels: int
    context_shape: tuple[int, int]
    checkpoint: str
    """Name of the file whose VAE and text connector made the cache."""
    checkpoint_fingerprint: str
    """What `fingerprint` says of that file."""
    text_encoder: str
    face_pack: str
    base_version: str | None = None
    """Version of LTX that the file is, "2.5" for example; None where nothing tells it, and in a
    cache from before this was noted, when there was none of LTX-2.5."""
    vae_dtype: str | None = None
    """Precision of the VAE as it encoded; None in a cache from before this was noted."""
    format_version: int = FORMAT_VERSION


@dataclass(frozen=True, kw_only=True, eq=False)
class FurtherReference:
    """A sample's reference at slot 1 or above, and its person in the clip.

    The tensors are as those of the same names in `Sample`.
    """

    source: str
    reference: Tensor
    boxes: Tensor
    landmarks: Tensor
    has_face: Tensor
    e_ref: Tensor
    origin: Origin | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """One clip and its references, as the cache holds them."""

    id: str
    video: str
    """Path of the clip's file."""
    caption: str
    identity: str | None
    reference_source: str
    """Where the first reference is from: a photo, another clip, or the same clip outside the
    training window."""
    latent: Tensor
    """Clean video latent, `[C, T, H, W]` bfloat16."""
    context: Tensor
    """Text embedding, `[L, D]` bfloat16."""
    reference: Tensor
    """The photo at slot 0 before augmentation, `[h, w, 3]` uint8."""
    boxes: Tensor
    """The person's box in each frame, `[F, 4]` float32 left, top, right, bottom in pixels of the
    clip; 0 where `has_face` is false."""
    landmarks: Tensor
    """The person's five landmarks in each frame, `[F, 5, 2]` float32 (x, y) in pixels of the clip;
    0 where `has_face` is false."""
    has_face: Tensor
    """Whether the person's face was found in a frame, `[F]` bool: m_f of Eq. 9."""
    e_ref: Tensor
    """Embedding of the face in the unaugmented photo, `[D]` float32 of length 1."""
    further: tuple[FurtherReference, ...] = ()
    """The references at slots 1, 2, ...; the fields above are of the one at slot 0."""
    origin: Origin | None = None
    """What the first reference is; None in a cache from before this was noted."""
    shot: Stretch | None = None
    """The part of the source video that the clip is of; None as for `origin`."""


def fingerprint(path: Path) -> str:
    """A word of 16 letters that tells files apart by their size, first and last megabyte.

    To hash all of a checkpoint of 46 GB would take minutes. A folder is told apart by the
    .safetensors files in it.
    """
    if path.is_dir():
        files = [file for file in files_below(path) if has_ending(file, (".safetensors",))]
        names = [f"{file.relative_to(path)} {fingerprint(file)}" for file in files]
        return hashlib.sha256("\n".join(names).encode(errors="surrogateescape")).hexdigest()[:16]
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        digest.update(file.read(_HASHED_BYTES))
        file.seek(max(0, size - _HASHED_BYTES))
        digest.update(file.read(_HASHED_BYTES))
    return digest.hexdigest()[:16]


class Cache:
    """Reads a cache; samples are in the order of their ids, however many processes wrote it.

    Shards are opened anew for each read, so that worker processes may share the object.
    """

    def __init__(self, folder: str | Path) -> None:
        """Raises ValueError when the folder is no cache, is one of another version, or holds no
        samples."""
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
        """The samples' ids, in their order."""
        return [line["id"] for line in self._lines]

    @property
    def reference_counts(self) -> list[int]:
        """How many references each sample has, in their order."""
        return [1 + len(_further_sources(line)) for line in self._lines]

    @property
    def num_references(self) -> set[int]:
        """The numbers of references that samples have, such as {1} or {1, 2}."""
        return {*self.reference_counts}

    @property
    def identities(self) -> list[str | None]:
        """The name of each sample's person, None where the data set names none."""
        return [line.get("identity") for line in self._lines]

    def reference_source(self, index: int) -> str:
        """Where a sample's first reference is from, as `Sample.reference_source`."""
        return self._lines[index]["reference_source"]

    def origin(self, index: int) -> Origin | str:
        """What a sample's first reference is, as `Sample.origin`; where that was not noted, in
        words, as `Sample.reference_source`."""
        return _origins(self._lines[index])[0] or self.reference_source(index)

    def photo(self, index: int, slot: int) -> tuple[Tensor, Tensor]:
        """A sample's reference at `slot` and its embedding: `[h, w, 3]` uint8 and `[D]` float32.

        Raises ValueError where its shard is missing or damaged.
        """
        line = self._lines[index]
        keys = tuple(_key(line["id"], name, slot) for name in ("reference", "e_ref"))
        tensors = _read(self.folder / SHARDS / line["shard"], keys)
        return tensors[keys[0]], tensors[keys[1]]

    @property
    def empty_context(self) -> Tensor:
        """The empty prompt's embedding, `[L, D]` bfloat16."""
        path = self.folder / COMMON
        return _read(path, ("empty_context",))["empty_context"]

    def __getitem__(self, index: int) -> Sample:
        """Reads a sample. Raises ValueError when its shard is missing or damaged."""
        line = self._lines[index]
        sources = dict(enumerate(_further_sources(line), 1))
        keys = {name: _key(line["id"], name) for name in TENSORS}
        keys |= {
            (name, slot): _key(line["id"], name, slot) for slot in sources for name in OF_REFERENCE
        }
        tensors = _read(self.folder / SHARDS / line["shard"], tuple(keys.values()))
        origin, *further_origins = _origins(line)
        known = {field.name for field in fields(Sample)} - {"shot"}
        return Sample(
            **{key: value for key, value in line.items() if key in known},
            **{name: tensors[keys[name]] for name in TENSORS},
            further=tuple(
                FurtherReference(
                    source=source,
                    origin=further_origins[slot - 1],
                    **{name: tensors[keys[name, slot]] for name in OF_REFERENCE},
                )
                for slot, source in sources.items()
            ),
            origin=origin,
            shot=None if line.get("shot") is None else Stretch(*line["shot"]),
        )

    def require(
        self, *, context_dim: int, latent_channels: int, base_version: str | None = None
    ) -> None:
        """Raises ValueError unless prompts are of width `context_dim` and latents have
        `latent_channels`, and where the cache was made for another version of LTX than
        `base_version`."""
        made = self.manifest
        self._require_version(base_version)
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

    def _require_version(self, base_version: str | None) -> None:
        """Raises ValueError where the cache is of another version of LTX than the run's.

        Latents and prompts of LTX-2.3 and LTX-2.5 have one shape and are not the same.
        """
        made = self.manifest.base_version
        is_old = made is None and base_version == "2.5"
        if base_version is None or (made in (None, base_version) and not is_old):
            return
        found = "before LTX-2.5 could be prepared" if is_old else f"for {title(made)}"
        raise ValueError(
            f"cache {self.folder} was made {found}, by {self.manifest.checkpoint}, and "
            f"model.checkpoint is {title(base_version)}; needs latents and prompts of "
            f"{title(base_version)}: prepare another cache with this checkpoint."
        )


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest of a cache's folder, None when there is none.

    Raises ValueError when it cannot be read or is of another version.
    """
    path = folder / MANIFEST
    if not path.is_file():
        return None
    try:
        values = read_json(path, "manifest")
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
    """The lines of samples.jsonl by id; of several lines with one id the last counts.

    `existing_only` leaves out samples whose shard is gone, which have to be made again.
    """
    lines = {line["id"]: line for line in read_lines(folder / SAMPLES)}
    if not existing_only:
        return lines
    shards = {path.name for path in listed(folder / SHARDS, (".safetensors",))}
    return {key: line for key, line in lines.items() if line["shard"] in shards}


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The JSON lines of a file, none when it is missing.

    A line that is not JSON, torn by a killed run, is left out with a warning.
    """
    lines = []
    content = path.read_bytes().decode(errors="replace") if path.is_file() else ""
    # splitlines would also split at Unicode's line separators, which a caption may hold.
    for text in filter(None, content.split("\n")):
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            log.warning("%s has a torn line, which is left out: %.60s", path, text)
    return lines


def _key(sample_id: str, name: str, slot: int = 0) -> str:
    """The name of a sample's tensor in its shard; `slot` is that of a reference."""
    return f"{sample_id}/{name}.{slot}" if slot else f"{sample_id}/{name}"


def _further_sources(line: Mapping[str, Any]) -> list[str]:
    """Where the references at slots 1, 2, ... are from; a cache from before there were several
    has no such key."""
    return line.get("further_sources", [])


def _origins(line: Mapping[str, Any]) -> list[Origin | None]:
    """What all references of a line are; a cache from before this was noted does not say."""
    found = line.get("origins") or [None] * (1 + len(_further_sources(line)))
    return [None if each is None else Origin(*each) for each in found]


def _read(path: Path, keys: tuple[str, ...]) -> dict[str, Tensor]:
    """Tensors of a safetensors file; raises ValueError, in one sentence, where it lacks one."""
    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in keys}
    except (SafetensorError, OSError) as error:
        raise ValueError(
            f"cache file {path} is missing or damaged ({error}); needs the file as prepare wrote "
            "it: delete it and run prepare again, which makes only what is missing."
        ) from error
