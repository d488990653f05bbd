"""Staged and direct clips: what moves, which candidate is kept, and the table."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.found_faces import embedded_face
from torch import Tensor

from stdrc_core.experiments.best_of_n import NUM_CANDIDATES, Judges, StagedScore, row_name, run
from stdrc_core.experiments.models import SHOT
from stdrc_core.experiments.reader import CaptionReader
from stdrc_core.experiments.scores import Case, draw_cases
from stdrc_core.experiments.staged import summarize
from stdrc_core.experiments.tables import DECODED_CLIPS, TRUE_CLIPS
from stdrc_core.faces.finder import EmbeddedFace, open_face_pack
from stdrc_core.faces.motion import face_motion
from stdrc_core.faces.similarity import largest_faces
from stdrc_core.mini.shipped import FACES

pytestmark = pytest.mark.filterwarnings("ignore:`estimate` is deprecated:FutureWarning")


def a_face(x: float, y: float, width: float = 50.0) -> EmbeddedFace:
    landmarks = torch.tensor([[0.0, 0.0], [20, 0], [10, 10], [2, 20], [18, 20]])
    return embedded_face([0.5] * 4, (x, y, x + width, y + 60), landmarks + torch.tensor([x, y]))


def test_motion_is_the_landmarks_way_in_face_widths():
    # 5 pixels, then 10, of a face 50 wide.
    assert face_motion([a_face(0, 0), a_face(3, 4), a_face(9, 12)]) == pytest.approx(0.15)
    # What lies between two faces with a gap is no step.
    assert face_motion([a_face(0, 0), a_face(3, 4), None, a_face(90, 4)]) == pytest.approx(0.1)
    # The width between: 40 and 60 are 50.
    assert face_motion([a_face(0, 0, 40), a_face(5, 0, 60)]) == pytest.approx(0.1)
    assert face_motion([a_face(0, 0), None, a_face(9, 9)]) is None
    assert face_motion([]) is None


@pytest.mark.parametrize("shift_px", [0, 2, 4])
def test_a_picture_moved_by_known_pixels_has_that_motion(shift_px: int):
    (case,) = draw_cases(1, seed=3)
    picture = torch.full((128, 256, 3), 90, dtype=torch.uint8)
    picture[:, 40:168] = (case.photo[0] * 255).round().byte()
    clip = torch.stack([picture.roll(i * shift_px, dims=1) for i in range(9)])
    found = largest_faces(clip, open_face_pack(FACES))
    width = np.mean([float(each.face.box[2] - each.face.box[0]) for each in found])
    assert face_motion(found) == pytest.approx(shift_px / width, abs=0.5 / width)


class Known:
    """A pipeline of known clips: of candidate i, and of what begins with its first frame."""

    def __init__(self, clips: list[Tensor]) -> None:
        self.clips = torch.stack(clips).float() / 255
        self.animated: list[int] = []

    def many(self, photos, contexts, shot, seeds, on_step=None, *, first_frames=None) -> Tensor:
        assert len(photos) == len(contexts) == len(seeds)
        if first_frames is None:
            chosen = self.clips[[seed - 70 for seed in seeds]]
            return chosen[:, : shot.num_frames]
        assert set(seeds) == {70}
        whose = [
            int((self.clips[:, 0] - frame).abs().flatten(1).sum(1).argmin())
            for frame in first_frames
        ]
        self.animated += whose
        return self.clips[whose]


@pytest.fixture(scope="module")
def reader() -> CaptionReader:
    torch.manual_seed(0)
    return CaptionReader().eval()


def test_the_kept_one_is_the_arg_max_of_each_prefix(reader: CaptionReader):
    case, *others = draw_cases(7, seed=3)
    same = Case(person=case.person, photo_scene=case.photo_scene, scene=others[0].scene)
    flat = torch.full((17, 128, 128, 3), 90, dtype=torch.uint8)
    # No face at all comes first; the person itself is the third and, in another scene, the sixth.
    clips = [flat, *(each.true_clip() for each in others[:5])]
    clips[2], clips[5] = case.true_clip(), same.true_clip()
    clips += [each.true_clip() for each in others[4:6]]
    judges, pipeline = Judges(faces=open_face_pack(FACES), reader=reader), Known(clips)
    made = run(pipeline, case, replace(SHOT, seed=70), judges)
    rows = {name: score for name, (score, _) in made.items()}
    alone = [judges.score(clip, case) for clip in clips]
    alike = [score.facesim for score in alone]
    assert alike[0] == 0 and sorted(np.argsort(alike)[-2:]) == [2, 5]
    for count in NUM_CANDIDATES:
        direct = rows[row_name("direct", count)]
        assert direct.kept == int(np.argmax(alike[:count]))
        assert direct.facesim == pytest.approx(max(alike[:count]), abs=1e-6)
        assert direct.motion == alone[direct.kept].motion
        assert torch.equal(made[row_name("direct", count)][1], clips[direct.kept])
        staged = rows[row_name("staged", count)]
        # Its first frame was chosen: of one flat and one stranger the stranger, then the person.
        assert staged.kept in {1: {0}, 2: {1}, 4: {2}, 8: {2, 5}}[count]
        assert staged.facesim == pytest.approx(alike[staged.kept], abs=1e-6)
        still = judges.score(clips[staged.kept][:1].expand(17, -1, -1, -1), case)
        assert staged.first_frame == pytest.approx(still.facesim, abs=1e-5)
        assert direct.first_frame is None and still.motion in (0, None)
    # Each kept frame is animated once; more candidates take more time.
    assert len(pipeline.animated) == len(set(pipeline.animated))
    times = [rows[row_name("direct", count)].time_s for count in NUM_CANDIDATES]
    assert times == sorted(times)


def test_differences_are_between_clips_of_one_person():
    def rows(direct: float, staged: float) -> dict[str, StagedScore]:
        values = {"motion": 0.1, "caption": 1.0, "time_s": 2.0}
        made = {"direct": direct, "staged": staged}
        return {
            row_name(way, count): StagedScore(facesim=facesim, **values)
            for way, facesim in made.items()
            for count in NUM_CANDIDATES
        }

    drawn = {
        name: StagedScore(facesim=1.0, motion=0.1, caption=1.0, time_s=None)
        for name in (TRUE_CLIPS, DECODED_CLIPS)
    }
    results = summarize([rows(0.2, 0.4) | drawn, rows(0.7, 0.8) | drawn])
    assert results["rows"]["direct, best of 4"]["facesim"]["mean"] == pytest.approx(0.45)
    # Persons' differences 0.2 and 0.1: far surer than the two means are.
    difference = results["differences"]["best of 4"]["facesim"]
    assert difference["mean"] == pytest.approx(0.15)
    assert difference["standard_error"] == pytest.approx(0.05)


def test_motion_is_a_share_of_true_clips():
    def person(motion: float, true: float) -> dict[str, StagedScore]:
        values = {"facesim": 0.5, "caption": 1.0, "time_s": None}
        made = {
            row_name(way, count): StagedScore(motion=motion * count, **values)
            for way in ("direct", "staged")
            for count in NUM_CANDIDATES
        }
        names = (TRUE_CLIPS, DECODED_CLIPS)
        return made | {name: StagedScore(motion=true, **values) for name in names}

    motion = summarize([person(0.01, 0.03), person(0.03, 0.01)])["motion"]
    assert [each["share"] for each in motion.values()] == pytest.approx([1, 2, 4, 8])
    assert [each["within"] for each in motion.values()] == [True, False, False, False]
