"""`python -m stdrc_core.generate --staged`: first frames, the best kept, and a clip from it."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from core.faces.packs import GenderByRed, export_genderage
from core.test_generate import SIZE, frames_of, words
from PIL import Image
from torch import Tensor

from stdrc_core.faces.finder import open_face_pack
from stdrc_core.faces.similarity import largest_embeddings
from stdrc_core.generate.__main__ import main, make_parser
from stdrc_core.generate.jobs import Job, Staging
from stdrc_core.generate.results import make
from stdrc_core.generate.staging import StagePrompts, make_first_frame, split_job
from stdrc_core.mini.character import identity
from stdrc_core.mini.drawing import draw_photo
from stdrc_core.mini.scene import ATTRIBUTES, MOTIONS, Scene, split_caption
from stdrc_core.mini.scores import draw_cases
from stdrc_core.mini.shipped import CHECKPOINT, FACES
from stdrc_core.pipeline import Shot

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore:`estimate` is deprecated:FutureWarning"),
]

SCENE = Scene(**{name: values[-1] for name, values in ATTRIBUTES.items()})


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photos") / "person.png"
    Image.fromarray(draw_photo(identity(5), SCENE)).save(path)
    return path


def test_a_staged_clip_begins_with_its_first_frame_and_tells_how_it_was_made(
    tmp_path: Path, photo: Path, caplog: pytest.LogCaptureFixture
) -> None:
    asked = ["--reference", photo, "--prompt", SCENE.caption, "--staged", "--candidates", "3"]
    command = words(CHECKPOINT, tmp_path, *asked, "--name", "one")
    with caplog.at_level(logging.INFO):
        main(command)
    result = json.loads((tmp_path / "one.json").read_text())
    assert result["asked"]["staging"] == {"num_candidates": 3, "gender": None}
    staged = result["staged"]
    assert staged["seeds"] == [0, 1, 2]
    assert len(staged["similarities"]) == 3
    assert (staged["spatial"], staged["temporal"]) == split_caption(SCENE.caption)
    assert any("caption of the miniature" in message for message in caplog.messages)
    kept = np.asarray(Image.open(tmp_path / "one.first.png")).astype(float)
    clip = frames_of(tmp_path / "one.mp4").astype(float)
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
    written = np.asarray(Image.open(tmp_path / "job.first.png"))
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
    without = split_job(job, args, photo, faces)
    assert "has no gender model" in without.notes[0]
    export_genderage(GenderByRed(), tmp_path / "genderage.onnx")
    staged = split_job(job, args, photo, faces)
    assert "Gender: woman, read from the photo" in staged.notes[0]
    assert staged.spatial == "A chef in an apron, close-up"
    assert staged.temporal.startswith("A chef in an apron waves") and "her face" in staged.temporal
    with pytest.raises(ValueError, match=r"person\.png shows no face.*needs a clear one"):
        split_job(job, args, torch.full_like(photo, 0.5), faces)
    with pytest.raises(ValueError, match=r"person\.png shows 2 persons.*needs one"):
        split_job(job, args, torch.cat([each.photo for each in draw_cases(2, seed=5)], 2), faces)
    with pytest.raises(ValueError, match="prompt has 600 words"):
        split_job(a_job(prompt="snow " * 600), args, photo, faces)


@pytest.mark.parametrize("count", ["0", "-1"])
def test_no_candidates_are_refused(
    tmp_path: Path, mini_checkpoint: Path, photo: Path, count: str, caplog
) -> None:
    asked = ["--reference", photo, "--prompt", "a", "--staged", "--candidates", count]
    with pytest.raises(SystemExit):
        main(words(mini_checkpoint, tmp_path / "out", *asked))
    assert f"candidates was {count}; needs 1 or more" in caplog.messages[-1]
    assert SIZE and not (tmp_path / "out").exists()
