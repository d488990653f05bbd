"""A rehearsed step against the real one: what the allocator says, what is loaded, what is sent."""

from __future__ import annotations

import gc
import inspect
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from helpers import mini_run
from helpers.tiny_face_networks import export_recognizer, mobile_face_net, randomize
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop, sdpa_flop

from stdrc_core.mini import config as mini_sizes
from stdrc_core.mini.config import NUM_LAYERS, VIDEO_DIM
from stdrc_core.mini_build.random_weights import write_miniature
from stdrc_core.rehearsal.memory_record import GPU, HOST, MemoryRecord, fake_gpu
from stdrc_core.train import loop
from stdrc_core.train.__main__ import main
from stdrc_core.train.assemble import assemble
from stdrc_core.train.config import TrainConfig
from stdrc_core.train.rehearsal import Rehearsal, rehearse
from stdrc_core.train.rehearsal_parts import ClipSize
from stdrc_core.train.rehearsal_report import verdict

CPU = torch.device("cpu")
# Every sample has its reference and its prompt, and is made in the main thread, as in a rehearsal.
WHOLE = {
    "data": {"prefetch": 0},
    "reference": {"p_drop": 0.0},
    "objective": {"text_p_drop": 0.0, "lambda_id": 0, "lambda_tic": 0},
}
FACES = {"lambda_id": 0.1, "lambda_tic": 0.05, "text_p_drop": 0.0}


def make_config(tmp_path: Path, *files: Path, **sections: dict[str, Any]) -> TrainConfig:
    return mini_run.config(tmp_path / "run", *files, **WHOLE | sections)


@contextmanager
def alone() -> Iterator[None]:
    """accelerate keeps a process's first mixed precision for good."""
    AcceleratorState._reset_state(reset_partial_state=True)
    try:
        yield
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)


def allocated_bytes(config: TrainConfig) -> int:
    """The most that the CPU's allocator had given out in the second step of a real run.

    It is the profiler's record of each allocation and release, from before the first weight on. It
    does not see other threads, so that batches have to be made in between.
    """
    assert config.data.prefetch == 0
    mixed = "bf16" if config.model.dtype == "bfloat16" else "no"
    activities = [torch.profiler.ProfilerActivity.CPU]
    step = loop.training_step
    # What other tests left behind would be released on the way, and count as released here.
    gc.collect()
    with alone(), torch.profiler.profile(activities=activities, profile_memory=True) as profile:
        parts = assemble(config, CPU)

        def marked(*args):
            number = inspect.signature(step).bind(*args).arguments["step"]
            with torch.profiler.record_function(f"step {number}"):
                return step(*args)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(loop, "training_step", marked)
            loop.train(config, parts, Accelerator(cpu=True, mixed_precision=mixed))
    events = profile.profiler.kineto_results.events()
    (second,) = (event for event in events if event.name() == "step 1")
    held = peak = 0
    for event in sorted(
        (event for event in events if event.name() == "[memory]"), key=lambda each: each.start_ns()
    ):
        held += event.nbytes()
        if second.start_ns() <= event.start_ns() <= second.end_ns():
            peak = max(peak, held)
    return peak


# A CPU's convolutions take memory of their own beside the tensors: little where two photos are
# encoded in float32, much otherwise. The other runs have no photo.
NO_PHOTO = {"reference": {"p_drop": 1.0}}
SETTINGS = {
    "lora": {},
    "lora in bfloat16": {"model": {"dtype": "bfloat16"}} | NO_PHOTO,
    "full": {"trainable": {"method": "full"}, "optimizer": {"ema_decay": 0.9}},
    "accumulated": {"run": {"micro_batch_size": 1}, "model": {"gradient_checkpointing": False}}
    | NO_PHOTO,
}


@pytest.mark.parametrize("sections", SETTINGS.values(), ids=SETTINGS)
def test_the_peak_is_what_the_allocator_says_of_the_real_step(
    sections: dict[str, Any], tmp_path: Path, mini_checkpoint: Path, mini_cache: Path
):
    files = {"checkpoint": mini_checkpoint, "dtype": "float32"}
    sections = sections | {"model": files | sections.get("model", {})}
    config = make_config(tmp_path, mini_checkpoint, mini_cache, **sections)
    assert rehearse(config).peak.total == pytest.approx(allocated_bytes(config), rel=0.1)


@pytest.fixture(scope="session")
def tiny_pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recogniser of 16 features, as the cache's reference has them."""
    folder = tmp_path_factory.mktemp("pack16")
    export_recognizer(randomize(mobile_face_net(16)), folder / "recognizer.onnx")
    return folder


@pytest.mark.parametrize("checkpoints", [False, True])
def test_the_peak_with_identity_losses_is_what_the_allocator_says(
    checkpoints: bool, tmp_path: Path, mini_checkpoint: Path, mini_cache: Path, tiny_pack: Path
):
    model = {"checkpoint": mini_checkpoint, "dtype": "float32"}
    config = make_config(
        tmp_path,
        mini_checkpoint,
        mini_cache,
        model=model | {"gradient_checkpointing": checkpoints},
        objective=FACES | {"face_pack": tiny_pack},
    )
    assert rehearse(config).peak.total == pytest.approx(allocated_bytes(config), rel=0.1)


def test_mixing_host_and_gpu_is_an_error():
    with fake_gpu(), pytest.raises(RuntimeError, match="same device"):
        torch.zeros(3, device=GPU) + torch.zeros(3).to(GPU).cpu()


def test_what_is_drawn_on_the_host_is_real_and_what_is_computed_of_it_on_the_gpu_is_recorded():
    with fake_gpu(), MemoryRecord() as record:
        drawn = torch.rand(256, generator=torch.Generator().manual_seed(0))
        assert 0 < drawn.sum().item() < 256
        moved = drawn.to(GPU)
        doubled = moved * 2
        one = torch.tensor([1.0], device=GPU)
        assert (moved.device, one.device, doubled.cpu().device) == (GPU, GPU, HOST)
    assert record.current().activations == 2 * 256 * 4 + 4


def test_8_bit_moments_take_a_quarter(tmp_path: Path, mini_checkpoint: Path, mini_cache: Path):
    """bitsandbytes' layout: two bytes a weight, and a float32 for each 256 of either moment."""
    settings = {"name": "adamw_8bit"}
    lora = {"rank": 64}
    config = make_config(tmp_path, mini_checkpoint, mini_cache, optimizer=settings, trainable=lora)
    result = rehearse(config)
    assert 2 * result.num_trained < result.peak.optimizer < 2.1 * result.num_trained


# The command


def rehearse_by_command(caplog: pytest.LogCaptureFixture, *words: object) -> str:
    caplog.set_level("INFO")
    main([*map(str, words), "--rehearse"])
    return caplog.text


def test_the_command_starts_nothing_and_says_what_to_change(
    tmp_path: Path, mini_checkpoint: Path, caplog: pytest.LogCaptureFixture
):
    """Neither the cache nor the face pack is there."""
    recipe = tmp_path / "recipe.yaml"
    config = make_config(tmp_path, mini_checkpoint, tmp_path / "no cache")
    recipe.write_text(config.to_yaml())
    report = tmp_path / "report.json"
    sizes = ("--num-frames", 17, "--height", 64, "--width", 96)
    said = rehearse_by_command(caplog, recipe, *sizes, "--vram", 0.5, "--report", report)
    assert not (tmp_path / "run").exists()
    result = rehearse(config, clip=ClipSize(num_frames=17, height=64, width=96))
    # 3 latent frames of 2 x 3 and the reference.
    assert result.tokens_per_sample == 24
    for part in ("rank: 4", f"{result.num_parameters:,}", f"{result.num_trained:,}", "24 a sample"):
        assert part in said
    assert "does not fit a GPU of 0.5 GiB" in said
    assert "model.quantization int8" in said
    written = json.loads(report.read_text())
    assert written["peak"]["total"] == result.peak.total
    assert written["fits"] is False
    assert verdict(config, result, 24).fits


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["--set", "model.checkpoint=mine.safetensors"], ["mine.safetensors", "ltx-2.3"]),
        (["--num-frames", 48], ["48", "8n + 1"]),
        (["--height", 500], ["height was 500", "32"]),
        (["--gpus", 0], ["gpus was 0"]),
        (["--gpus", 3], ["batch_size was 2 on 3"]),
    ],
)
def test_what_cannot_be_rehearsed_is_one_sentence(
    words: list[object],
    parts: list[str],
    tmp_path: Path,
    mini_checkpoint: Path,
    capsys: pytest.CaptureFixture[str],
):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(make_config(tmp_path, mini_checkpoint, tmp_path / "no cache").to_yaml())
    with pytest.raises(SystemExit) as ended:
        main([str(recipe), "--rehearse", *map(str, words)])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert all(part in said for part in parts)
    assert said.count("\n") == 1


def test_weights_gradients_and_state_are_counted_to_the_byte(
    tmp_path: Path, mini_checkpoint: Path, mini_cache: Path
):
    model = {"checkpoint": mini_checkpoint, "dtype": "bfloat16", "quantization": "int8"}
    run = {"micro_batch_size": 1}
    config = make_config(tmp_path, mini_checkpoint, mini_cache, model=model, run=run)
    result = rehearse(config)
    parts = assemble(config, CPU)
    named = [*parts.model.named_parameters(), *parts.model.named_buffers()]
    inner = [
        getattr(each, name)
        for _, each in named
        for name in (each.__tensor_flatten__()[0] if hasattr(each, "qdata") else ["data"])
    ]
    assert result.peak.weights == sum(each.nbytes for each in inner)
    vae = parts.objective.encode_references.vae
    assert result.peak.frozen == sum(p.nbytes for p in (*vae.parameters(), *vae.buffers()))
    # Rank 4 on 8 square projections of the width d and two of d x 4 d, in each block.
    assert result.num_trained == NUM_LAYERS * 4 * (8 * 2 + 2 * 5) * VIDEO_DIM
    frozen = [p for p in parts.model.parameters() if not p.requires_grad]
    assert result.num_parameters == sum(p.numel() for p in frozen)
    num_tensors = sum(p.requires_grad for p in parts.model.parameters())
    assert result.peak.gradients == 4 * result.num_trained
    # Two moments, and each tensor's number of steps.
    assert result.peak.optimizer == 8 * result.num_trained + 4 * num_tensors
    assert result.disk.checkpoint_bytes == 12 * result.num_trained
    # 2 latent frames of 3 x 3 and the reference; two samples a step.
    assert (result.tokens_per_sample, result.tokens_per_step) == (27, 54)


def raw(formula: Callable[..., int]) -> Callable[..., int]:
    """torch's formula, as its counter takes one that reads the tensors' shapes itself."""

    def count(*args: Any, **kwargs: Any) -> int:
        return formula(*args, **kwargs)

    count._get_raw = True
    return count


def test_operations_are_those_of_the_real_step(
    tmp_path: Path, mini_checkpoint: Path, mini_cache: Path
):
    config = make_config(tmp_path, mini_checkpoint, mini_cache, run={"num_steps": 1})
    aten = torch.ops.aten
    attention = {
        aten._scaled_dot_product_flash_attention_for_cpu: raw(sdpa_flop),
        aten._scaled_dot_product_flash_attention_for_cpu_backward: raw(sdpa_backward_flop),
    }
    with alone(), FlopCounterMode(display=False, custom_mapping=attention) as counter:
        mini_run.train(config)
    assert rehearse(config).flops_per_step == counter.get_total_flops()


def test_offload_takes_block_inputs_and_the_idle_vae_to_the_host(
    tmp_path: Path, mini_checkpoint: Path, mini_cache: Path
):
    def result(offload: bool) -> Rehearsal:
        model = {"checkpoint": mini_checkpoint, "dtype": "float32", "offload": offload}
        return rehearse(make_config(tmp_path, mini_checkpoint, mini_cache, model=model))

    plain, offloaded = result(False), result(True)
    # Each block's input: 27 tokens of two samples, in four bytes.
    inputs = NUM_LAYERS * 2 * 27 * VIDEO_DIM * 4
    # The statistics of the latents stay.
    statistics = 2 * 128 * 4
    waiting = inputs + plain.peak.frozen - statistics
    # The photos' pixels are cut into patches where the parked first layer is.
    pixels = 2 * 3 * 96 * 96 * 4
    assert waiting <= offloaded.host_kept < waiting + 8 * pixels
    assert offloaded.peak.total < plain.peak.total - plain.peak.frozen / 2


def test_eight_gpus_hold_an_eighth_of_a_full_fine_tune(
    tmp_path: Path, mini_checkpoint: Path, mini_cache: Path
):
    model = {"checkpoint": mini_checkpoint, "dtype": "bfloat16"}
    run = {"batch_size": 16, "micro_batch_size": 1}
    config = make_config(
        tmp_path,
        mini_checkpoint,
        mini_cache,
        model=model,
        run=run,
        trainable={"method": "full"},
    )
    result = rehearse(config, num_gpus=8)
    whole = 4 * result.num_parameters
    assert result.is_sharded
    assert result.peak.weights == pytest.approx(whole / 8, rel=0.02)
    assert result.peak.gradients == pytest.approx(whole / 8, rel=0.02)
    assert result.peak.optimizer == pytest.approx(whole / 4, rel=0.02)
    # What is gathered at once is a block or two, and not the model.
    assert result.peak.activations < whole
    # The main process alone has read the weights.
    assert result.host_loading == whole
    # Weights are gathered in bfloat16 before forward and backward pass, gradients summed in
    # float32, in each of two micro-batches; a GPU has its own eighth of all that.
    assert result.network_per_step == pytest.approx(2 * (2 + 2 + 4) / 4 * whole * 7 / 8, rel=0.02)
    with pytest.raises(ValueError, match=r"batch_size was 16 on 5 processes"):
        rehearse(config, num_gpus=5)


def test_a_lora_on_two_gpus_has_ddps_buckets_and_sends_its_gradients_once(
    tmp_path: Path, mini_checkpoint: Path, mini_cache: Path
):
    """Each GPU has two micro-batches either way."""
    one, two = (
        rehearse(
            make_config(
                tmp_path,
                mini_checkpoint,
                mini_cache,
                run={"batch_size": 2 * num_gpus, "micro_batch_size": 1},
            ),
            num_gpus=num_gpus,
        )
        for num_gpus in (1, 2)
    )
    assert not two.is_sharded
    assert two.peak.total == one.peak.total + 4 * one.num_trained
    # In a ring of two, half of the gradients goes there, and half of the sums.
    assert (one.network_per_step, two.network_per_step) == (0, 4 * one.num_trained)


@pytest.fixture(scope="session")
def deep_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The miniature with ten blocks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mini_sizes, "NUM_LAYERS", 10)
        patch.setitem(mini_sizes.TRANSFORMER_CONFIG, "num_layers", 10)
        return write_miniature(tmp_path_factory.mktemp("deep") / "deep.safetensors")


DEEP = {
    "lora": {},
    "lora, offloaded, in 8 bits": {
        "model": {"dtype": "bfloat16", "quantization": "int8", "offload": True},
        "run": {"micro_batch_size": 1},
    },
    "full": {"model": {"dtype": "bfloat16"}, "trainable": {"method": "full"}},
}


@pytest.mark.parametrize("sections", DEEP.values(), ids=DEEP)
def test_three_blocks_and_their_stand_ins_take_what_all_blocks_take(
    sections: dict[str, Any],
    tmp_path: Path,
    deep_checkpoint: Path,
    mini_cache: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    """To the byte and to the operation, of ten blocks: memory by kind, and host."""
    config = make_config(tmp_path, deep_checkpoint, mini_cache, **sections)
    few = rehearse(config)
    monkeypatch.setattr("stdrc_core.train.rehearsal.run_few", lambda *_: None)
    assert few == rehearse(config)
