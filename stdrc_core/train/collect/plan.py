"""Decides, from the scans of all videos, what the data set is made of.

The decision is made of the scans, the user's photos and what was decided by hand, so that every
process that makes it makes the same one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .by_hand import Decisions
from .footage import Footage
from .left_out import LeftOut, Reason
from .options import CollectConfig
from .persons import PersonIds, centre, group_tracks
from .photos import Photo
from .references import Candidate, Gallery, candidates_of, good_faces
from .scan import Scan
from .scan_store import ScanStore
from .tracks import Track, find_tracks, mean_embedding
from .verification import threshold
from .windows import Window, find_windows


@dataclass(frozen=True, kw_only=True, eq=False)
class PlannedClip:
    """A clip of the data set: its window, who is in it, and the references of each."""

    window: Window
    persons: tuple[str, ...]
    """The ids of the window's persons, from left to right."""
    references: tuple[tuple[Candidate, ...], ...]
    """The references of each of them."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """What the data set is made of."""

    clips: tuple[PlannedClip, ...]
    excluded: tuple[PlannedClip, ...]
    """Clips that were left out by hand; the page still shows them."""
    left_out: tuple[LeftOut, ...]
    same_person: float
    """The threshold that persons were told apart by."""
    facts: Mapping[str, Scan]
    """The scans' facts by the footage's keys, without their faces."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Found:
    tracks: list[Track]
    good: list[list[int]]
    windows: list[Window]
    left_out: list[LeftOut]
    facts: dict[str, Scan]


def make_plan(
    footage: Sequence[Footage],
    scans: ScanStore,
    photos: Sequence[Photo],
    ids: PersonIds,
    decisions: Decisions,
    config: CollectConfig,
) -> Plan:
    """The plan for videos that have all been scanned; `ids` are told of new persons."""
    found = _find(footage, scans, config)
    names = {each.key: each.name for each in footage}
    same_person = config.same_person
    if same_person is None:
        same_person = threshold(found.tracks, found.good)
    means = [mean_embedding(*each) for each in zip(found.tracks, found.good, strict=True)]
    groups = group_tracks(found.tracks, means, same_person)
    centres = [centre(group, means) for group in groups]
    keys = [[found.tracks[i].key for i in group] for group in groups]
    person_of = {
        key: person
        for group, person in zip(keys, ids.name(keys, centres, same_person), strict=True)
        for key in group
    }
    of_photos, unknown = _persons_of_photos(photos, centres, keys, person_of, same_person)
    person_of = _by_hand(person_of, found, decisions)
    galleries = _galleries(found, person_of, of_photos, decisions)
    bound = config.min_reference_cosine
    bound = same_person if bound is None else bound
    clips, excluded = [], []
    left_out = found.left_out + unknown
    for window in found.windows:
        persons = tuple(person_of.get(track.key, "") for track in window.tracks)
        start_s, end_s = round(window.start_s, 3), round(window.end_s, 3)
        where = {"file": names[window.footage], "start_s": start_s, "end_s": end_s}
        if len(set(persons)) < len(persons) or "" in persons:
            left_out.append(
                LeftOut(
                    reason=Reason.UNKNOWN_PERSON,
                    detail="two of its persons were taken for one, or no face is good enough",
                    **where,
                )
            )
            continue
        references = tuple(
            tuple(galleries[person].choose(window, track, bound, config.num_references))
            for person, track in zip(persons, window.tracks, strict=True)
        )
        clip = PlannedClip(window=window, persons=persons, references=references)
        if decisions.excluded & {window.key, *persons}:
            excluded.append(clip)
            what = f"{window.key} or its person is in exclude.txt"
            left_out.append(LeftOut(reason=Reason.EXCLUDED, detail=what, **where))
        elif not all(references):
            lacking = [p for p, own in zip(persons, references, strict=True) if not own]
            left_out.append(
                LeftOut(
                    reason=Reason.NO_REFERENCE,
                    detail=f"{' and '.join(lacking)} has no other shot with a good face of cosine "
                    f"{bound:.2f} or more, and no photo",
                    **where,
                )
            )
        else:
            clips.append(clip)
    return Plan(
        clips=tuple(clips),
        excluded=tuple(excluded),
        left_out=tuple(left_out),
        same_person=same_person,
        facts=found.facts,
    )


def _find(footage: Sequence[Footage], scans: ScanStore, config: CollectConfig) -> _Found:
    """The good tracks and the windows of all videos, and what was left out."""
    found = _Found(tracks=[], good=[], windows=[], left_out=[], facts={})
    for each in footage:
        scan = scans.read(each.key)
        if not isinstance(scan, Scan):
            found.left_out.append(
                LeftOut(reason=Reason.UNREADABLE, file=each.name, detail=scan or "not scanned")
            )
            continue
        if scan.damage:
            found.left_out.append(
                LeftOut(
                    reason=Reason.UNREADABLE,
                    file=each.name,
                    detail=f"from {scan.duration_s:.2f} s on: {scan.damage}",
                )
            )
        tracks = find_tracks(each.key, scan)
        if not tracks:
            nobody = "no face was followed through any shot"
            found.left_out.append(LeftOut(reason=Reason.NO_FACE, file=each.name, detail=nobody))
            continue
        windows, left_out = find_windows(each.name, each.key, scan, tracks, config)
        found.windows.extend(windows)
        found.left_out.extend(left_out)
        of_shot: dict[int, list[Track]] = {}
        for track in tracks:
            of_shot.setdefault(track.shot, []).append(track)
        for track in tracks:
            beside = [each for each in of_shot[track.shot] if each is not track]
            good = good_faces(track, beside, config)
            if good:
                found.tracks.append(track)
                found.good.append(good)
        found.facts[each.key] = scan.without_faces()
    return found


def _persons_of_photos(
    photos: Sequence[Photo],
    centres: Sequence[Tensor],
    keys: Sequence[Sequence[str]],
    person_of: Mapping[str, str],
    same_person: float,
) -> tuple[dict[str, list[Candidate]], list[LeftOut]]:
    """The photos of each person, who is told by a track, and the photos that are of nobody."""
    own: dict[str, list[Candidate]] = {}
    unknown = []
    for photo in photos:
        if photo.embedding is None:
            unknown.append(LeftOut(reason=Reason.PHOTO, file=photo.path.name, detail=photo.problem))
            continue
        alike = torch.stack(list(centres)) @ photo.embedding if centres else torch.zeros(0)
        best = int(alike.argmax()) if len(alike) else -1
        if best < 0 or float(alike[best]) < same_person:
            most = f"{float(alike[best]):.2f}" if best >= 0 else "none"
            detail = f"its highest cosine with a person is {most}; needs {same_person:.2f}"
            unknown.append(LeftOut(reason=Reason.PHOTO, file=photo.path.name, detail=detail))
            continue
        candidate = Candidate(embedding=photo.embedding, photo=photo.path)
        own.setdefault(keys[best][0], []).append(candidate)
    return own, unknown


def _by_hand(person_of: Mapping[str, str], found: _Found, decisions: Decisions) -> dict[str, str]:
    """Who each track is after what was decided by hand."""
    clips: dict[str, set[str]] = {}
    for window in found.windows:
        for track in window.tracks:
            clips.setdefault(track.key, set()).add(window.key)
    return {
        key: decisions.person(person, frozenset(clips.get(key, ())))
        for key, person in person_of.items()
    }


def _galleries(
    found: _Found,
    person_of: Mapping[str, str],
    of_photos: Mapping[str, Sequence[Candidate]],
    decisions: Decisions,
) -> dict[str, Gallery]:
    """The faces that may be references, by person; faces of excluded clips are none."""
    gone = {
        track.key
        for window in found.windows
        if window.key in decisions.excluded
        for track in window.tracks
    }
    faces: dict[str, list[Candidate]] = {person: [] for person in person_of.values()}
    photos: dict[str, list[Candidate]] = {}
    for track, good in zip(found.tracks, found.good, strict=True):
        if track.key not in gone:
            faces[person_of[track.key]] += candidates_of(track, good)
    for key, own in of_photos.items():
        photos.setdefault(person_of[key], []).extend(own)
    return {person: Gallery(own, photos.get(person, ())) for person, own in faces.items()}
