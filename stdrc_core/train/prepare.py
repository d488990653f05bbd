"""`python -m stdrc_core.train prepare`: a dataset becomes the cache that training reads.

Each clip is decoded once. The cache keeps its latent by the frozen VAE, its caption's embedding,
the person's face in every frame, and the reference as pixels and as an embedding. A clip that
cannot be used is set aside in `report.jsonl` with the reason; it never ends the run. The same
command goes on where it was stopped. Of several processes (torchrun, or RANK and WORLD_SIZE) each
takes its share of the clips.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from ..faces.finder import FaceFinder
from ..ltx.text import TextEncoder
from ..ltx.vae import VideoVAE
from ..method.grid import LTX_SCALE_FACTORS
from ..video import ClipTooShortError, check_num_frames, read_clip
from .cache import FurtherReference, Manifest, Sample, read_lines, read_samples
from .cache_writer import CacheWriter, append_lines
from .dataset_entry import Entry
from .face_track import Track, follow
from .references import Reference, find_references, given_reference

log = logging.getLogger(__name__)

REPORT = "report.jsonl"


class Reason(StrEnum):
    """Why a clip was set aside, in the words of the report."""

    INCOMPLETE = "incomplete entry"
    UNREADABLE = "unreadable"
    TOO_SHORT = "too short"
    NO_REFERENCE = "no reference with a face"
    NO_FACE = "no face in the clip"
    OTHER_PERSON = "faces disagree with the reference"


class SetAsideError(ValueError):
    """A clip cannot be used; the message is the detail that the report gives."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


@dataclass(frozen=True, kw_only=True)
class PrepareConfig:
    """What clips are cut to, and how the work is done.

    Sides are in pixels, `fps` in frames a second. Raises ValueError for a number out of its range.
    """

    num_frames: int
    height: int
    width: int
    fps: float
    min_cosine: float = 0.25
    """Least mean cosine of the clip's faces with the reference; with ArcFace two persons are below
    0.2."""
    shard_size: int = 32
    """How many samples a file of the cache holds."""
    rank: int = 0
    world_size: int = 1
    retry: bool = False
    """Whether clips that an earlier run set aside are tried again."""

    def __post_init__(self) -> None:
        check_num_frames(self.num_frames)
        step = LTX_SCALE_FACTORS.height
        for name in ("height", "width"):
            if getattr(self, name) < step or getattr(self, name) % step:
                raise ValueError(
                    f"{name} was {getattr(self, name)}; needs a multiple of {step}, such as 512."
                )
        if not 0 < self.fps < 1000:
            raise ValueError(f"fps was {self.fps}; needs frames per second such as 24.")
        if not -1 <= self.min_cosine <= 1:
            raise ValueError(f"min_cosine was {self.min_cosine}; needs a cosine from -1 to 1.")
        if self.shard_size < 1:
            raise ValueError(f"shard_size was {self.shard_size}; needs 1 or more.")
        if not 0 <= self.rank < self.world_size:
            raise ValueError(
                f"rank was {self.rank} of world_size {self.world_size}; needs 0 <= rank < "
                "world_size."
            )

    @property
    def window_s(self) -> float:
        """Length of a training clip in seconds."""
        return self.num_frames / self.fps


@dataclass(frozen=True, kw_only=True)
class Models:
    """The networks that turn clips, captions and faces into tensors."""

    vae: VideoVAE
    text: TextEncoder
    faces: FaceFinder
    checkpoint: str
    """Name of the file that text connector and, where it has one, VAE are from."""
    fingerprint: str
    """What `cache.fingerprint` says of that file."""
    base_version: str | None = None
    """The version of LTX that this file is, where it is known."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What is in the cache's folder after a run, by all ranks so far."""

    num_samples: int
    set_aside: Mapping[Reason, int]
    """How many clips were set aside for each reason."""


def prepare(
    entries: Sequence[Entry], out: str | Path, config: PrepareConfig, models: Models
) -> Summary:
    """Adds the samples of this rank's share of `entries` to the cache in `out`.

    Raises ValueError when the cache was begun with other settings, and when all entries are done
    and none could be used; OSError when the cache cannot be written.
    """
    out = Path(out)
    vae_dtype = next(models.vae.parameters()).dtype
    empty_context = models.text.encode("")
    manifest = Manifest(
        num_frames=config.num_frames,
        height=config.height,
        width=config.width,
        fps=config.fps,
        latent_channels=models.vae.latent_channels,
        context_shape=tuple(empty_context.shape),
        checkpoint=models.checkpoint,
        checkpoint_fingerprint=models.fingerprint,
        text_encoder=models.text.name,
        face_pack=models.faces.name,
        base_version=models.base_version,
        vae_dtype=str(vae_dtype).removeprefix("torch."),
    )
    others = by_identity(entries)
    share = entries[config.rank :: config.world_size]
    with (
        CacheWriter(
            out, manifest, empty_context, rank=config.rank, shard_size=config.shard_size
        ) as writer,
        logging_redirect_tqdm(),
    ):
        done = writer.ids | (set() if config.retry else set(_reported(out)))
        waiting = [entry for entry in share if entry.id not in done]
        log.info("%s: %d clips, %d still to do.", out, len(share), len(waiting))
        num_kept = 0
        for entry in (bar := tqdm(waiting, unit="clip", desc=f"prepare {config.rank}")):
            try:
                sample = make_sample(entry, others, config, models)
            except SetAsideError as error:
                append_lines(out / REPORT, [_report_line(entry, error)])
            else:
                writer.add(sample)
                num_kept += 1
            bar.set_postfix(kept=num_kept, refresh=False)
    return _summary(entries, out)


def make_sample(
    entry: Entry, others: Mapping[str, Sequence[Entry]], config: PrepareConfig, models: Models
) -> Sample:
    """Everything that the cache holds of one entry; `others` are all entries by person.

    Raises SetAsideError when the entry cannot be used.
    """
    if entry.problem is not None:
        raise SetAsideError(Reason.INCOMPLETE, entry.problem)
    clip = _read(entry, config)
    faces = models.faces.find(clip)
    if not any(faces):
        raise SetAsideError(
            Reason.NO_FACE, f"{entry.video} shows no face from {entry.start_s:.3f} s on"
        )
    reference, track = _choose_reference(entry, others, faces, config, models)
    further = tuple(_further_reference(photo, faces, config, models) for photo in entry.further)
    parameter = next(models.vae.parameters())
    pixels = clip.movedim(-1, 0)[None].to(parameter.device).float() / 127.5 - 1
    with torch.no_grad():
        latent = models.vae.encode(pixels)[0]
    return Sample(
        id=entry.id,
        video=str(entry.video),
        caption=entry.caption,
        identity=entry.identity,
        reference_source=reference.source,
        latent=latent.cpu().bfloat16(),
        context=models.text.encode(entry.caption).cpu().bfloat16(),
        reference=reference.pixels,
        boxes=track.boxes,
        landmarks=track.landmarks,
        has_face=track.has_face,
        e_ref=reference.e_ref,
        further=further,
    )


def by_identity(entries: Sequence[Entry]) -> dict[str, list[Entry]]:
    """The entries of each person that has a name, in the dataset's order."""
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        if entry.identity is not None:
            groups.setdefault(entry.identity, []).append(entry)
    return groups


def _read(entry: Entry, config: PrepareConfig) -> torch.Tensor:
    """The entry's training window, `[F, h, w, 3]` uint8; raises SetAsideError where it cannot."""
    available_s = None if entry.end_s is None else entry.end_s - entry.start_s
    # The last frame of a window begins one frame before the window's end.
    if available_s is not None and available_s < (config.num_frames - 1) / config.fps:
        raise SetAsideError(
            Reason.TOO_SHORT,
            f"the segment lasts {available_s:.2f} s; needs {config.window_s:.2f} s",
        )
    try:
        return read_clip(
            entry.video,
            num_frames=config.num_frames,
            fps=config.fps,
            height=config.height,
            width=config.width,
            start_s=entry.start_s,
        )
    except ClipTooShortError as error:
        raise SetAsideError(Reason.TOO_SHORT, str(error)) from error
    except ValueError as error:
        raise SetAsideError(Reason.UNREADABLE, str(error)) from error


def _choose_reference(
    entry: Entry,
    others: Mapping[str, Sequence[Entry]],
    faces: Sequence[Sequence[Any]],
    config: PrepareConfig,
    models: Models,
) -> tuple[Reference, Track]:
    """The first reference that the clip's faces agree with, and its person in the clip.

    Raises SetAsideError where there is none.
    """
    best: Track | None = None
    try:
        for reference in _references(entry, others, config, models):
            track = follow(faces, reference.e_ref)
            if track.mean_cosine >= config.min_cosine:
                return reference, track
            best = max(best or track, track, key=lambda each: each.mean_cosine)
    except ValueError as error:
        raise SetAsideError(Reason.UNREADABLE, str(error)) from error
    if best is None:
        raise SetAsideError(
            Reason.NO_REFERENCE,
            f"{entry.reference or 'no other clip, nor the rest of this one,'} shows no face; needs "
            "a photo or a longer clip",
        )
    raise _other_person("a reference", best, config)


def _further_reference(
    photo: Path, faces: Sequence[Sequence[Any]], config: PrepareConfig, models: Models
) -> FurtherReference:
    """The reference of a photo at slot 1 or above, and its person among the clip's faces.

    Raises SetAsideError where the photo cannot be used.
    """
    size = (config.height, config.width)
    try:
        reference = next(given_reference(photo, models.faces, size), None)
    except ValueError as error:
        raise SetAsideError(Reason.UNREADABLE, str(error)) from error
    if reference is None:
        raise SetAsideError(Reason.NO_REFERENCE, f"{photo} shows no face; needs another photo")
    track = follow(faces, reference.e_ref)
    if track.mean_cosine < config.min_cosine:
        raise _other_person(f"reference {photo.name}", track, config)
    return FurtherReference(
        source=reference.source,
        reference=reference.pixels,
        boxes=track.boxes,
        landmarks=track.landmarks,
        has_face=track.has_face,
        e_ref=reference.e_ref,
    )


def _other_person(reference: str, best: Track, config: PrepareConfig) -> SetAsideError:
    """The error for a clip that shows others than the person of its reference."""
    return SetAsideError(
        Reason.OTHER_PERSON,
        f"the best mean cosine with {reference} is {best.mean_cosine:.3f}; needs "
        f"{config.min_cosine}",
    )


def _references(
    entry: Entry, others: Mapping[str, Sequence[Entry]], config: PrepareConfig, models: Models
) -> Iterator[Reference]:
    size = (config.height, config.width)
    return find_references(entry, others, models.faces, window_s=config.window_s, size=size)


def _report_line(entry: Entry, error: SetAsideError) -> dict[str, str]:
    """The line of report.jsonl for an entry that was set aside."""
    video = str(entry.video)
    return {"id": entry.id, "video": video, "reason": str(error.reason), "detail": str(error)}


def _reported(out: Path) -> dict[str, Reason]:
    """The reason for each entry that was set aside, by id; of several the last counts."""
    return {line["id"]: Reason(line["reason"]) for line in read_lines(out / REPORT)}


def _summary(entries: Sequence[Entry], out: Path) -> Summary:
    """Counts and logs what is in the folder; ValueError where no entry could be used."""
    kept, reported = read_samples(out), _reported(out)
    set_aside = Counter(reason for key, reason in reported.items() if key not in kept)
    reasons = ", ".join(f"{reason}: {count}" for reason, count in set_aside.most_common())
    # Only the last rank to finish can tell that there is none: others may still find one.
    if not kept and all(entry.id in reported for entry in entries):
        raise ValueError(
            f"none of the {len(entries)} clips was usable ({reasons}); needs at least one clip "
            f"with a face and a reference: see {out / REPORT}."
        )
    log.info("%s: %d samples; set aside: %s.", out, len(kept), reasons or "none")
    return Summary(num_samples=len(kept), set_aside=dict(set_aside))
