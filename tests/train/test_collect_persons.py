"""Persons of `collect`: who is who, by which ids, with which references, and what hands decide."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from helpers.collect_tracks import NEUTRAL, make_track, unit
from helpers.json_lines import write_json_lines
from hypothesis import given, settings
from hypothesis import strategies as st

from stdrc_core.train.collect.by_hand import read_decisions
from stdrc_core.train.collect.options import CollectConfig
from stdrc_core.train.collect.persons import PersonIds, cluster, group_tracks
from stdrc_core.train.collect.references import Candidate, Gallery, good_faces
from stdrc_core.train.collect.tracks import Track
from stdrc_core.train.collect.verification import DEFAULT, HIGHEST, LOWEST, threshold, together
from stdrc_core.train.collect.windows import Window
from stdrc_core.train.sources import read_sources


def test_persons_are_grouped_and_two_at_once_never_are():
    a, near, b = unit(0), unit(20), unit(90)
    tracks = [
        make_track("v1#0", a),
        make_track("v1#1", near, shot=1),
        make_track("v2#0", a),
        # The same face twice at the same time: a mirror, or twins.
        make_track("v2#1", near, left=400),
        make_track("v3#0", b),
    ]
    means = [track.embedding[0] for track in tracks]
    groups = group_tracks(tracks, means, 0.5)
    of = {i: number for number, group in enumerate(groups) for i in group}
    assert of[0] == of[1]
    assert of[2] != of[3]
    assert {of[0]} & {of[2], of[3]}
    assert of[4] not in {of[0], of[2], of[3]}


def test_a_face_that_is_found_twice_is_no_second_person():
    """Two boxes at one place, as of a detector that is not sure where a face ends."""
    once = [make_track("v1#0", unit(0)), make_track("v1#1", unit(20), left=60)]
    assert list(together([(track, None) for track in once])) == []
    assert group_tracks(once, [track.embedding[0] for track in once], 0.5) == [[0, 1]]
    apart = [once[0], make_track("v1#1", unit(20), left=200)]
    assert len(list(together([(track, None) for track in apart]))) == 1
    # Neither is a reference while they are at one place: who is shown there is not sure.
    config = CollectConfig(min_face_px=40)
    assert good_faces(once[0], once[1:], config) == []
    assert good_faces(apart[0], apart[1:], config) == list(range(8))
    late = make_track("v1#1", unit(20), left=60, start_s=1.0)
    assert good_faces(once[0], [late], config) == [0, 1, 2, 3]


@given(st.integers(0, 10**6), st.integers(2, 6), st.integers(1, 5))
@settings(deadline=None, max_examples=25)
def test_clusters_are_the_persons_whatever_their_order(seed: int, persons: int, each: int):
    generator = torch.Generator().manual_seed(seed)
    centres = torch.linalg.qr(torch.randn(64, 64, generator=generator))[0][:persons]
    order = torch.randperm(persons * each, generator=generator)
    noisy = centres.repeat_interleave(each, 0) + 0.05 * torch.randn(
        persons * each, 64, generator=generator
    )
    labels = cluster(F.normalize(noisy[order], dim=1), [], 0.5)
    true = (order // each).tolist()
    assert len(set(zip(true, labels, strict=True))) == persons == len(set(labels))
    assert labels[0] == 0


def test_ids_stay_when_footage_is_added_and_none_is_given_twice(tmp_path: Path):
    a, b, c = unit(0), unit(90), torch.tensor([0.0, 0, 1, 0])
    ids = PersonIds(tmp_path)
    assert ids.name([["x#0"], ["y#0", "y#1"]], [a, b], 0.5) == ["p0001", "p0002"]
    ids.save()
    # New footage before the old: groups come in another order, and one has lost a track.
    ids = PersonIds(tmp_path)
    assert ids.name([["k#0"], ["y#1", "z#3"], ["x#0"]], [c, b, a], 0.5) == [
        *("p0003", "p0002", "p0001"),
    ]
    ids.save()
    # Scanned anew, the tracks have other numbers, and the faces tell.
    ids = PersonIds(tmp_path)
    assert ids.name([["x#7"], ["k#9"], ["y#5"]], [unit(10), c, b], 0.5) == [
        *("p0001", "p0003", "p0002"),
    ]
    ids.save()
    ids = PersonIds(tmp_path)
    assert ids.name([["q#0"]], [torch.tensor([0.0, 0, 0, 1])], 0.5) == ["p0004"]


def test_the_threshold_is_between_the_two_sides_of_the_packs_curve():
    rng = torch.Generator().manual_seed(0)

    def tracks(spread: float, number: int) -> list[Track]:
        made = []
        for i in range(number):
            for person in range(2):
                vectors = torch.zeros(8, 32)
                vectors[:, (2 * i + person) % 32] = 1
                noisy = F.normalize(vectors + spread * torch.randn(8, 32, generator=rng), dim=1)
                made.append(replace(make_track(f"v{i}#{person}", unit(0, 32)), embedding=noisy))
        return made

    good = tracks(0.05, 60)
    found = threshold(good, [range(8)] * len(good))
    assert LOWEST <= found <= HIGHEST
    worse = tracks(0.2, 60)
    assert threshold(worse, [range(8)] * len(worse)) <= found
    few = tracks(0.05, 3)
    assert threshold(few, [range(8)] * len(few)) == DEFAULT


def test_of_few_persons_the_threshold_is_below_what_one_person_looks_like():
    """Two persons who are in every video: half of all pairs are of one person, and the middle and
    the spread of all say nothing of two."""
    rng = torch.Generator().manual_seed(2)
    centres = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    tracks = []
    for i in range(20):
        for person, centre in enumerate(centres):
            vectors = F.pad(centre, (0, 14)).expand(8, -1)
            noisy = F.normalize(vectors + 0.1 * torch.randn(8, 16, generator=rng), dim=1)
            # One after the other, so that they are never seen together.
            track = make_track(f"v{i}#{person}", unit(0, 16), shot=person)
            tracks.append(replace(track, embedding=noisy))
    found = threshold(tracks, [range(8)] * len(tracks))
    same = torch.stack([track.embedding[0] @ track.embedding[7] for track in tracks])
    assert found == pytest.approx(float(same.quantile(0.1)) - 0.1, abs=1e-4)
    groups = group_tracks(tracks, [track.embedding.mean(dim=0) for track in tracks], found)
    assert [{i % 2 for i in group} for group in groups] == [{0}, {1}]


def test_a_reference_is_from_another_shot_and_most_unlike():
    clip = make_track("v#0", unit(0))
    window = Window(footage="v", shot=0, start_s=0, end_s=2, tracks=(clip,))

    def face(shot: int, angle: float = 10, footage: str = "v", **looks) -> Candidate:
        return Candidate(
            embedding=unit(angle),
            looks=replace(NEUTRAL, **looks),
            footage=footage,
            shot=shot,
            time_s=shot,
            box=(0, 0, 9, 9),
        )

    own = face(0, yaw_deg=40, clothes=(0, 0, 0))
    same_looks = face(1)
    turned_only = face(2, yaw_deg=40)
    all_unlike = face(3, yaw_deg=-40, light=(30, 30, 30), clothes=(250, 20, 20))
    other_person = face(4, angle=80, yaw_deg=40, light=(9, 9, 9), clothes=(0, 0, 255))
    gallery = Gallery([own, same_looks, turned_only, all_unlike, other_person])
    assert gallery.choose(window, clip, 0.5, 1) == [all_unlike]
    assert gallery.choose(window, clip, 0.5, 2) == [all_unlike, turned_only]
    assert gallery.choose(window, clip, 0.5, 9) == [all_unlike, turned_only, same_looks]
    assert Gallery([own, other_person]).choose(window, clip, 0.5, 1) == []
    photo = Candidate(embedding=unit(5), photo=Path("anna.jpg"))
    gallery = Gallery([all_unlike], [photo])
    assert gallery.choose(window, clip, 0.5, 2) == [photo, all_unlike]


def test_what_is_decided_by_hand(tmp_path: Path):
    (tmp_path / "persons.txt").write_text(
        "# twins\nmerge p0001 p0007\nmerge p0002 p0001\n"
        "split p0004 clips/take-ab/00001000.mp4 # not her\n"
    )
    (tmp_path / "exclude.txt").write_text("p0009\nclips/take-ab/00005000.mkv\n\n# nothing\n")
    found = read_decisions(tmp_path)
    assert found.person("p0007", frozenset()) == "p0002"
    assert found.person("p0004", frozenset({"take-ab/00001000"})) == "p0004-2"
    assert found.person("p0004", frozenset({"take-ab/00009000"})) == "p0004"
    assert found.excluded == {"p0009", "take-ab/00005000"}
    for text, words in (
        ("join a b", "line 1 of"),
        ("merge a", "needs `merge ID ID"),
        ("merge a b\nmerge b a", "in a circle"),
        ("merge a a", "in a circle"),
    ):
        (tmp_path / "persons.txt").write_text(text)
        with pytest.raises(ValueError, match=words):
            read_decisions(tmp_path)


def test_prepare_heeds_what_was_excluded(tmp_path: Path):
    lines = [
        {"video": f"clips/a/{i}.mp4", "caption": "a person walks", "identity": f"p{i % 2}"}
        for i in range(6)
    ]
    lines.append({"video": "clips/b.mp4", "caption": "two talk", "persons": ["p0", "p5"]})
    path = write_json_lines(tmp_path / "manifest.jsonl", lines)
    assert len(read_sources(path, window_s=1)) == 7
    (tmp_path / "exclude.txt").write_text("p1\nclips/a/2.mp4\n")
    ids = [entry.id for entry in read_sources(path, window_s=1)]
    assert ids == ["clips/a/0.mp4@0", "clips/a/4.mp4@0", "clips/b.mp4@0"]
    (tmp_path / "exclude.txt").write_text("p1\np5\n")
    assert len(read_sources(path, window_s=1)) == 3
