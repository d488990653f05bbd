"""What users get wrong: one sentence that names it, status 2, and nothing left half written."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from helpers import tiny_ltx
from helpers.clips import encode
from helpers.drawn_faces import RED, SIDE, caption, draw, write_photo
from helpers.json_lines import read_json_lines
from helpers.one_sentence import refused
from safetensors.torch import save_file

from stdrc_core.mini.config import VIDEO_DIM
from stdrc_core.train.__main__ import main
from stdrc_core.train.cache import Cache
from stdrc_core.train.cache_writer import CacheWriter

VIP_SEGMENT = {
    "id": "AAAA",
    "clip": {
        "beg": {"frame_num": 20, "framerate": 24.0},
        "end": {"frame_num": 60, "framerate": 24.0},
    },
    "fidx_beg": 4,
    "fidx_end": 39,
    "caption": "A person.",
}


@pytest.fixture(scope="module")
def here(
    tmp_path_factory: pytest.TempPathFactory, mini_checkpoint: Path, mini_cache: Path, pack: Path
) -> Path:
    """A folder with all that a user could name, right and wrong."""
    root = tmp_path_factory.mktemp("mistakes")
    caption(encode(root / "clips" / "a.mp4", draw(12, RED)))
    write_photo(root / "clips" / "a.ref.png", RED)
    (root / "mini.safetensors").symlink_to(mini_checkpoint)
    (root / "pack").symlink_to(pack)
    (root / "cache").symlink_to(mini_cache)
    (root / "empty").mkdir()
    (root / "captions").mkdir()
    (root / "captions" / "a.txt").write_text("a person")
    (root / "captions" / "b.txt").write_text("a person")
    (root / "untold").mkdir()
    shutil.copy(root / "clips" / "a.mp4", root / "untold")
    (root / "blank").mkdir()
    caption(encode(root / "blank" / "nobody.mp4", draw(12, None)))
    caption(root / "blank" / "letter.mp4").write_text("Dear reader")
    (root / "list.json").write_text("[[]]")
    (root / "vip.json").write_text(json.dumps([{"faces": [], "segments": [VIP_SEGMENT]}]))
    (root / "broken.jsonl").write_bytes(b'{"video": \n\xff\xfe\n')
    (root / "letter.txt").write_text("Dear reader")
    (root / "torn.png").write_bytes(b"\x89PNG\r\n and no more")
    save_file({"model.embed_tokens.weight": torch.zeros(2, 2)}, root / "gemma.safetensors")
    tiny_ltx.write_tiny(root / "tiny.safetensors", tiny_ltx.LTX_2_3)
    (root / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    (root / "words.yaml").write_text("run: [")

    made = Cache(mini_cache)
    (root / "none").mkdir()
    shutil.copy(mini_cache / "manifest.json", root / "none")
    narrow = replace(made.manifest, context_shape=(32, 96))
    with CacheWriter(root / "narrow", narrow, torch.zeros(32, 96)) as writer:
        writer.add(replace(made[0], context=made[0].context[:, :96]))
    shutil.copytree(mini_cache, root / "torn")
    shard = next((root / "torn" / "shards").iterdir())
    shard.write_bytes(shard.read_bytes()[:-100])
    return root


def refusal(capsys: pytest.CaptureFixture[str], command: str, arguments: list[object]) -> str:
    return refused(capsys, main, [command, *arguments], f"python -m stdrc_core.train {command}")


def prepare_arguments(here: Path, out: Path, changes: dict[str, str]) -> list[object]:
    options = {
        "data": "{here}/clips",
        "out": str(out),
        "checkpoint": "{here}/mini.safetensors",
        "faces": "{here}/pack",
        "text-encoder": "miniature",
        "num-frames": "9",
        "height": str(SIDE),
        "width": str(SIDE),
        "device": "cpu",
    } | changes
    return [f"--{key}={value.format(here=here)}" for key, value in options.items()]


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"data": "nowhere"}, ["data nowhere is no folder", "check the path"]),
        ({"data": "{here}/letter.txt"}, ["letter.txt is no folder, .jsonl", "check the path"]),
        ({"data": "{here}/empty"}, ["empty offers no clips", ".mp4", "check the path"]),
        ({"data": "{here}/captions"}, ["a.txt has no video beside it", "and 1 like it", "needs"]),
        ({"data": "{here}/untold"}, ["caption ", "a.txt is missing", "needs"]),
        ({"data": "{here}/broken.jsonl"}, ["line 1 of", "broken.jsonl is not JSON", "needs"]),
        ({"data": "{here}/list.json"}, ["list.json is not VIP-200K's JSON", "published file"]),
        (
            {"data": "{here}/vip.json", "clips": "{here}/empty"},
            ["clips folder", "empty holds no videos", "vip.json", "--clips"],
        ),
        ({"clips": "{here}/clips"}, ["clips was", "clips is no VIP-200K", "leave it out"]),
        ({"checkpoint": "none.safetensors"}, ["checkpoint none.safetensors is not a file"]),
        (
            {"checkpoint": "{here}/clips"},
            ["clips has no config.json", "folder vae", ".safetensors"],
        ),
        ({"checkpoint": "{here}/letter.txt"}, ["letter.txt could not be read", "safetensors"]),
        ({"checkpoint": "{here}/gemma.safetensors"}, ["gemma.safetensors has no VAE", "LTX-2"]),
        ({"faces": "nopack"}, ["face pack nopack is no folder", "InsightFace pack"]),
        ({"faces": "{here}/empty"}, ["empty holds no .onnx file", "InsightFace pack"]),
        ({"text-encoder": "nogemma"}, ["text encoder nogemma is no folder", "download it first"]),
        (
            {"text-encoder": "{here}/empty"},
            ["mini.safetensors has no text_embedding_projection", "published"],
        ),
        ({"num-frames": "16"}, ["num_frames was 16", "8n + 1"]),
        ({"height": "100"}, ["height was 100", "multiple of 32"]),
        ({"device": "cuda:99"}, ["device was 'cuda:99'", "needs cpu"]),
        ({"device": "gpu"}, ["device was 'gpu'", "needs cpu"]),
        ({"min-cosine": "3"}, ["min_cosine was 3", "from -1 to 1"]),
        ({"rank": "2"}, ["rank was 2 of world_size 1", "needs 0 <= rank"]),
    ],
    ids=lambda value: "-".join(value.values()) if isinstance(value, dict) else "",
)
def test_prepare_names_what_is_wrong_and_writes_nothing(
    here: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, str],
    parts: list[str],
):
    out = tmp_path / "out"
    sentence = refusal(capsys, "prepare", prepare_arguments(here, out, changes))
    for part in parts:
        assert part in sentence
    assert not out.exists()


def test_no_usable_clip_is_told_with_the_reasons(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    changes = {"data": "{here}/blank"}
    sentence = refusal(capsys, "prepare", prepare_arguments(here, tmp_path / "out", changes))
    assert "none of the 2 clips was usable" in sentence
    assert "no face in the clip: 1" in sentence
    assert "unreadable: 1" in sentence
    assert "report.jsonl" in sentence


@pytest.mark.parametrize(
    ("out", "parts"),
    [
        ("clips", ["clips is not a cache, but holds a.mp4", "choose another --out"]),
        ("letter.txt", ["letter.txt is not a cache, but holds a file", "choose another --out"]),
        ("cache", ["made with checkpoint stdrc_mini.safetensors, this run has mini", "--out"]),
    ],
)
def test_prepare_leaves_what_is_not_its_own_alone(
    here: Path, capsys: pytest.CaptureFixture[str], out: str, parts: list[str]
):
    def content() -> list[tuple[Path, int]]:
        return sorted((p, p.stat().st_mtime_ns) for p in [here / out, *(here / out).rglob("*")])

    before = content()
    sentence = refusal(capsys, "prepare", prepare_arguments(here, here / out, {}))
    for part in parts:
        assert part in sentence
    assert content() == before


def test_other_settings_do_not_go_on_with_a_cache(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "out"
    main(["prepare", *map(str, prepare_arguments(here, out, {}))])
    before = Cache(out)[0].latent
    sentence = refusal(capsys, "prepare", prepare_arguments(here, out, {"height": "64"}))
    assert f"cache {out} was made with height {SIDE}, this run has 64" in sentence
    assert "choose another --out" in sentence
    assert torch.equal(Cache(out)[0].latent, before)


def test_what_is_broken_in_a_manifest_is_set_aside(here: Path, tmp_path: Path):
    lines = [
        json.dumps({"video": "clips/a.mp4", "caption": "x", "reference": "clips/a.ref.png"}),
        '{"video": "clips/a.mp4", "caption"',
        '["a list"]',
        json.dumps({"video": "clips/a.mp4"}),
        json.dumps({"video": "clips/none.mp4", "caption": "x"}),
        json.dumps({"video": "clips/a.mp4", "caption": "x", "reference": "none.png"}),
        json.dumps({"video": "letter.txt", "caption": "x", "reference": "clips/a.ref.png"}),
    ]
    manifest = here / "mixed.jsonl"
    manifest.write_bytes("\n".join(lines).encode() + b"\n\xff\xfe{}\n")
    out = tmp_path / "out"
    main(["prepare", *map(str, prepare_arguments(here, out, {"data": str(manifest)}))])
    assert len(Cache(out)) == 1
    report = read_json_lines(out / "report.jsonl")
    details = [line["detail"] for line in report]
    assert len(details) == len(lines)
    for told in ("line 2 of", "line 3 of", "line 4 of", "none.mp4", "none.png", "line 8 of"):
        assert any(told in detail for detail in details), told
    assert any("letter.txt" in detail for detail in details)


@pytest.fixture(scope="module")
def recipe(here: Path) -> Path:
    path = here / "recipe.yaml"
    values = {
        "model": {"checkpoint": str(here / "mini.safetensors"), "dtype": "float32"},
        "data": {"cache": str(here / "cache")},
        "run": {"out": "unset", "num_steps": 1, "batch_size": 1},
        "objective": {"lambda_id": 0, "lambda_tic": 0},
        "trainable": {"rank": 2, "alpha": 2},
    }
    path.write_text(yaml.safe_dump(values))
    return path


VALIDATES = ["validation.every=1", "validation.text_encoder=miniature"]


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        (["run.num_step=5"], ["recipe.yaml: run.num_step is not a known key", "num_steps"]),
        (["runs.out=x"], ["runs is not a known key", "the nearest is run."]),
        (["run.num_steps=["], ["--set was 'run.num_steps=['", "quote it"]),
        (["num_steps=5"], ["--set was 'num_steps=5'", "section.key=value"]),
        (["run.num_steps=0"], ["run.num_steps was 0", "greater than or equal to 1"]),
        (["model.checkpoint=none.safetensors"], ["none.safetensors does not exist", "needs"]),
        (
            ["model.checkpoint={here}/gemma.safetensors"],
            ["gemma.safetensors looks like a text encoder", "needs an LTX-2"],
        ),
        (
            ["model.checkpoint={here}/letter.txt"],
            ["letter.txt could not be read as safetensors", "download it again"],
        ),
        (
            ["model.checkpoint={here}/tiny.safetensors", "model.vae={here}/mini.safetensors"],
            ["cache", f"its prompts have {VIDEO_DIM}", "another cache"],
        ),
        (["model.vae=none.safetensors"], ["checkpoint none.safetensors does not exist", "needs"]),
        (["data.cache=nowhere"], ["cache nowhere has no manifest.json", "prepare"]),
        (["data.cache={here}/clips"], ["clips has no manifest.json", "prepare"]),
        (["data.cache={here}/none"], ["none holds no samples", "run prepare"]),
        (
            ["data.cache={here}/narrow"],
            [
                "narrow was made for a model of another size: its prompts have 96",
                f"needs {VIDEO_DIM}",
            ],
        ),
        (["objective.lambda_id=1"], ["face_pack is missing", "lambda_id"]),
        (
            ["objective.lambda_id=1", "objective.face_pack=nopack"],
            ["face pack nopack is no folder", "InsightFace pack"],
        ),
        (
            [*VALIDATES, "validation.items=[{{prompt: a, photo: none.png}}]"],
            ["photo none.png could not be read", "needs"],
        ),
        (
            [*VALIDATES, "validation.items=[{{prompt: a, photo: '{here}/torn.png'}}]"],
            ["torn.png could not be read", "needs"],
        ),
        (
            [
                *VALIDATES,
                "validation.items=[{{prompt: a, photo: '{here}/clips/a.ref.png'}}]",
                "validation.text_encoder=nogemma",
            ],
            ["text encoder nogemma is no folder", "download it first"],
        ),
        (["validation.height=100"], ["validation.height was 100", "multiple of 32"]),
    ],
    ids=lambda value: value[-1] if "=" in value[-1] else "",
)
def test_run_names_what_is_wrong_and_writes_nothing(
    here: Path,
    recipe: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    changes: list[str],
    parts: list[str],
):
    out = tmp_path / "out"
    settings = [f"run.out={out}", *(change.format(here=here) for change in changes)]
    arguments = [recipe, *(f"--set={setting}" for setting in settings)]
    sentence = refusal(capsys, "run", arguments)
    for part in parts:
        assert part in sentence
    # TensorBoard and W&B may have opened their logs; of the run itself there is nothing.
    assert {path.name for path in out.glob("*")} <= {"tensorboard", "wandb"}


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("nowhere.yaml", ["config", "nowhere.yaml could not be read", "check the path"]),
        ("binary.yaml", ["binary.yaml begins with the mark of UTF-16, but is not", "UTF-8"]),
        ("words.yaml", ["words.yaml is not YAML"]),
    ],
)
def test_a_file_that_is_no_recipe_is_named(
    here: Path, capsys: pytest.CaptureFixture[str], name: str, parts: list[str]
):
    sentence = refusal(capsys, "run", [here / name])
    for part in parts:
        assert part in sentence


def test_a_damaged_shard_is_named_and_its_run_left_without_weights(
    here: Path, recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    arguments = [recipe, f"--set=run.out={tmp_path}", f"--set=data.cache={here / 'torn'}"]
    sentence = refusal(capsys, "run", arguments)
    assert "000-00000.safetensors is missing or damaged" in sentence
    assert "run prepare again" in sentence
    assert not list(tmp_path.rglob("*.safetensors"))
