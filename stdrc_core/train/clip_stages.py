"""The stages that a clip goes through on its way into the cache.

They are `read` (decode it), `look` (find its faces and its references), `encode` (by the VAE) and
`tell` (embed its caption). Each stage has a thread and works on another clip than the others, so
that a GPU does not wait for a decoder. Clips come out in their order, and as if one were made after
another.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..faces.finder import FaceFinder
from ..faces.similarity import find_padding
from ..ltx.text import TextEncoder
from ..ltx.vae import VideoVAE
from ..video import ClipTooShortError, read_clip
from .ahead import ahead
from .cache import FurtherReference, Sample
from .dataset_entry import Entry, Origin, Reason, Stretch
from .face_track import Track, follow
from .prepare_config import PrepareConfig
from .references import Reference, find_references, given_reference, own_shot


class SetAsideError(ValueError):
    """A clip cannot be used; the message is the detail that the report gives."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


@dataclass(frozen=True, kw_only=True, eq=False)
class Work:
    """An entry on its way to a sample; a stage fills in its fields, all others stay as they are."""

    entry: Entry
    problem: SetAsideError | None = None
    """Why the entry cannot be used; later stages then leave it alone."""
    clip: Tensor | None = None
    """The training window, `[F, h, w, 3]` uint8, until it is encoded."""
    reference: Reference | None = None
    track: Track | None = None
    shot: Stretch | None = None
    further: tuple[FurtherReference, ...] = ()
    latent: Tensor | None = None
    context: Tensor | None = None

    def sample(self) -> Sample:
        """Everything that the cache holds of the entry, once it has been through all stages."""
        entry, reference, track = self.entry, self.reference, self.track
        return Sample(
            id=entry.id,
            video=str(entry.video),
            caption=entry.caption,
            identity=entry.identity,
            reference_source=reference.source,
            origin=reference.origin,
            shot=self.shot,
            latent=self.latent,
            context=self.context,
            reference=reference.pixels,
            boxes=track.boxes,
            landmarks=track.landmarks,
            has_face=track.has_face,
            e_ref=reference.e_ref,
            further=self.further,
        )


Stage = Callable[[Work], Work]


def make_stages(
    others: Mapping[str, Sequence[Entry]],
    config: PrepareConfig,
    *,
    vae: VideoVAE,
    text: TextEncoder,
    finder: FaceFinder,
) -> dict[str, Stage]:
    """The stages of an entry by name, in their order; `others` are all entries by person.

    Each may run in a thread of its own: no two of them use the same network.
    """

    def read(work: Work) -> Work:
        if work.entry.problem is not None:
            raise SetAsideError(work.entry.reason, work.entry.problem)
        return replace(work, clip=_read(work.entry, config))

    def look(work: Work) -> Work:
        entry, faces = work.entry, find_padding(work.clip, finder)
        if not any(faces):
            raise SetAsideError(
                Reason.NO_FACE, f"{entry.video} shows no face from {entry.start_s:.3f} s on"
            )
        reference, track = _choose_reference(entry, others, faces, config, finder)
        origins = entry.origins[1:] or (None,) * len(entry.further)
        further = tuple(
            _further_reference(photo, origin, faces, config, finder)
            for photo, origin in zip(entry.further, origins, strict=True)
        )
        shot = own_shot(entry, config.window_s)
        return replace(work, reference=reference, track=track, shot=shot, further=further)

    def encode(work: Work) -> Work:
        parameter = next(vae.parameters())
        pixels = work.clip.movedim(-1, 0)[None].to(parameter.device).float() / 127.5 - 1
        with torch.no_grad():
            latent = vae.encode(pixels)[0]
        return replace(work, clip=None, latent=latent.cpu().bfloat16())

    def tell(work: Work) -> Work:
        return replace(work, context=text.encode(work.entry.caption).cpu().bfloat16())

    return {"read": read, "look": look, "encode": encode, "tell": tell}


def through(
    stages: Mapping[str, Stage], entries: Iterable[Entry], depth: int
) -> Generator[Work, None, None]:
    """The entries in their order after all stages, each in a thread of its own.

    `depth` clips at most wait before each stage; with 0 there are no threads, and each clip is
    done before the next one is begun.
    """
    works: Iterable[Work] = (Work(entry=entry) for entry in entries)
    for name, stage in stages.items():
        works = ahead(partial(_unless_set_aside, stage), works, depth, name)
    return works


def _unless_set_aside(stage: Stage, work: Work) -> Work:
    """The work after a stage, or with the problem that it found; an error names the file."""
    if work.problem is not None:
        return work
    try:
        return stage(work)
    except SetAsideError as error:
        return Work(entry=work.entry, problem=error)
    except Exception as error:
        error.add_note(f"while preparing {work.entry.video}")
        raise


def _read(entry: Entry, config: PrepareConfig) -> Tensor:
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
    finder: FaceFinder,
) -> tuple[Reference, Track]:
    """The first reference that the clip's faces agree with, and its person in the clip.

    Raises SetAsideError where there is none.
    """
    best: Track | None = None
    try:
        for reference in _references(entry, others, config, finder):
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
    photo: Path,
    origin: Origin | None,
    faces: Sequence[Sequence[Any]],
    config: PrepareConfig,
    finder: FaceFinder,
) -> FurtherReference:
    """The reference of a photo at slot 1 or above, and its person among the clip's faces.

    Raises SetAsideError where the photo cannot be used.
    """
    size = (config.height, config.width)
    try:
        reference = next(given_reference(photo, finder, size, origin), None)
    except ValueError as error:
        raise SetAsideError(Reason.UNREADABLE, str(error)) from error
    if reference is None:
        raise SetAsideError(Reason.NO_REFERENCE, f"{photo} shows no face; needs another photo")
    track = follow(faces, reference.e_ref)
    if track.mean_cosine < config.min_cosine:
        raise _other_person(f"reference {photo.name}", track, config)
    return FurtherReference(
        source=reference.source,
        origin=reference.origin,
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
    entry: Entry, others: Mapping[str, Sequence[Entry]], config: PrepareConfig, finder: FaceFinder
) -> Iterator[Reference]:
    size = (config.height, config.width)
    return find_references(entry, others, finder, window_s=config.window_s, size=size)
