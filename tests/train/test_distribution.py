"""accelerate's configuration files, and FSDP2 on CPU processes against one process."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from unittest import mock

import pytest
import torch
import yaml
from accelerate import Accelerator
from accelerate.commands.config.config_args import ClusterConfig, load_config_from_file
from accelerate.commands.launch import launch_command_parser
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin
from diffusers.models.transformers.transformer_ltx2 import LTX2VideoTransformerBlock
from helpers import commands, drawn_faces, run_sharded
from helpers.json_lines import read_json_lines
from safetensors.torch import load_file
from torch import Tensor
from torch.distributed.fsdp import CPUOffloadPolicy, MixedPrecisionPolicy
from torch.distributed.fsdp.fully_sharded_data_parallel import StateDictType
from torch.distributed.fsdp.wrap import transformer_auto_wrap_policy

from stdrc_core.mini.config import NUM_LAYERS
from stdrc_core.train import loop, run
from stdrc_core.train.checkpoint_weights import read_weights
from stdrc_core.train.checkpoints import CheckpointFolder
from stdrc_core.train.config import load_config

CPU = torch.device("cpu")
FSDP2 = run_sharded.FSDP2
DDP = FSDP2.with_name("accelerate_ddp.yaml")


@pytest.mark.parametrize("file", [DDP, FSDP2], ids=lambda path: path.stem)
def test_accelerate_knows_every_key(file: Path):
    values = yaml.safe_load(file.read_text())
    assert set(values) <= {field.name for field in dataclasses.fields(ClusterConfig)}
    config = load_config_from_file(str(file))
    assert isinstance(config, ClusterConfig)
    assert (config.num_machines, config.num_processes) == (1, 8)
    assert config.mixed_precision == "bf16"
    # The launcher takes unknown keys of a subsection in silence.
    known = vars(launch_command_parser().parse_args(["a_script.py"]))
    assert set(config.fsdp_config) <= set(known)


def test_ddp_is_not_sharded():
    assert load_config_from_file(str(DDP)).distributed_type is DistributedType.MULTI_GPU
    assert "ACCELERATE_USE_FSDP" not in run_sharded.launch_environment(DDP)


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> FullyShardedDataParallelPlugin:
    """As a process of `accelerate launch` makes it."""
    for name, value in run_sharded.launch_environment(FSDP2).items():
        if name.startswith("FSDP_"):
            monkeypatch.setenv(name, value)
    return FullyShardedDataParallelPlugin()


def test_fsdp2_shards_block_by_block(plugin: FullyShardedDataParallelPlugin):
    assert load_config_from_file(str(FSDP2)).distributed_type is DistributedType.FSDP
    assert run_sharded.launch_environment(FSDP2)["ACCELERATE_USE_FSDP"] == "true"
    assert plugin.fsdp_version == 2
    assert plugin.auto_wrap_policy is transformer_auto_wrap_policy
    assert plugin.transformer_cls_names_to_wrap == [LTX2VideoTransformerBlock.__name__]
    assert plugin.reshard_after_forward is True
    assert plugin.activation_checkpointing is False
    assert plugin.state_dict_type is StateDictType.SHARDED_STATE_DICT
    assert not plugin.cpu_ram_efficient_loading
    assert not isinstance(plugin.cpu_offload, CPUOffloadPolicy)


def sharding(plugin: FullyShardedDataParallelPlugin) -> Accelerator:
    """The part of an accelerator that `set_up_sharding` reads."""
    return mock.Mock(spec=Accelerator, state=mock.Mock(fsdp_plugin=plugin))


def test_the_trainer_keeps_inputs_as_they_are(plugin, tmp_path: Path):
    plugin.set_mixed_precision("bf16")
    loop.set_up_sharding(run_sharded.config(tmp_path, tmp_path, tmp_path), sharding(plugin))
    assert plugin.mixed_precision_policy == MixedPrecisionPolicy(
        param_dtype=torch.bfloat16, reduce_dtype=torch.float32, cast_forward_inputs=False
    )


def test_processes_that_would_wait_for_each_other_are_refused(plugin, tmp_path: Path):
    paths = (tmp_path, tmp_path, tmp_path)
    uneven = run_sharded.config(*paths, run={"micro_batch_size": 2})
    with pytest.raises(ValueError, match=r"run\.micro_batch_size was 2 with FSDP2 .* needs 1"):
        loop.set_up_sharding(uneven, sharding(plugin))
    even = run_sharded.config(*paths, run={"micro_batch_size": 2}, reference={"p_drop": 0})
    loop.set_up_sharding(even, sharding(plugin))
    # Galleries of several sizes give photos of several numbers, whatever was drawn.
    for shares, is_even in (((1.0, 0.0), True), ((0.0, 1.0), False)):
        reference = {"p_drop": 0, "num_photos": shares}
        config = run_sharded.config(*paths, run={"micro_batch_size": 2}, reference=reference)
        if is_even:
            loop.set_up_sharding(config, sharding(plugin))
            continue
        with pytest.raises(ValueError, match=r"reference\.num_photos \[0\.0, 1\.0\]; needs 1"):
            loop.set_up_sharding(config, sharding(plugin))


@pytest.mark.parametrize(
    ("sections", "sentence"),
    [
        (
            {"optimizer": {"name": "adamw_8bit"}},
            r"^optimizer\.name was adamw_8bit with FSDP2; needs adamw, since .*: take adamw, or",
        ),
        (
            {"trainable": {"method": "lora"}, "model": {"quantization": "int8"}},
            r"^model\.quantization was int8 with FSDP2; needs none, since",
        ),
        ({"run": {"micro_batch_size": 2}}, r"^run\.micro_batch_size was 2 with FSDP2 .* needs 1"),
    ],
)
def test_what_cannot_be_sharded_is_refused_before_anything_is_loaded(
    sections: dict, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """No file of the configuration is there, so that to read one would be another error."""
    gone = tmp_path / "gone"
    if "model" in sections:
        sections = sections | {"model": sections["model"] | {"checkpoint": gone}}
    item = {
        "prompt": "a man",
        "photo": drawn_faces.write_photo(tmp_path / "a.png", drawn_faces.RED),
    }
    validation = {"every": 1, "items": [item], "text_encoder": str(gone)}
    config = run_sharded.config(tmp_path, gone, gone, validation=validation, **sections)
    (tmp_path / "recipe.yaml").write_text(config.to_yaml())
    accelerator = mock.Mock(
        spec=Accelerator, is_fsdp2=True, is_main_process=True, num_processes=2, device=CPU
    )
    monkeypatch.setattr(run, "make_accelerator", lambda _: accelerator)
    monkeypatch.setattr(run, "require_exportable", lambda _: None)
    args = argparse.Namespace(config=tmp_path / "recipe.yaml", changes=[], rehearse=False)
    with pytest.raises(ValueError, match=sentence) as raised:
        run.main(args)
    assert "\n" not in str(raised.value)


@dataclasses.dataclass(frozen=True)
class Runs:
    """Folders of the runs on two processes, and of those on one."""

    sharded: Path
    single: Path

    def weights(self, name: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        return tuple(load_file(path / f"{name}.safetensors") for path in self.folders())

    def log(self, name: str) -> tuple[list[dict[str, float]], list[dict[str, float]]]:
        return tuple(read_json_lines(path / name / "log.jsonl") for path in self.folders())

    def folders(self) -> tuple[Path, Path]:
        return self.sharded, self.single


@pytest.fixture(scope="module")
def runs(tmp_path_factory, mini_checkpoint: Path, mini_cache: Path) -> Runs:
    sharded, single = (tmp_path_factory.mktemp(name) for name in ("sharded", "single"))
    words = (run_sharded.__file__, sharded, mini_checkpoint, mini_cache)
    commands.run(*words, num_processes=2)
    run_sharded.unsharded(single, mini_checkpoint, mini_cache)
    return Runs(sharded, single)


# Sums over two halves in another order: a step's rounding is about 1e-7 of a weight of size 1.
@pytest.mark.parametrize("name", ["plain", "whole"])
def test_sharded_training_is_training_in_one_process(runs: Runs, name: str):
    for ours, expected in zip(*runs.log(name), strict=True):
        assert ours["total"] == pytest.approx(expected["total"], abs=1e-5)
        assert ours["grad_norm"] == pytest.approx(expected["grad_norm"], rel=1e-4)
        assert expected["grad_norm"] > 0.1, "clipping has nothing to do"
    ours, expected = runs.weights(name)
    assert ours.keys() == expected.keys()
    for key, value in expected.items():
        torch.testing.assert_close(ours[key], value, rtol=0, atol=1e-5, msg=key)


def test_training_moved_the_weights_by_more_than_the_tolerance(runs: Runs):
    after_one, after_four = (runs.weights(name)[0] for name in ("plain", "whole"))
    moved = [(after_four[name] - after_one[name]).abs().max() for name in after_one]
    assert max(moved) > 1e-3


def test_a_sharded_run_goes_on_from_its_checkpoint(runs: Runs):
    """Weights, momentum and average: each is in the checkpoint."""
    whole, resumed = (load_file(runs.sharded / f"{n}.safetensors") for n in ("whole", "resumed"))
    for name, value in whole.items():
        torch.testing.assert_close(resumed[name], value, rtol=0, atol=1e-7, msg=name)
    whole_log, resumed_log = (
        read_json_lines(runs.sharded / name / "log.jsonl") for name in ("whole", "resumed")
    )
    assert [entry["step"] for entry in resumed_log] == [0, 1, 2, 3]
    assert [e["total"] for e in resumed_log] == pytest.approx([e["total"] for e in whole_log])


def test_a_lora_over_a_sharded_base_is_one_over_a_whole_base(runs: Runs):
    """Also where it goes on, for a third step, from a checkpoint of the LoRA alone."""
    for ours, expected in zip(*runs.log("lora"), strict=True):
        assert ours["total"] == pytest.approx(expected["total"], abs=1e-5)
    assert len(load_file(runs.sharded / "lora.safetensors")) == NUM_LAYERS * 10 * 2


def test_validation_of_sharded_weights_is_that_of_whole_ones(runs: Runs):
    """Also that the averages, which are validated, leave the run as it was."""
    ours, expected = runs.weights("latents")
    assert len(expected) == 6
    for key, value in expected.items():
        torch.testing.assert_close(ours[key], value, rtol=0, atol=1e-4, msg=key)
    # The second step's average gives other clips than the first's, and each item its own.
    assert (
        min((expected["latent_0"] - expected[f"latent_{i}"]).abs().max() for i in range(1, 6))
        > 1e-2
    )
    for out in runs.folders():
        folder = out / "validated" / "validation"
        lines = read_json_lines(out / "validated" / "validation.jsonl")
        assert [line["step"] for line in lines] == [1, 2]
        assert sorted(p.name for p in folder.iterdir()) == ["step_00000001", "step_00000002"]
    for ours, expected in zip(*runs.log("validated"), strict=True):
        assert ours["total"] == pytest.approx(expected["total"], abs=1e-5)
        assert ours["tokens_per_s"] * ours["step_time_s"] == pytest.approx(
            expected["tokens_per_s"] * expected["step_time_s"], rel=1e-3
        )


@pytest.mark.parametrize("name", ["plain", "whole"])
def test_a_sharded_checkpoint_holds_the_weights_that_the_run_ended_with(runs: Runs, name: str):
    """`plain` keeps no average: its weights are put together from the shards."""
    config = load_config(runs.sharded / name / "config.yaml")
    stored = read_weights(CheckpointFolder.of(config.run).named("last"), config)
    ended_with, _ = runs.weights(name)
    assert stored.keys() == ended_with.keys()
    for key, value in ended_with.items():
        assert torch.equal(stored[key], value), key


def test_bfloat16_is_near_float32(runs: Runs):
    """What each process checks of dtypes stands in run_sharded; here, that the numbers agree."""
    (ours,) = read_json_lines(runs.sharded / "bfloat16" / "log.jsonl")
    expected, *_ = read_json_lines(runs.single / "plain" / "log.jsonl")
    assert ours["total"] == pytest.approx(expected["total"], rel=2e-2)
    assert ours["total"] != expected["total"]
