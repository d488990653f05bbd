"""What a run tells of its steps, against counts and clocks of the test's own."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from helpers import stand_in_run
from helpers.json_lines import read_json_lines

from stdrc_core.train import loop, progress
from stdrc_core.train.progress import Progress, peak_memory_gib, reset_peak_memory

LOSSES = {"total": 0.5, "flow": 0.25}


def test_tokens_are_those_that_the_model_saw(tmp_path: Path):
    config = stand_in_run.config(tmp_path, reference={"p_drop": 0.5})
    parts = stand_in_run.parts(config)
    seen: list[int] = []

    def count(_: torch.nn.Module, arguments: tuple) -> None:
        for video, _, _, reference, _ in arguments[0]:
            frames = [video] if reference is None else [video, reference]
            seen.append(sum(each[:, 0].numel() for each in frames))

    parts.model.register_forward_pre_hook(count)
    loop.train(config, parts, Accelerator(cpu=True))
    log = read_json_lines(tmp_path / "log.jsonl")
    told = [entry["tokens_per_s"] * entry["step_time_s"] for entry in log]
    assert sum(told) == pytest.approx(sum(seen), rel=1e-2)
    assert len({round(tokens) for tokens in told}) > 1, "no step dropped more than another"


def test_time_left_is_the_pace_of_this_run_over_the_steps_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Four steps were done before; each of this run's takes 3 s."""
    section = stand_in_run.config(tmp_path, run={"num_steps": 10, "log_every": 2}).run
    clock = iter(range(100, 200, 3))
    monkeypatch.setattr(progress.time, "perf_counter", lambda: float(next(clock)))
    steps = Progress(section, Accelerator(cpu=True), done=4)
    for step in steps:
        if step % 2:
            next(clock)
        steps.report(step, LOSSES, grad_norm=1.0, lr=0.1, num_tokens=60, time_s=2.0)
    told = read_json_lines(tmp_path / "log.jsonl")
    assert [entry["step"] for entry in told] == [4, 6, 8]
    assert [entry["time_left_s"] for entry in told] == [5 * 3, 3 * 3, 1 * 3]
    assert all(entry["tokens_per_s"] == 30 for entry in told)
    assert all(LOSSES.items() <= entry.items() for entry in told)
    for part in ("total=0.5", "flow=0.25", "tokens/s=30", "GiB="):
        assert part in steps.bar.postfix


def test_the_peak_of_a_gpu_is_that_of_training_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A count of the test's own stands for torch's: 9 before the loop, 1 a step, 7 to validate."""
    validation = {"items": [{"prompt": "unused", "photo": "unused"}], "text_encoder": "miniature"}
    config = stand_in_run.config(tmp_path, validation=validation | {"every": 2})
    parts = stand_in_run.parts(config)
    peak = [9.0]

    def reach(memory: float) -> None:
        peak[0] = max(peak[0], memory)

    def reset(device: torch.device) -> None:
        peak[0] = 0.0

    for module in (progress, loop):
        monkeypatch.setattr(module, "reset_peak_memory", reset, raising=False)
    monkeypatch.setattr(progress, "peak_memory_gib", lambda device: peak[0])
    parts.model.register_forward_pre_hook(lambda *_: reach(1.0))
    loop.train(config, parts, Accelerator(cpu=True), lambda step: reach(7.0))
    assert peak[0] == 0, "the last step was validated"
    told = read_json_lines(tmp_path / "log.jsonl")
    assert [entry["peak_memory_gib"] for entry in told] == [1.0] * 6


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_a_gpus_peak_counts_from_its_reset():
    device = torch.device("cuda")
    before = torch.cuda.memory_allocated(device) / 2**30
    torch.ones(2**26, device=device)
    assert peak_memory_gib(device) >= before + 0.25
    reset_peak_memory(device)
    assert peak_memory_gib(device) == pytest.approx(before)


def test_peak_memory_of_a_cpu_process_is_the_kernels_count():
    status = Path("/proc/self/status")
    if not status.exists():
        pytest.skip("needs Linux: its count is read from /proc/self/status")
    big = torch.ones(2**26)
    (peak_kib,) = (int(line.split()[1]) for line in status.open() if line.startswith("VmHWM"))
    assert peak_memory_gib(torch.device("cpu")) == pytest.approx(peak_kib / 2**20, rel=2e-2)
    assert peak_kib * 2**10 > big.numel() * 4
