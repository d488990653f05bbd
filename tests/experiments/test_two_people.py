"""Two people in one clip: the world, its files, and their scores."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.json_lines import read_json_lines
from PIL import Image

from stdrc_core.experiments.two_people import (
    BOTH,
    SWAPPED,
    WITHOUT,
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
    def row(left: list[float], right: list[float]) -> list[dict[str, list[float]]]:
        others = {name: [0.0, 0.0, 0.0] for name in ("left_second", "right_first", "found")}
        return [{"left_first": left, "right_second": right, **others}]

    # In pairs both persons gain 0.3, though they are far apart.
    without, both = row([0.1, 0.6, 0.2], [0.0, 0.2, 0.1]), row([0.4, 0.9, 0.5], [0.3, 0.0, 0.1])
    results = compare({WITHOUT: without, BOTH: both, SWAPPED: without})
    assert results["rows"][BOTH]["left_first"]["mean"] == pytest.approx(0.6)
    gains = results["gains"]
    assert gains[BOTH]["left_first"]["mean"] == pytest.approx(0.3)
    assert gains[BOTH]["left_first"]["direction"] == "above"
    assert gains[BOTH]["right_second"]["mean"] == pytest.approx(0.1 / 3)
    assert gains[BOTH]["right_second"]["direction"] == "not told apart"
    assert set(gains[SWAPPED]) == {"left_second", "right_first"}


def test_a_face_that_is_like_both_photos_binds_no_slot():
    """Each face gains over the row without, and is no more like its own photo than the other."""
    names = ("left_first", "right_second", "left_second", "right_first", "found")
    without = [{name: [0.1, 0.12, 0.08] for name in names}]
    blend = [{name: [0.4, 0.43, 0.37] for name in names}]
    results = compare({WITHOUT: without, BOTH: blend, SWAPPED: blend})
    told = {
        key: {each["direction"] for row in results[key].values() for each in row.values()}
        for key in ("gains", "own")
    }
    assert told == {"gains": {"above"}, "own": {"not told apart"}}
