"""`python -m stdrc_core.generate` with several photos: their slots, and the likeness to each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.drawn_persons import read_picture, write_picture
from helpers.found_faces import embedded_face
from helpers.generate_command import words
from helpers.json_lines import write_json_lines
from helpers.tiny_lora import write_tiny_lora
from helpers.told_weights import trained_for
from PIL import Image
from safetensors.torch import load_file, save_file

from stdrc_core.experiments.models import open_pipeline
from stdrc_core.experiments.scores import draw_cases
from stdrc_core.faces.finder import EmbeddedFace
from stdrc_core.faces.similarity import best_cosines
from stdrc_core.generate.__main__ import main, make_parser
from stdrc_core.generate.jobs import beyond_training, read_jobs
from stdrc_core.generate.models import decide_layout
from stdrc_core.generate.pipeline import Shot
from stdrc_core.generate.run import run


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("photos")
    ann, bob = draw_cases(2, seed=5)
    return [
        write_picture(folder / f"{name}.png", case.photo[0])
        for name, case in (("ann", ann), ("bob", bob))
    ]


class TwoFaces:
    """Two faces of known directions in each frame but grey ones, the second one small."""

    name = "two faces"

    def find(self, frames: torch.Tensor) -> list[tuple[EmbeddedFace, ...]]:
        return [() if frame.min() == frame.max() else self.faces() for frame in frames]

    @staticmethod
    def faces() -> tuple[EmbeddedFace, ...]:
        return embedded_face([1, 0, 0], (0, 0, 50, 50)), embedded_face([0, 1, 0], (0, 0, 5, 5))


def test_likeness_to_each_photo_is_the_best_faces_whatever_its_size():
    frames = torch.randint(0, 255, (2, 32, 32, 3), dtype=torch.uint8)
    frames[1] = 128
    between = torch.tensor([0.6, 0.0, 0.8])
    measured = best_cosines(frames, [torch.eye(3)[0], torch.eye(3)[1], between], TwoFaces())
    assert measured == [[1, None], [1, None], [pytest.approx(0.6), None]]


def test_a_pipeline_of_several_photos_is_the_backbone_with_their_slots(mini_checkpoint: Path):
    """One step from pure noise: z_0 = z_1 - v, with v of the backbone called by hand."""
    pipeline = open_pipeline(mini_checkpoint)
    ann, bob = (case.photo for case in draw_cases(2, seed=5))
    shot = Shot(num_frames=9, height=64, width=64, num_steps=1).guided(
        text_scale=1.0, reference_scale=1.0
    )
    context = torch.randn(2, *pipeline.empty_context.shape, generator=torch.Generator())
    steps = []
    pipeline.many(
        [[ann, bob], [bob, ann]], context, shot, [3, 4], lambda _, clean: steps.append(clean)
    )
    (made,) = steps
    for i, pair in enumerate(((ann, bob), (bob, ann))):
        noise = torch.randn(1, 128, 2, 2, 2, generator=torch.Generator().manual_seed(3 + i))
        frames = [pipeline.vae.encode_photos([each], 64, 64, pipeline.device) for each in pair]
        with torch.no_grad():
            velocity = pipeline.backbone(
                noise,
                torch.ones(1),
                context[i : i + 1],
                frame_rate=shot.fps,
                reference=torch.cat(frames, dim=2),
                slots=(0, 1),
            )
        torch.testing.assert_close(made[i : i + 1], noise - velocity, rtol=1e-4, atol=1e-4)


def test_several_photos_on_the_command_line(
    tmp_path: Path, mini_checkpoint: Path, photos: list[Path]
):
    asked = ["--reference", *photos, "--prompt", "two people", "--seed", "3"]
    main(words(mini_checkpoint, tmp_path, *asked))
    result = json.loads((tmp_path / "ann_3.json").read_text())
    assert result["asked"]["reference"] == str(photos[0])
    assert result["asked"]["further"] == [str(photos[1])]
    assert len(result["facesim"]) == len(result["similarity"]) == 2
    assert all(len(each) == 9 for each in result["similarity"])
    tiles = read_picture(tmp_path / "ann_3.sheet.png")[-160:].reshape(160, 7, -1, 3)
    # Both photos come first, padded at their sides.
    assert all(tiles[:, i, :20].max() == 0 and tiles[:, i].std() > 20 for i in (0, 1))


def test_slots_are_the_photos_order_and_a_batch_has_lists(
    tmp_path: Path, mini_checkpoint: Path, photos: list[Path]
):
    names = [photo.name for photo in photos]
    lines = [
        {"reference": names, "prompt": "a", "name": "both"},
        {"reference": names[::-1], "prompt": "a", "name": "turned"},
        {"reference": names[:1], "prompt": "a", "name": "one"},
        {"reference": names[0], "prompt": "a", "name": "alone"},
    ]
    batch = write_json_lines(photos[0].parent / "jobs.jsonl", lines)
    args = make_parser().parse_args(words(mini_checkpoint, tmp_path, "--batch", batch))
    jobs = {job.name: job for job in read_jobs(args, decide_layout(args))}
    assert jobs["both"].references == tuple(photos)
    assert jobs["turned"].references == tuple(photos[::-1])
    assert "further" not in jobs["alone"].asked()
    made = {path.stem: path.read_bytes() for path in run(args)}
    assert made["one"] == made["alone"]
    assert len({made["both"], made["turned"], made["one"]}) == 3


def written_for(checkpoint: Path, path: Path, **facts: Any) -> Path:
    """A LoRA that changes nothing, whose metadata say that it was trained so."""
    trained = trained_for(text_scale=2.0, reference_scale=2.0, base_model=checkpoint.name, **facts)
    write_tiny_lora(path, 0.0)
    save_file(load_file(path), path, metadata=trained.lora_metadata())
    return path


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        r.message for r in caplog.records if r.levelname == "WARNING" and "trained" in r.message
    ]


@pytest.mark.parametrize("frames", [9, 1])
def test_more_than_the_weights_were_trained_with_is_said_and_made(
    tmp_path: Path,
    mini_checkpoint: Path,
    photos: list[Path],
    caplog: pytest.LogCaptureFixture,
    frames: int,
):
    facts = {"max_photos": 1, "first_frames": True, "single_frames": False}
    lora = written_for(mini_checkpoint, tmp_path / "own.safetensors", **facts)
    asked = ["--lora", lora, "--prompt", "a", "--frames", frames, "--steps", 1]
    main(words(mini_checkpoint, tmp_path / "out", "--reference", photos[0], *asked))
    alone = said(caplog)
    assert len(alone) == (frames == 1)
    caplog.clear()
    main(words(mini_checkpoint, tmp_path / "out", "--reference", *photos, *asked, "--name", "b"))
    (more, *single) = said(caplog)
    assert more.startswith("b: reference has 2 photos and the weights were trained with 1 at most")
    assert len(single) == (frames == 1)
    assert (tmp_path / "out" / "b.mp4").is_file()


def test_staged_clips_ask_for_single_and_for_first_frames(tmp_path: Path, mini_checkpoint: Path):
    """And say nothing of weights that have learned both."""
    for has_learned in (False, True):
        facts = {"max_photos": 1, "first_frames": has_learned, "single_frames": has_learned}
        lora = written_for(mini_checkpoint, tmp_path / f"{has_learned}.safetensors", **facts)
        asked = ["--reference", "a.png", "--prompt", "a", "--lora", lora, "--staged"]
        args = make_parser().parse_args(words(mini_checkpoint, tmp_path, *asked))
        decision = decide_layout(args)
        (job,) = read_jobs(args, decision)
        sentences = beyond_training(job, decision)
        assert len(sentences) == (0 if has_learned else 2)


def test_several_photos_of_one_person_are_staged_and_chosen_by_their_mean(
    mini_checkpoint: Path, tmp_path: Path, photos: list[Path]
):
    """And photos of two persons are refused, with their cosine, before anything is sampled."""
    ann = photos[0]
    dim = tmp_path / "dim.png"
    Image.open(ann).point(lambda level: int(level * 0.8)).save(dim)
    asked = ["--prompt", "a", "--staged", "--candidates", 2, "--steps", 1]
    main(words(mini_checkpoint, tmp_path / "out", "--reference", ann, dim, *asked))
    staged = json.loads((tmp_path / "out" / "ann_0.json").read_text())["staged"]
    assert len(staged["similarities"]) == 2
    with pytest.raises(ValueError, match=r"ann.png and .*bob.png seem to show two persons.*cosine"):
        run(
            make_parser().parse_args(
                words(mini_checkpoint, tmp_path / "two", "--reference", *photos, *asked)
            )
        )
    assert not (tmp_path / "two").exists()
