"""Whole runs on the miniature LTX-2.3: real backbone, real VAE, real cache."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers import mini_run
from helpers.json_lines import read_json_lines
from safetensors import safe_open
from safetensors.torch import load_file
from torch._dynamo.utils import counters

from stdrc_core.ltx.backbone import load_backbone
from stdrc_core.mini.config import NUM_LAYERS, VIDEO_DIM
from stdrc_core.mini_build.random_weights import write_miniature
from stdrc_core.train.assemble import assemble
from stdrc_core.train.config import TrainConfig
from stdrc_core.train.export import export
from stdrc_core.train.loop import Parts, Result

# Set where a test runs in a process of its own.
ALONE = "STDRC_TEST_ALONE"

CPU = torch.device("cpu")


def run(out: Path, *files: Path, **sections) -> tuple[TrainConfig, Parts, Result]:
    config = mini_run.config(out, *files, **sections)
    return config, *mini_run.train(config)


@pytest.fixture(scope="module")
def lora_run(tmp_path_factory, mini_checkpoint: Path, mini_cache: Path):
    return run(tmp_path_factory.mktemp("lora"), mini_checkpoint, mini_cache)


def test_a_lora_run_trains_only_the_videos_attention_and_feed_forward(lora_run):
    _, parts, result = lora_run
    modules = {name.split(".lora_")[0].split("transformer_blocks.")[1] for name in result.weights}
    layers = {module.split(".", 1)[1] for module in modules}
    projections = ("to_q", "to_k", "to_v", "to_out.0")
    expected = {f"{attn}.{p}" for attn in ("attn1", "attn2") for p in projections}
    assert layers == expected | {"ff.net.0.proj", "ff.net.2"}
    assert {module.split(".")[0] for module in modules} == set(map(str, range(NUM_LAYERS)))
    trained = {name for name, p in parts.model.named_parameters() if p.requires_grad}
    assert trained == set(result.weights)


def test_a_fresh_lora_changes_nothing(mini_checkpoint: Path, mini_cache: Path, tmp_path: Path):
    config = mini_run.config(tmp_path, mini_checkpoint, mini_cache)
    fresh = assemble(config, CPU).model
    bare = load_backbone(mini_checkpoint, dtype=torch.float32)
    video, context = torch.randn(1, 128, 2, 3, 3), mini_run.encode_text("a man")[None]
    t, reference = torch.tensor([0.5]), torch.randn(1, 128, 1, 3, 3)
    with torch.no_grad():
        (ours,) = fresh([(video, t, context, reference, 0)])
        plain = bare(video, t, context, frame_rate=mini_run.FPS, reference=reference)
    assert torch.equal(ours, plain)


def test_training_changes_the_weights_and_lowers_the_loss_on_its_own_clips(
    tmp_path: Path, mini_checkpoint: Path, mini_cache: Path
):
    _, _, result = run(
        tmp_path,
        mini_checkpoint,
        mini_cache,
        run={"num_steps": 40, "checkpoint_every": 100, "batch_size": 6, "micro_batch_size": 6},
        objective={"timesteps": "uniform", "lambda_id": 0, "lambda_tic": 0},
        trainable={"method": "full"},
        optimizer={"lr": 2e-3},
    )
    assert result.num_steps == 40
    entries = read_json_lines(tmp_path / "log.jsonl")
    flows = [entry["flow"] for entry in entries]
    assert sum(flows[-10:]) < 0.8 * sum(flows[:10])


@pytest.mark.skipif(
    not (shutil.which("g++") or shutil.which("clang++")),
    reason="torch.compile needs a C++ compiler on a CPU",
)
def test_a_compiled_run_takes_the_same_steps(
    tmp_path: Path, mini_checkpoint: Path, mini_cache: Path, request: pytest.FixtureRequest
):
    """In a process of its own: the compiler fails where Python's distutils was imported before that
    of setuptools, as some tests' packages do."""
    if ALONE not in os.environ:
        environment = os.environ | {ALONE: "1"}
        words = [sys.executable, "-m", "pytest", "-q", f"{__file__}::{request.node.name}"]
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout
        return
    flows = []
    for compiles in (False, True):
        torch.compiler.reset()
        counters.clear()
        out = tmp_path / str(compiles)
        model = {"checkpoint": mini_checkpoint, "dtype": "float32", "compile": compiles}
        run(
            out,
            mini_checkpoint,
            mini_cache,
            model=model | {"gradient_checkpointing": False},
            # One size of group: each other one is compiled anew.
            reference={"p_drop": 0},
            trainable={"method": "full"},
        )
        assert (counters["stats"]["unique_graphs"] > 0) is compiles
        flows.append([step["flow"] for step in read_json_lines(out / "log.jsonl")])
    torch.compiler.reset()
    # The second step starts from what the first one learned.
    assert len(flows[0]) == 2
    assert flows[1] == pytest.approx(flows[0], rel=1e-3)
    assert flows[0][0] != pytest.approx(flows[0][1], rel=1e-2)


def test_an_exported_lora_has_the_files_names_and_says_what_it_is_for(lora_run, tmp_path: Path):
    config, _, result = lora_run
    path = export(config, result.weights, tmp_path / "lora.safetensors")
    tensors = load_file(path)
    base = "diffusion_model.transformer_blocks.0.attn1.to_q"
    assert {f"{base}.lora_A.weight", f"{base}.lora_B.weight", f"{base}.alpha"} <= set(tensors)
    assert tensors[f"{base}.alpha"] == 8
    assert tensors[f"{base}.lora_A.weight"].shape == (4, VIDEO_DIM)
    assert len(tensors) == NUM_LAYERS * 10 * 3
    with safe_open(path, framework="pt") as file:
        facts = json.loads(file.metadata()["stdrc"])
    assert (facts["placement"], facts["reference_timestep"]) == ("tass", "clean")
    assert (facts["text_scale"], facts["reference_scale"]) == (5.0, 7.5)
    assert facts["base_model"] == "stdrc_mini.safetensors"


def test_exported_full_weights_are_a_whole_transformer_file(
    tmp_path: Path, mini_checkpoint: Path, mini_cache: Path
):
    config, parts, result = run(
        tmp_path, mini_checkpoint, mini_cache, trainable={"method": "full"}, run={"num_steps": 1}
    )
    path = export(config, result.weights, tmp_path / "full.safetensors")
    base = {k: v for k, v in load_file(mini_checkpoint).items() if k.startswith("model.")}
    assert load_file(path).keys() == base.keys()
    again = load_backbone(path, dtype=torch.float32)
    for name, value in again.transformer.named_parameters():
        trained = parts.model.backbone.transformer.get_parameter(name)
        torch.testing.assert_close(value, trained.bfloat16().float(), rtol=0, atol=0)
    changed = load_file(path)
    key = "model.diffusion_model.transformer_blocks.0.attn1.to_q.weight"
    assert not torch.equal(changed[key], base[key])
    audio = "model.diffusion_model.transformer_blocks.0.audio_attn1.to_q.weight"
    assert torch.equal(changed[audio], base[audio])


@pytest.fixture
def far(monkeypatch: pytest.MonkeyPatch) -> torch.device:
    """A device that is not the host: weights can be put there, though nothing computes."""
    # Where diffusers looks for a device's streams.
    monkeypatch.setattr(torch, "meta", torch.cpu, raising=False)
    return torch.device("meta")


def devices_of(*modules: torch.nn.Module) -> list[set[str]]:
    return [{p.device.type for p in module.parameters()} for module in modules]


@pytest.mark.parametrize(
    ("options", "shards", "devices"),
    [
        ({}, False, ("meta", "meta", "meta")),
        ({}, True, ("cpu", "meta", "meta")),
        ({"offload": True}, False, ("meta", "cpu", "cpu")),
    ],
    ids=["plain", "sharded", "offload"],
)
def test_weights_lie_where_they_are_to_wait(
    options: dict[str, bool],
    shards: bool,
    devices: tuple[str, ...],
    far: torch.device,
    tmp_path: Path,
    mini_checkpoint: Path,
    mini_cache: Path,
):
    model = {"checkpoint": mini_checkpoint, "dtype": "float32"} | options
    run = {"micro_batch_size": 1}
    config = mini_run.config(tmp_path, mini_checkpoint, mini_cache, model=model, run=run)
    parts = assemble(config, far, will_shard=shards)
    vae = parts.objective.encode_references.vae.vae
    found = devices_of(parts.model, vae.encoder, vae.decoder)
    assert found == [{device} for device in devices]


def test_with_identity_losses_the_decoder_stays(
    far: torch.device, tmp_path: Path, mini_checkpoint: Path, mini_cache: Path, pack: Path
):
    model = {"checkpoint": mini_checkpoint, "dtype": "float32", "offload": True}
    objective = {"lambda_id": 0.1, "face_pack": pack}
    config = mini_run.config(
        tmp_path, mini_checkpoint, mini_cache, model=model, objective=objective
    )
    vae = assemble(config, far).objective.encode_references.vae.vae
    assert devices_of(vae.encoder, vae.decoder) == [{"cpu"}, {"meta"}]


def test_a_cache_for_another_text_width_is_refused(
    tmp_path: Path, mini_checkpoint: Path, mini_cache: Path
):
    folder = tmp_path / "cache"
    folder.mkdir()
    for item in mini_cache.iterdir():
        (folder / item.name).symlink_to(item)
    manifest = json.loads((mini_cache / "manifest.json").read_text())
    (folder / "manifest.json").unlink()
    (folder / "manifest.json").write_text(json.dumps(manifest | {"context_shape": [32, 4096]}))
    config = mini_run.config(tmp_path / "out", mini_checkpoint, folder)
    with pytest.raises(ValueError, match=rf"made for .*4096.* needs {VIDEO_DIM}"):
        assemble(config, CPU)


def test_another_model_than_the_caches_is_told_and_the_caches_own_is_not(
    tmp_path: Path, mini_checkpoint: Path, mini_cache: Path, caplog: pytest.LogCaptureFixture
):
    """Its weights differ, its sizes do not: nothing else would show it."""
    assemble(mini_run.config(tmp_path, mini_checkpoint, mini_cache), CPU)
    assert not caplog.records
    other = write_miniature(tmp_path / "other.safetensors", seed=1)
    assemble(mini_run.config(tmp_path, other, mini_cache), CPU)
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert f"was made with {mini_checkpoint.name}, the run trains other" in record.getMessage()
