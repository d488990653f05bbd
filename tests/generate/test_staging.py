"""`python -m stdrc_core.generate --staged`: first frames, the best kept, and a clip from it."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.clips import decode
from helpers.drawn_persons import SCENE, read_picture, write_picture
from helpers.found_faces import found_face
from helpers.generate_command import words
from helpers.tiny_face_networks import GenderByRed, export_genderage
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from stdrc_core.experiments.scores import draw_cases
from stdrc_core.faces.finder import open_face_pack
from stdrc_core.faces.similarity import largest_embeddings, largest_faces
from stdrc_core.generate.__main__ import main, make_parser
from stdrc_core.generate.detail import cut, detail_face, detail_region, put_back
from stdrc_core.generate.jobs import Job, Staging
from stdrc_core.generate.pipeline import Shot
from stdrc_core.generate.results import make
from stdrc_core.generate.staging import StagePrompts, make_first_frame, split_job
from stdrc_core.mini.character import identity
from stdrc_core.mini.drawing import draw_clip, draw_photo
from stdrc_core.mini.scene import ATTRIBUTES, MOTIONS, Scene, split_caption
from stdrc_core.mini.shipped import CHECKPOINT, FACES

pytestmark = pytest.mark.filterwarnings("ignore:`estimate` is deprecated:FutureWarning")


def test_a_staged_clip_begins_with_its_first_frame_and_tells_how_it_was_made(
    tmp_path: Path, photo: Path, caplog: pytest.LogCaptureFixture
) -> None:
    asked = ["--reference", photo, "--prompt", SCENE.caption, "--staged", "--candidates", "3"]
    command = words(CHECKPOINT, tmp_path, *asked, "--name", "one")
    with caplog.at_level(logging.INFO):
        main(command)
    result = json.loads((tmp_path / "one.json").read_text())
    assert result["asked"]["staging"] == {
        "num_candidates": 3,
        "gender": None,
        "face_detail": None,
    }
    staged = result["staged"]
    assert staged["seeds"] == [0, 1, 2]
    assert len(staged["similarities"]) == 3
    assert (staged["spatial"], staged["temporal"]) == split_caption(SCENE.caption)
    assert any("caption of the miniature" in message for message in caplog.messages)
    kept = read_picture(tmp_path / "one.first.png").astype(float)
    clip = decode(tmp_path / "one.mp4").astype(float)
    alike = [np.corrcoef(kept.ravel(), frame.ravel())[0, 1] for frame in clip]
    assert alike[0] > 0.7
    assert alike[0] > alike[-1]
    # The same command finds it done; the clip made at once is another one.
    made = (tmp_path / "one.json").stat().st_mtime_ns
    main(command)
    assert (tmp_path / "one.json").stat().st_mtime_ns == made
    main([word for word in command if word != "--staged"])
    direct = json.loads((tmp_path / "one.json").read_text())
    assert "staging" not in direct["asked"] and "staged" not in direct


@pytest.mark.parametrize("motion", MOTIONS)
def test_a_caption_is_split_in_words_that_the_miniature_knows(motion: str) -> None:
    scene = Scene(**{name: values[0] for name, values in ATTRIBUTES.items()} | {"motion": motion})
    still, moving = split_caption(scene.caption)
    assert moving == scene.caption
    # What an independent caption of the still scene says.
    assert still == Scene(**vars(scene) | {"motion": "stays still"}).caption


@pytest.mark.parametrize("prompt", ["a person", "turns left", "a man walks home, smiling", ""])
def test_what_is_no_caption_stays_whole(prompt: str) -> None:
    assert split_caption(prompt) is None


class Candidates:
    """A pipeline whose clips of given seeds are known pictures."""

    def __init__(self, frames: dict[int, Tensor]) -> None:
        self.frames, self.asked = frames, []

    def many(self, photos, contexts, shot, seeds, on_step=None, **_) -> Tensor:
        self.asked.append((len(photos), len(contexts), shot.num_frames))
        return torch.stack([self.frames[seed] for seed in seeds])[:, None]


def a_job(num_candidates: int = 3, seed: int = 7, prompt: str = "A chef waves.") -> Job:
    return Job(
        name="job",
        reference=Path("person.png"),
        prompt=prompt,
        shot=Shot(num_frames=9, height=128, width=128, seed=seed),
        weights="",
        staging=Staging(num_candidates=num_candidates, gender=None),
    )


def test_the_candidate_most_like_the_person_is_kept(tmp_path: Path) -> None:
    faces = open_face_pack(FACES)
    person, stranger = draw_cases(2, seed=5)
    # A frame of the same person in another scene, a stranger, and nobody.
    frames = {
        7: stranger.photo[0],
        8: person.true_clip()[0].float() / 255,
        9: torch.full_like(stranger.photo[0], 0.5),
    }
    (e_ref,) = largest_embeddings((person.photo * 255).round().byte(), faces)
    pipeline, context = Candidates(frames), torch.zeros(4, 8)
    arguments = (tmp_path, a_job(), pipeline, person.photo, context)
    first = make_first_frame(*arguments, faces, e_ref)
    assert pipeline.asked == [(3, 3, 1)]
    assert first.facts["kept"] == 1
    assert first.facts["similarities"][2] is None
    assert torch.equal(first.frame, frames[8])
    written = read_picture(tmp_path / "job.first.png")
    assert np.abs(written / 255 - frames[8].numpy()).max() < 1 / 255
    # Nothing to measure by: the first one, which is said.
    assert make_first_frame(*arguments, None, None).facts["kept"] == 0


def test_an_interrupt_while_the_clip_is_made_leaves_the_first_frame(tmp_path: Path) -> None:
    class Interrupted(Candidates):
        def many(self, *arguments, first_frames=None, **options) -> Tensor:
            if first_frames is not None:
                raise KeyboardInterrupt
            return super().many(*arguments, **options)

    photo = draw_cases(1, seed=5)[0].photo
    pipeline = Interrupted({7 + i: torch.full_like(photo[0], i / 4) for i in range(3)})
    stages = StagePrompts(spatial="still", temporal="moving", notes=())
    contexts = {"still": torch.zeros(4, 8), "moving": torch.ones(4, 8)}
    with pytest.raises(KeyboardInterrupt):
        make(tmp_path, a_job(), pipeline, None, [photo], contexts, stages)
    assert [path.name for path in tmp_path.iterdir()] == ["job.first.png"]


def test_a_real_models_prompt_is_split_by_rules_with_the_photos_gender(tmp_path: Path) -> None:
    for file in FACES.glob("*.onnx"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    args = make_parser().parse_args(["--text-encoder", "gemma", "--faces", str(tmp_path)])
    person = draw_cases(1, seed=5)[0].photo
    photo = person * torch.tensor([0.4, 1.0, 1.0])
    faces = open_face_pack(tmp_path)
    job = a_job(prompt="A chef in an apron waves at the camera.")
    without = split_job(job, args, [photo], faces)
    assert "has no gender model" in without.notes[0]
    export_genderage(GenderByRed(), tmp_path / "genderage.onnx")
    staged = split_job(job, args, [photo], faces)
    assert "Gender: woman, read from the photo" in staged.notes[0]
    assert staged.spatial == "A chef in an apron, close-up"
    assert staged.temporal.startswith("A chef in an apron waves") and "her face" in staged.temporal
    with pytest.raises(ValueError, match=r"person\.png shows no face.*needs a clear one"):
        split_job(job, args, [torch.full_like(photo, 0.5)], faces)
    with pytest.raises(ValueError, match=r"person\.png shows 2 persons.*needs one"):
        split_job(job, args, [torch.cat([each.photo for each in draw_cases(2, seed=5)], 2)], faces)
    with pytest.raises(ValueError, match="prompt has 600 words"):
        split_job(a_job(prompt="snow " * 600), args, [photo], faces)


@given(
    left=st.floats(-20, 100),
    top=st.floats(-20, 50),
    width=st.floats(5, 60),
    height=st.floats(5, 60),
)
def test_the_detail_region_has_the_frames_proportions_and_holds_the_face(
    left: float, top: float, width: float, height: float
) -> None:
    frame_height, frame_width = 64, 128
    face = found_face((left, top, left + width, top + height))
    x0, y0, x1, y1 = detail_region(face, frame_height, frame_width)
    assert 0 <= x0 < x1 <= frame_width and 0 <= y0 < y1 <= frame_height
    assert (x1 - x0) / frame_width == pytest.approx((y1 - y0) / frame_height, abs=1 / 64)
    # All of the box that the frame shows, but for a rounded pixel.
    assert x0 <= max(left, 0) + 1 and x1 >= min(left + width, frame_width) - 1
    assert y0 <= max(top, 0) + 1 and y1 >= min(top + height, frame_height) - 1


@pytest.mark.parametrize("region", [(10, 5, 42, 21), (0, 0, 64, 32), (96, 48, 128, 64)])
def test_what_is_put_back_fills_its_region_with_soft_sides(region) -> None:
    frame, white = torch.zeros(64, 128, 3), torch.ones(64, 128, 3)
    result = put_back(frame, white, region)
    left, top, right, bottom = region
    outside = torch.ones(64, 128, dtype=torch.bool)
    outside[top:bottom, left:right] = False
    assert result[outside].abs().max() == 0
    assert torch.allclose(result[(top + bottom) // 2, (left + right) // 2], torch.ones(3))
    # Next to the rest of the frame it is nearly the frame, on the frame's edge it is not.
    sides = [result[(top + bottom) // 2, x, 0] for x in (left, right - 1)]
    for side, on_edge in zip(sides, (left == 0, right == 128), strict=True):
        assert side == pytest.approx(1, abs=1e-5) if on_edge else side < 0.4
    # What was cut and is put back is what was there.
    ramp = torch.linspace(0, 1, 128).expand(64, 128)[..., None].expand(-1, -1, 3)
    assert torch.allclose(put_back(ramp, cut(ramp, region), region), ramp, atol=1e-5)


class Redone(Candidates):
    """Makes the enlarged face into one known picture."""

    def __init__(self, made: Tensor) -> None:
        self.made = made

    def many(self, photos, contexts, shot, seeds, *, drafts, draft_sigma) -> Tensor:
        assert shot.num_frames == 1 and len(photos) == len(seeds) == len(drafts) == 1
        self.drafts, self.sigma = drafts, draft_sigma
        return self.made[None, None]


def test_the_face_detail_is_kept_where_it_is_more_like_the_person() -> None:
    faces = open_face_pack(FACES)
    person, stranger = draw_cases(2, seed=5)
    frame = person.true_clip()[0].float() / 255
    (found,) = largest_faces(person.true_clip()[:1], faces)
    region = detail_region(found.face, 128, 128)
    assert region[2] - region[0] < 128
    photo = person.photo
    (e_ref,) = largest_embeddings((photo * 255).round().byte(), faces)
    shot, context = Shot(num_frames=9, height=128, width=128), torch.zeros(4, 8)
    for other, is_kept in ((person, True), (stranger, False)):
        clip = torch.from_numpy(draw_clip(other.person, person.scene).pixels)
        # The same place, by a wider brush: what the region shows, at the frame's size.
        picture = cut(clip[0].float() / 255, region).movedim(-1, 0)[None]
        made = torch.nn.functional.interpolate(picture, size=(128, 128))[0].movedim(0, -1)
        pipeline = Redone(made)
        arguments = (pipeline, frame, photo, context, shot, 0.4, faces)
        detailed = detail_face(*arguments, e_ref)
        assert pipeline.drafts.shape == (1, 128, 128, 3) and pipeline.sigma == 0.4
        assert detailed.facts["region"] == list(region)
        if not is_kept:
            assert detailed.facts["is_kept"] is False
            assert detailed.facts["after"] < detailed.facts["before"]
            assert torch.equal(detailed.frame, frame)
            # With nothing to measure by it is taken.
            changed = detail_face(*arguments, None).frame
            assert (
                (changed != frame).any(dim=-1)[region[1] : region[3], region[0] : region[2]].any()
            )
    flat = torch.full_like(frame, 0.5)
    left = detail_face(pipeline, flat, photo, context, shot, 0.4, faces, e_ref)
    assert torch.equal(left.frame, flat) and left.facts["region"] is None


def test_the_command_details_the_face_of_the_first_frame(tmp_path: Path, photo: Path) -> None:
    asked = ["--reference", photo, "--prompt", SCENE.caption, "--staged", "--candidates", "1"]
    size = ["--height", "128", "--width", "128", "--steps", "4", "--face-detail", "0.4"]
    main([*words(CHECKPOINT, tmp_path, *asked, "--name", "one"), *size])
    staged = json.loads((tmp_path / "one.json").read_text())["staged"]
    assert staged["face_detail"]["sigma"] == 0.4
    assert staged["face_detail"]["region"] is not None


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--staged", "--face-detail", "1.5"], "face-detail was 1.5; needs a sigma between 0"),
        (["--face-detail", "0.4"], "face-detail was given without --staged"),
    ],
)
def test_a_face_detail_that_cannot_be_is_refused(
    tmp_path: Path, mini_checkpoint: Path, photo: Path, more: list[str], said: str, capsys
) -> None:
    asked = ["--reference", photo, "--prompt", "a", *more]
    with pytest.raises(SystemExit):
        main(words(mini_checkpoint, tmp_path / "out", *asked))
    assert said in capsys.readouterr().err.splitlines()[-1]


def test_bad_photos_are_one_sentence_before_anything_is_sampled(
    tmp_path: Path, mini_checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    persons = [torch.from_numpy(draw_photo(identity(i), SCENE)) for i in (5, 6)]
    pictures = {
        "nobody": torch.full_like(persons[0], 128),
        "two": torch.cat(persons, dim=1),
    }
    for name, picture in pictures.items():
        write_picture(tmp_path / f"{name}.png", picture)

    def said(name: str, *more: str) -> str:
        asked = ["--reference", tmp_path / f"{name}.png", "--prompt", "A chef waves.", "--staged"]
        command = words(mini_checkpoint, tmp_path / "out", *asked, *more)
        with pytest.raises(SystemExit) as stopped:
            main(command)
        assert stopped.value.code == 2
        assert not (tmp_path / "out").exists()
        message = capsys.readouterr().err.splitlines()[-1]
        assert message.startswith("python -m stdrc_core.generate: reference ")
        return message

    assert "nobody.png shows no face" in said("nobody")
    # Of a real model's text the gender is read too; its folder is not looked at before.
    real = ("--text-encoder", str(tmp_path / "gemma"))
    assert "or name the --subject" in said("nobody", *real, "--candidates", "1")
    assert "two.png shows 2 persons" in said("two", *real)


@pytest.mark.parametrize("count", ["0", "-1"])
def test_no_candidates_are_refused(
    tmp_path: Path, mini_checkpoint: Path, photo: Path, count: str, capsys
) -> None:
    asked = ["--reference", photo, "--prompt", "a", "--staged", "--candidates", count]
    with pytest.raises(SystemExit):
        main(words(mini_checkpoint, tmp_path / "out", *asked))
    assert f"candidates was {count}; needs 1 or more" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
