"""Two people in one clip: the world, its files, and `experiments two-people`."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.json_lines import read_json_lines
from PIL import Image

from stdrc_core.experiments.__main__ import main
from stdrc_core.experiments.two_people import (
    BOTH,
    CHECKPOINT_NAME,
    COLUMNS,
    SWAPPED,
    TRUE_CLIPS,
    WITHOUT,
    DuoScore,
    compare,
    each_side,
    score_clips,
)
from stdrc_core.faces.finder import open_face_pack
from stdrc_core.mini.character import is_unseen
from stdrc_core.mini.drawing import SIDE_PX, draw_clip, draw_together
from stdrc_core.mini.prompt import NUM_TOKENS
from stdrc_core.mini.scene import ATTRIBUTES
from stdrc_core.mini.shipped import CHECKPOINT, FACES
from stdrc_core.mini_build.build import prepare_clips
from stdrc_core.mini_build.dataset import write_dataset
from stdrc_core.mini_build.duo import Duo, draw_duos
from stdrc_core.train.cache import Cache

pytestmark = pytest.mark.filterwarnings("ignore:`estimate` is deprecated:FutureWarning")


@pytest.fixture(scope="module")
def duos() -> list[Duo]:
    return draw_duos(12, seed=3)


def test_two_persons_stand_apart_before_one_wall(duos: list[Duo]):
    for duo in duos:
        left, right = draw_together(list(zip(duo.people, duo.scenes, strict=True)))
        assert np.array_equal(left.pixels, right.pixels)
        # Each face on its own side through all frames, and inside the frame.
        assert (left.boxes[:, 2] < right.boxes[:, 0]).all()
        assert left.boxes[:, 0].min() >= 0 and right.boxes[:, 2].max() <= SIDE_PX
        assert (left.landmarks[..., 0] < SIDE_PX / 2).all()
        assert (right.landmarks[..., 0] > SIDE_PX / 2).all()
        # Its place is that of the person drawn alone.
        alone = draw_clip(duo.people[0], duo.scenes[0])
        assert np.array_equal(left.landmarks, alone.landmarks)
        for name in ("background", "pattern", "light"):
            assert getattr(duo.scenes[0], name) == getattr(duo.scenes[1], name)
        for scene, photo_scene in zip(duo.scenes, duo.photo_scenes, strict=True):
            assert all(getattr(scene, name) != getattr(photo_scene, name) for name in ATTRIBUTES)


def test_a_caption_of_two_tells_both_within_the_prompts_tokens(duos: list[Duo]):
    for duo in duos:
        words = re.findall(r"\w+", duo.caption)
        assert len(words) <= NUM_TOKENS
        left, right = duo.caption.split(", beside ")
        assert left == duo.scenes[0].caption
        for told in (duo.scenes[1].clothes_color, duo.scenes[1].clothes, duo.scenes[1].motion):
            assert told in right


def test_each_side_is_its_own_person(duos: list[Duo]):
    faces = open_face_pack(FACES)
    scores = score_clips([duo.true_clip() for duo in duos], duos, faces)
    for score in scores:
        assert score.found == 1
        own, other = (score.left_first, score.right_second), (score.left_second, score.right_first)
        assert min(own) > 0.5
        assert min(own) > max(other) + 0.1
    assert np.mean([(score.left_first, score.right_second) for score in scores]) > 0.8
    # Some are alike by chance; most are not.
    assert np.median([score.left_second for score in scores]) < 0.2
    # The frames mirrored are each other's persons.
    mirrored = [duo.true_clip().flip(2) for duo in duos]
    for score in score_clips(mirrored, duos, faces):
        assert min(score.left_second, score.right_first) > max(score.left_first, score.right_second)


def test_a_side_alone_holds_no_pixel_of_the_other():
    frames = torch.randint(0, 128, (2, 6, 8, 3), dtype=torch.uint8)
    left, right = each_side(frames)
    assert torch.equal(left[:, :, :4], frames[:, :, :4])
    assert torch.equal(right[:, :, 4:], frames[:, :, 4:])
    assert (left[:, :, 4:] == 128).all() and (right[:, :, :4] == 128).all()


def test_clips_of_two_go_into_the_trainers_cache(tmp_path: Path):
    manifest = write_dataset(tmp_path / "data", 2, seed=1, duo_every=1)
    lines = read_json_lines(manifest)
    persons = [int(number) for line in lines for number in Path(line["video"]).stem.split("_")]
    assert len(set(persons)) == 4
    assert not any(map(is_unseen, persons))
    prepare_clips(
        manifest,
        tmp_path / "cache",
        checkpoint=CHECKPOINT,
        faces=FACES,
        num_processes=1,
        min_cosine=-1,
    )
    cache = Cache(tmp_path / "cache")
    assert cache.num_references == {2}
    for line, sample in zip(sorted(lines, key=lambda line: line["video"]), cache, strict=True):
        assert sample.caption == line["caption"]
        (other,) = sample.further
        for reference, name in zip((sample, other), line["references"], strict=True):
            photo = np.asarray(Image.open(tmp_path / "data" / name))
            assert np.array_equal(reference.reference.numpy(), photo)


def test_gains_are_of_pairs():
    def score(left: float, right: float) -> DuoScore:
        others = {"left_second": 0.0, "right_first": 0.0, "found": 1.0}
        return DuoScore(left_first=left, right_second=right, **others)

    without, both = [score(0.1, 0.0), score(0.3, 0.2)], [score(0.4, 0.1), score(0.8, 0.1)]
    results = compare({WITHOUT: [without], BOTH: [both], TRUE_CLIPS: [both]})
    assert list(results["gains"]) == [BOTH]
    assert results["rows"][BOTH]["left_first"]["mean"] == pytest.approx(0.6)
    gain = results["gains"][BOTH]["left_first"]
    # 0.3 and 0.5.
    assert (gain["mean"], gain["standard_error"]) == pytest.approx((0.4, 0.1))


def test_the_command_measures_weights_that_are_there(tmp_path: Path):
    shutil.copy(CHECKPOINT, tmp_path / CHECKPOINT_NAME)
    options = {"out": tmp_path, "num-pairs": 2, "num-seeds": 1, "steps": 2}
    main(["two-people", *(f"--{name}={value}" for name, value in options.items())])
    results = json.loads((tmp_path / "two_people.json").read_text())
    rows = results["rows"]
    assert {WITHOUT, BOTH, SWAPPED, TRUE_CLIPS} <= set(rows)
    assert set(rows[BOTH]) == set(COLUMNS)
    assert rows[TRUE_CLIPS]["left_first"]["mean"] > 0.6
    said = (tmp_path / "two_people.md").read_text()
    assert said.startswith("2 pairs of unseen persons, 1 seed(s)")
    assert all(label in said for label in COLUMNS.values())
    assert (tmp_path / "two_people.png").stat().st_size > 10_000


def test_too_few_pairs_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        main(["two-people", "--out", str(tmp_path / "new"), "--num-pairs", "1"])
    assert "num-pairs was 1; needs 2 or more" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
