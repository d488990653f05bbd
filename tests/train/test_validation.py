"""Validation on the miniature LTX-2.3 with drawn faces: what is written, and what is left alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from helpers import drawn_faces, mini_run
from helpers.clips import coarse
from helpers.found_faces import embedded_face
from helpers.json_lines import read_json_lines
from helpers.recipes import train_here
from PIL import Image
from torch import Tensor

from stdrc_core.faces.detector import FaceDetector, largest_face
from stdrc_core.faces.finder import EmbeddedFace, open_face_pack
from stdrc_core.faces.recognizer import Recognizer
from stdrc_core.faces.similarity import clip_facesim
from stdrc_core.ltx.text import TextEncoder
from stdrc_core.mini.config import VIDEO_DIM
from stdrc_core.mini.text import MiniatureText
from stdrc_core.photo_file import load_photo
from stdrc_core.train import loop
from stdrc_core.train.assemble import assemble
from stdrc_core.train.checkpoints import CheckpointFolder
from stdrc_core.train.validation import Validator, read_cases
from stdrc_core.video import probe, read_clip

CPU, MINIATURE = torch.device("cpu"), MiniatureText()
WIDTH = 128
# What of a step is another in each run.
MEASURED = {"step_time_s", "time_left_s", "tokens_per_s", "peak_memory_gib"}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    drawn_faces.write_photo(folder / "red.png", drawn_faces.RED)
    drawn_faces.write_photo(folder / "blue.png", drawn_faces.BLUE)
    drawn_faces.write_photo(folder / "nobody.png", None)
    return folder


@pytest.fixture
def make_config(mini_checkpoint: Path, mini_cache: Path, photos: Path):
    def make(out: Path, *, validation=None, **sections):
        values = {
            "every": 1,
            "text_encoder": "miniature",
            "num_steps": 2,
            "items": [
                {"prompt": "a man  walks", "photo": photos / "red.png", "seed": 3},
                {"prompt": "a woman", "photo": photos / "blue.png", "seed": 4},
            ],
        }
        values |= validation or {}
        return mini_run.config(out, mini_checkpoint, mini_cache, validation=values, **sections)

    return make


def make_validator(
    config, parts, pack: Path | None = None, text: TextEncoder = MINIATURE
) -> Validator:
    faces = None if pack is None else open_face_pack(pack)
    return Validator(
        config,
        model=parts.model,
        vae=parts.objective.encode_references.vae,
        manifest=parts.samples.cache.manifest,
        empty_context=parts.objective.empty_context,
        cases=read_cases(config.validation, text, faces),
        faces=faces,
    )


def entries(out: Path) -> list[dict]:
    return read_json_lines(out / "validation.jsonl")


def test_clips_and_sheet_read_back_and_the_same_seeds_give_the_same_clips(
    tmp_path: Path, make_config, pack: Path
):
    config = make_config(tmp_path, validation={"width": WIDTH, "num_frames": 17})
    parts = assemble(config, CPU)
    validate = make_validator(config, parts, pack)
    mean = validate(7)
    folder = tmp_path / "validation" / "step_00000007"
    assert sorted(p.name for p in folder.iterdir()) == ["00.mp4", "01.mp4", "sheet.png"]
    assert [p.name for p in folder.parent.iterdir()] == [folder.name]
    size = {"height": mini_run.SIZE_PX, "width": WIDTH}
    clips = []
    for i in range(2):
        info = probe(folder / f"0{i}.mp4")
        assert (info.height, info.width, info.fps) == (*size.values(), mini_run.FPS)
        assert info.duration_s == pytest.approx(17 / mini_run.FPS, abs=1e-3)
        clips.append(read_clip(folder / f"0{i}.mp4", num_frames=17, fps=mini_run.FPS, **size))
    with Image.open(folder / "sheet.png") as sheet:
        # Two rows of a label and tiles of 160 px; the photo and five frames.
        assert sheet.size == (6 * round(WIDTH * 160 / mini_run.SIZE_PX), 2 * (160 + 14))
    (entry,) = entries(tmp_path)
    assert (entry["step"], entry["facesim"]) == (7, mean)
    assert [(i["prompt"], i["seed"]) for i in entry["items"]] == [
        ("a man  walks", 3),
        ("a woman", 4),
    ]

    again, once_more = (
        [each.decode(each.sample(case)) for case in validate.cases]
        for each in (make_validator(config, parts), validate)
    )
    for first, second in zip(again, once_more, strict=True):
        assert torch.equal(first, second)
    for i, made in enumerate(map(coarse, again)):
        # H.264 keeps the colour of single pixels badly, of blocks well: each clip is its own.
        distances = [(made - coarse(clip)).abs().mean().item() for clip in clips]
        assert 3 * distances[i] < distances[1 - i]


def test_modes_gradients_and_random_states_are_left_as_they_were(
    tmp_path: Path, make_config, pack: Path
):
    config = make_config(tmp_path)
    parts = assemble(config, CPU)
    parts.model.train()
    parts.model.backbone.transformer.transformer_blocks[1].eval()
    modes = [module.training for module in parts.model.modules()]
    seen, groups = [], []

    def note(module: torch.nn.Module, arguments: tuple) -> None:
        seen.append((module.training, torch.is_grad_enabled()))
        groups.extend(arguments[0])
        torch.rand(1)  # a model that draws takes nothing from the run

    handle = parts.model.register_forward_pre_hook(note)
    states = torch.get_rng_state(), np.random.get_state()[1]
    weights = {name: p.clone() for name, p in parts.model.named_parameters()}
    validate = make_validator(config, parts, pack)
    validate(1)
    # Two steps of three streams for each of two items.
    assert seen == [(False, False)] * 2 * 3 * 2
    (empty, no_photo), (text, no_photo_either), (text_again, reference) = (
        (context[0], reference) for _, _, context, reference, _ in groups[:3]
    )
    case = validate.cases[0]
    assert torch.equal(empty, parts.objective.empty_context)
    assert torch.equal(text, case.context)
    assert torch.equal(text_again, mini_run.encode_text("a man  walks"))
    assert no_photo is no_photo_either is None
    assert torch.equal(reference, parts.objective.encode_references(case.photos))
    assert modes == [module.training for module in parts.model.modules()]
    assert torch.equal(states[0], torch.get_rng_state())
    assert np.array_equal(states[1], np.random.get_state()[1])
    for name, parameter in parts.model.named_parameters():
        assert torch.equal(parameter, weights[name])
        assert parameter.grad is None

    handle.remove()
    parts.model.register_forward_pre_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        validate(2)
    assert modes == [module.training for module in parts.model.modules()]
    assert len(entries(tmp_path)) == 1


def run(config, pack: Path | None = None, validated: bool = True) -> loop.Result:
    parts = assemble(config, CPU)
    validate = make_validator(config, parts, pack) if validated else None
    return loop.train(config, parts, Accelerator(cpu=True), validate)


def test_a_run_that_validates_is_bit_for_bit_the_one_that_does_not(
    tmp_path: Path, make_config, pack: Path
):
    section = {"run": {"num_steps": 3, "checkpoint_every": 2}}
    plain = run(make_config(tmp_path / "plain", **section), validated=False)
    state = torch.get_rng_state()
    result = run(make_config(tmp_path / "checked", validation={"every": 2}, **section), pack)
    assert torch.equal(state, torch.get_rng_state())
    assert [entry["step"] for entry in entries(tmp_path / "checked")] == [2, 3]
    assert result.weights.keys() == plain.weights.keys() != set()
    for name, value in result.weights.items():
        assert torch.equal(value, plain.weights[name])
    logs = [
        [
            {key: value for key, value in line.items() if key not in MEASURED}
            for line in read_json_lines(tmp_path / name / "log.jsonl")
        ]
        for name in ("plain", "checked")
    ]
    assert logs[0] == logs[1]
    for name in ("optimizer.bin", "random_states_0.pkl"):
        saved = [
            (tmp_path / kind / "checkpoints" / "step_00000003" / name).read_bytes()
            for kind in ("plain", "checked")
        ]
        assert saved[0] == saved[1]

    # Stopped between its checkpoint and the validation of it: going on makes up for that.
    last = tmp_path / "checked" / "checkpoints" / "step_00000003"
    scores = [entry["facesim"] for entry in entries(tmp_path / "checked")]
    (last / "state.json").write_text(json.dumps({"step": 3}))
    run(make_config(tmp_path / "checked", validation={"every": 2}, **section), pack)
    run(make_config(tmp_path / "checked", validation={"every": 2}, **section), pack)
    assert json.loads((last / "state.json").read_text())["facesim"] == scores[1]
    assert [entry["facesim"] for entry in entries(tmp_path / "checked")] == scores


def recomputed(clip: Tensor, photo: Path, pack: Path) -> float:
    """FaceSim by the face pack's own two models, frame by frame."""
    detector, recognizer = FaceDetector(pack), Recognizer.from_pack(pack)

    def embed(image: Tensor) -> Tensor | None:
        face = largest_face(detector.detect(image[None])[0])
        if face is None:
            return None
        return recognizer.embed_faces(image[None].float() / 255, face.landmarks[None])[0]

    e_ref = embed((load_photo(photo)[0] * 255).round().byte().movedim(-1, 0))
    frames = clip[np.linspace(0, len(clip) - 1, 16).astype(int)].movedim(-1, 1)
    found = [each for each in map(embed, frames) if each is not None]
    return sum(max(0.0, (each @ e_ref).item()) for each in found) / len(found) if found else 0.0


def test_facesim_is_that_of_the_packs_own_models(pack: Path, photos: Path, tmp_path: Path):
    section = mini_run.config(
        tmp_path,
        Path("unused"),
        Path("unused"),
        validation={"items": [{"prompt": "", "photo": photos / "red.png"}]},
    ).validation
    faces = open_face_pack(pack)
    (case,) = read_cases(section, MINIATURE, faces)
    red, blue, nobody = (drawn_faces.draw(20, c) for c in (drawn_faces.RED, drawn_faces.BLUE, None))
    half = torch.cat((red[:10], nobody[:10]))
    mixed = torch.cat((red[:10], blue[:10]))
    scores = [
        clip_facesim(clip, case.e_refs[0], faces) for clip in (red, blue, mixed, half, nobody)
    ]
    expected = [recomputed(c, photos / "red.png", pack) for c in (red, blue, mixed, half, nobody)]
    assert scores == pytest.approx(expected, abs=1e-5)
    # Frames without a face count for nothing; those of somebody else count as 0 at least.
    assert scores[0] == pytest.approx(1, abs=1e-2)
    assert scores[3] == pytest.approx(scores[0], abs=1e-2)
    assert scores[1] < scores[2] < scores[0]
    assert scores[4] == 0.0


def test_the_scores_of_a_validation_are_its_clips_and_photos(
    tmp_path: Path, make_config, pack: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
):
    config = make_config(tmp_path)
    parts = assemble(config, CPU)
    validate = make_validator(config, parts, pack)
    clip = drawn_faces.draw(mini_run.NUM_FRAMES, drawn_faces.RED)
    decoded = clip.permute(3, 0, 1, 2)[None].float() / 127.5 - 1
    monkeypatch.setattr(validate.vae, "decode", lambda latents: decoded)
    mean = validate(1)
    (entry,) = entries(tmp_path)
    scores = [item["facesim"] for item in entry["items"]]
    expected = [recomputed(clip, photos / name, pack) for name in ("red.png", "blue.png")]
    assert scores == pytest.approx(expected, abs=1e-5)
    assert scores[1] < 0.5 < scores[0]
    assert mean == pytest.approx(sum(expected) / 2, abs=1e-5)


def test_a_face_is_looked_for_again_on_a_frame_padded_with_grey():
    class OnlyPadded:
        """Sees a face where a border of a quarter of each side is grey 128."""

        name = "padded"

        def find(self, frames: Tensor) -> list[tuple[EmbeddedFace, ...]]:
            if frames.shape[1:3] != (40 + 2 * 10, 80 + 2 * 20):
                return [()] * len(frames)
            inside = torch.zeros(60, 120, dtype=torch.bool)
            inside[10:50, 20:100] = True
            assert all((frame[~inside] == 128).all() for frame in frames)
            return [(embedded_face([0.6, 0.8]),)] * len(frames)

    clip = torch.zeros(5, 40, 80, 3, dtype=torch.uint8)
    assert clip_facesim(clip, torch.tensor([1.0, 0.0]), OnlyPadded()) == pytest.approx(0.6)
    assert clip_facesim(clip, torch.tensor([-1.0, 0.0]), OnlyPadded()) == 0.0


def test_the_best_checkpoint_is_kept_beside_the_newest_and_found_again(tmp_path: Path, make_config):
    scores = {1: 0.2, 2: 0.6, 3: 0.4, 4: 0.5, 5: 0.1}
    every_step = {"checkpoint_every": 1, "keep_checkpoints": 1}
    config = make_config(tmp_path, run=every_step | {"num_steps": 4})
    loop.train(config, assemble(config, CPU), Accelerator(cpu=True), scores.get)
    kept = tmp_path / "checkpoints"
    names = sorted(p.name for p in kept.iterdir())
    assert names == ["best.json", "step_00000002", "step_00000004"]
    longer = make_config(tmp_path, run=every_step | {"num_steps": 5})
    loop.train(longer, assemble(longer, CPU), Accelerator(cpu=True), scores.get)
    folder = CheckpointFolder(path=kept, keep=1)
    assert folder.best() == (kept / "step_00000002", 2)
    assert folder.newest() == (kept / "step_00000005", 5)
    best = json.loads((kept / "best.json").read_text())
    assert best == {"checkpoint": "step_00000002", "step": 2, "facesim": 0.6}
    folder.write(6, lambda path: None)
    folder.rate(6, 0.6)
    assert folder.best() == folder.newest() == (kept / "step_00000006", 6)
    assert sorted(p.name for p in kept.iterdir()) == ["best.json", "step_00000006"]


def test_a_run_from_before_the_key_was_renamed_keeps_its_best(tmp_path: Path):
    folder = CheckpointFolder(path=tmp_path, keep=1)
    for step, score in ((1, 0.6), (2, 0.4)):
        folder.write(step, lambda path: None)
        (tmp_path / f"step_{step:08d}" / "state.json").write_text(
            json.dumps({"step": step, "face_sim": score})
        )
    assert folder.is_rated(1)
    folder.write(3, lambda path: None)
    folder.rate(3, 0.5)
    assert folder.best() == (tmp_path / "step_00000001", 1)
    assert folder.newest() == (tmp_path / "step_00000003", 3)


def test_validating_without_a_face_pack_names_no_best(tmp_path: Path, make_config):
    config = make_config(tmp_path, run={"num_steps": 2, "checkpoint_every": 2})
    result = run(config)
    assert [entry["facesim"] for entry in entries(tmp_path)] == [None, None]
    folder = CheckpointFolder(path=tmp_path / "checkpoints", keep=1)
    assert folder.best() is None
    assert folder.is_rated(2)
    assert not (folder.path / "best.json").exists()
    assert result.checkpoint == folder.path / "step_00000002"


@pytest.mark.parametrize(
    ("name", "says"),
    [("nowhere.png", "nowhere.png could not be read"), ("nobody.png", "nobody.png shows no face")],
)
def test_a_photo_that_is_missing_or_shows_nobody_is_told_before_training(
    tmp_path: Path, make_config, pack: Path, photos: Path, name: str, says: str
):
    config = make_config(
        tmp_path / "run",
        validation={"items": [{"prompt": "a man", "photo": photos / name}]},
        objective={"lambda_id": 0, "lambda_tic": 0, "face_pack": pack},
    )
    with pytest.raises(ValueError, match=says):
        train_here(config, tmp_path / "recipe.yaml")
    assert not (tmp_path / "run" / "log.jsonl").exists()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"items": []}, "validation.items is empty"),
        ({"text_encoder": None}, "validation.text_encoder is missing"),
        ({"num_frames": 16}, "validation.num_frames was 16; needs 8n"),
        ({"height": 100}, "multiple of 32"),
    ],
)
def test_settings_that_cannot_be_validated_with_are_refused(
    tmp_path: Path, make_config, changes: dict, says: str
):
    with pytest.raises(ValueError, match=says):
        make_config(tmp_path, validation=changes)


def test_prompts_of_another_width_than_the_caches_are_refused(tmp_path: Path, make_config):
    class Other(MiniatureText):
        def encode(self, text: str) -> Tensor:
            return super().encode(text)[:, :64]

    config = make_config(tmp_path)
    with pytest.raises(ValueError, match=rf"width 64; needs {VIDEO_DIM}, .* \(miniature\)"):
        make_validator(config, assemble(config, CPU), text=Other())
