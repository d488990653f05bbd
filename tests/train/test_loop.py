"""The loop: exact resume, the same run on several processes, and what a failure leaves behind."""

from __future__ import annotations

import json
import math
import signal
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from helpers import PROJECT, commands, stand_in_run
from helpers.json_lines import read_json_lines
from safetensors.torch import load_file
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from stdrc_core.train import loop
from stdrc_core.train.batches import Batches, batch_indices, own_share
from stdrc_core.train.checkpoints import CheckpointFolder
from stdrc_core.train.loop import DivergedError
from stdrc_core.train.trainable import AverageOfWeights, exchanged

RUN_STAND_IN = PROJECT / "tests" / "helpers" / "run_stand_in.py"
# Nothing of it is read here but `every`.
VALIDATION = {"items": [{"prompt": "unused", "photo": "unused"}], "text_encoder": "miniature"}


def weights(out: Path, step: int) -> dict[str, Tensor]:
    return load_file(out / "checkpoints" / f"step_{step:08d}" / "model.safetensors")


def log(out: Path) -> dict[int, dict[str, float]]:
    """The last entry of each step."""
    return {entry["step"]: entry for entry in read_json_lines(out / "log.jsonl")}


def go_on(out: Path, **sections: dict) -> Path:
    """Runs in this process to the end, from the newest checkpoint where there is one."""
    config = stand_in_run.config(out, **sections)
    loop.train(config, stand_in_run.parts(config), Accelerator(cpu=True))
    return out


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of six steps that nothing disturbed."""
    return go_on(tmp_path_factory.mktemp("whole"))


# Between two checkpoints, and just after one.
@pytest.mark.parametrize("steps", [3, 4])
def test_a_killed_run_goes_on_to_the_weights_of_one_never_stopped(
    whole: Path, tmp_path: Path, steps: int
):
    dies = {"KILL_AFTER_STEP": str(steps)}
    commands.run(RUN_STAND_IN, tmp_path, environment=dies, status=-signal.SIGKILL)
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir())[-1] < "step_00000006"
    go_on(tmp_path)
    expected = weights(whole, 6)
    for name, value in weights(tmp_path, 6).items():
        assert torch.equal(value, expected[name]), name
    for step, entry in log(whole).items():
        assert log(tmp_path)[step]["total"] == entry["total"]
    # The average of the weights goes on as well.
    averages = [
        torch.load(out / "checkpoints" / "step_00000006" / "custom_checkpoint_0.pkl")
        for out in (whole, tmp_path)
    ]
    assert averages[0].keys() == averages[1].keys() != set()
    assert all(torch.equal(averages[0][name], averages[1][name]) for name in averages[0])


@pytest.mark.parametrize("micro_batch_size", [1, 2])
def test_two_processes_are_one_process_at_the_same_global_batch(
    whole: Path, tmp_path: Path, micro_batch_size: int
):
    change = f"run.micro_batch_size={micro_batch_size}"
    commands.run(RUN_STAND_IN, tmp_path, change, num_processes=2)
    for step, entry in log(whole).items():
        for name in ("total", "flow", "identity", "consistency"):
            assert log(tmp_path)[step][name] == pytest.approx(entry[name], abs=1e-4)
    assert weights(tmp_path, 6).keys() == weights(whole, 6).keys()
    go_on(tmp_path, run={"num_steps": 7})
    assert max(log(tmp_path)) == 6


# With resuming and without: `whole` is made with a thread that is two micro-batches ahead.
@pytest.mark.parametrize("stops", [(6,), (3, 6)])
@pytest.mark.parametrize("prefetch", [0, 1, 7])
def test_a_run_is_the_same_byte_for_byte_however_early_batches_are_made(
    whole: Path, tmp_path: Path, prefetch: int, stops: tuple[int, ...]
):
    for num_steps in stops:
        go_on(tmp_path, run={"num_steps": num_steps}, data={"prefetch": prefetch})
    for name in ("model.safetensors", "optimizer.bin", "custom_checkpoint_0.pkl"):
        ours, expected = (
            (out / "checkpoints" / "step_00000006" / name).read_bytes() for out in (tmp_path, whole)
        )
        assert ours == expected, name
    computed = {"step", "total", "flow", "identity", "consistency", "grad_norm", "lr"}
    ours, expected = (
        [{key: entry[key] for key in computed} for entry in read_json_lines(out / "log.jsonl")]
        for out in (tmp_path, whole)
    )
    assert ours == expected


def test_batches_are_made_while_a_step_computes(tmp_path: Path):
    """The first forward pass ends only when the next micro-batch's sample has been read."""
    config = stand_in_run.config(tmp_path, run={"num_steps": 1, "micro_batch_size": 1})
    parts = stand_in_run.parts(config)
    read = threading.Semaphore(0)

    class Watched(list):
        def __getitem__(self, index: int):
            read.release()
            return super().__getitem__(index)

    read_ahead = []
    parts.model.register_forward_pre_hook(
        lambda *_: (
            read_ahead.append(all(read.acquire(timeout=30) for _ in range(2)))
            if not read_ahead
            else None
        )
    )
    loop.train(config, replace(parts, samples=Watched(parts.samples)), Accelerator(cpu=True))
    assert read_ahead == [True]


def test_losses_are_read_when_they_are_logged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    config = stand_in_run.config(tmp_path, run={"log_every": 4})
    means, calls = loop._means, []
    monkeypatch.setattr(loop, "_means", lambda *args: calls.append(args) or means(*args))
    loop.train(config, stand_in_run.parts(config), Accelerator(cpu=True))
    assert len(calls) == 2
    assert list(log(tmp_path)) == [0, 4]


class Reads(TorchDispatchMode):
    """Counts how often the value of a tensor is asked for, for which a CPU waits for its GPU."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += function is torch.ops.aten._local_scalar_dense.default
        return function(*args, **(kwargs or {}))


def test_a_step_asks_for_one_value_however_many_micro_batches_it_has(tmp_path: Path):
    config = stand_in_run.config(
        tmp_path,
        run={"num_steps": 1, "micro_batch_size": 1},
        objective={"lambda_id": 0, "lambda_tic": 0},
    )
    parts = stand_in_run.parts(config)
    accelerator = Accelerator(cpu=True)
    optimizer = loop.make_optimizer(config, parts.model)
    model, optimizer = accelerator.prepare(parts.model, optimizer)
    made = Batches(config, parts.samples, parts.objective, rank=0, num_processes=1, pins=False)
    batches = list(made.ahead([0]))
    assert len(batches) == 4
    with Reads() as reads:
        loop.training_step(config, parts.objective, accelerator, model, optimizer, 0, batches)
    assert reads.count == 1


def test_all_processes_stop_at_what_diverges_in_one_of_them(tmp_path: Path):
    """The sample is in the second process's half of the first step; its weights are not moved."""
    broken = batch_indices(7, 4, 0, seed=0)[3]
    environment = {"BROKEN_SAMPLE": str(broken)}
    commands.run(RUN_STAND_IN, tmp_path, num_processes=2, environment=environment, status=1)
    said = [(tmp_path / f"diverged_{rank}.txt").read_text() for rank in (0, 1)]
    assert said[0] == said[1]
    assert said[0].startswith("the loss was nan in step 0;")
    assert f"samples [{batch_indices(7, 4, 0, seed=0)[2]}, {broken}] of the cache" in said[0]
    assert not list(tmp_path.rglob("step_*"))


def test_a_run_that_goes_on_takes_its_step_size_from_the_configuration(tmp_path: Path):
    """Warm-up is over three steps: the factors are 1/3, 2/3, 1, 1."""
    for num_steps, lr in ((2, 0.03), (4, 0.0006)):
        config = stand_in_run.config(
            tmp_path,
            run={"num_steps": num_steps, "checkpoint_every": 1},
            optimizer={"lr": lr, "weight_decay": 0.0},
        )
        loop.train(config, stand_in_run.parts(config), Accelerator(cpu=True))
    assert [log(tmp_path)[step]["lr"] for step in range(4)] == pytest.approx(
        [0.01, 0.02, 0.0006, 0.0006]
    )
    after = [weights(tmp_path, step) for step in (2, 3)]
    moved = max((after[1][name] - after[0][name]).abs().max() for name in after[0])
    # Adam's third step is at most this many times the step size.
    assert 0 < moved < 2 * 0.0006


@pytest.mark.parametrize(
    ("num_steps", "decay", "factors"),
    [
        (6, 2, [1 / 3, 2 / 3, 1, 1, 1, 0.5]),
        (6, 4, [1 / 3, 2 / 3, 1, 3 / 4, 2 / 4, 1 / 4]),
        (3, 6, [1 / 3, 2 / 6, 1 / 6]),
    ],
)
def test_the_step_size_falls_over_the_last_steps(
    tmp_path: Path, num_steps: int, decay: int, factors: list[float]
):
    """In a run that goes on after its first step."""
    for until in (1, num_steps):
        config = stand_in_run.config(
            tmp_path,
            run={"num_steps": until, "checkpoint_every": 1},
            optimizer={"lr": 0.01, "num_decay_steps": decay if until == num_steps else 0},
        )
        loop.train(config, stand_in_run.parts(config), Accelerator(cpu=True))
    told = [log(tmp_path)[step]["lr"] for step in range(num_steps)]
    assert told == pytest.approx([0.01 * factor for factor in factors])


def test_validation_sees_the_averages_and_leaves_the_run_as_it_was(whole: Path, tmp_path: Path):
    config = stand_in_run.config(tmp_path, validation=VALIDATION | {"every": 2})
    parts = stand_in_run.parts(config)
    seen = {}

    def validate(step: int) -> None:
        seen[step] = {name: p.detach().clone() for name, p in parts.model.named_parameters()}

    result = loop.train(config, parts, Accelerator(cpu=True), validate)
    assert list(seen) == [2, 4, 6]
    for step, values in seen.items():
        folder = tmp_path / "checkpoints" / f"step_{step:08d}"
        averages = torch.load(folder / "custom_checkpoint_0.pkl")
        trained = weights(tmp_path, step)
        assert all(torch.equal(value, averages[name]) for name, value in values.items())
        assert any(not torch.equal(value, trained[name]) for name, value in values.items())
    expected = weights(whole, 6)
    for name, value in weights(tmp_path, 6).items():
        assert torch.equal(value, expected[name]), name
        assert torch.equal(result.weights[name], seen[6][name])


def test_weights_and_averages_get_their_own_back_from_a_validation_that_fails():
    model = torch.nn.Linear(3, 2)
    average = AverageOfWeights(model, decay=0.5)
    for value in average.weights.values():
        value.normal_()
    before = [
        {name: value.detach().clone() for name, value in values}
        for values in (model.named_parameters(), average.weights.items())
    ]
    places = [p.data_ptr() for p in model.parameters()]
    with pytest.raises(OSError, match="full"), exchanged(model, average.weights):
        for name, parameter in model.named_parameters():
            assert torch.equal(parameter, before[1][name])
        raise OSError("full")
    for values, kept in zip((dict(model.named_parameters()), average.weights), before, strict=True):
        assert all(torch.equal(value, kept[name]) for name, value in values.items())
    assert places == [p.data_ptr() for p in model.parameters()]


@pytest.mark.parametrize(("checkpoint_every", "every"), [(1000, 2), (2, 3), (3, 2), (1, 1)])
@pytest.mark.parametrize("best", [0.3, 0.6], ids=["first", "third"])
def test_the_best_of_all_validations_is_kept_whatever_is_due_when(
    tmp_path: Path, checkpoint_every: int, every: int, best: float
):
    """Seven steps; scores rise or fall but for the one that is `best`."""
    due = [step for step in range(1, 8) if step % every == 0 or step == 7]
    scores = dict.fromkeys(due, 0.2)
    best_step = due[0] if best == 0.3 else due[2]
    scores[best_step] = best
    config = stand_in_run.config(
        tmp_path,
        run={"num_steps": 7, "checkpoint_every": checkpoint_every, "keep_checkpoints": 1},
        validation=VALIDATION | {"every": every},
    )
    loop.train(config, stand_in_run.parts(config), Accelerator(cpu=True), scores.__getitem__)
    folder = CheckpointFolder.of(config.run)
    stored = json.loads((folder.path / "best.json").read_text())
    assert (stored["step"], stored["facesim"]) == (best_step, best)
    assert folder.named("best") == folder.path / stored["checkpoint"]
    assert folder.named("last").name == "step_00000007"
    kept = {p.name for p in folder.path.iterdir() if p.is_dir()}
    assert kept == {f"step_{best_step:08d}", "step_00000007"}


def with_no_loss(parts: loop.Parts) -> loop.Parts:
    samples = [replace(sample, latent=sample.latent * math.nan) for sample in parts.samples]
    return replace(parts, samples=samples)


def with_no_gradient(parts: loop.Parts) -> loop.Parts:
    """The loss stays as it is."""
    bias = parts.model.backbone.out.bias
    bias.register_hook(lambda gradient: gradient * math.inf)
    return parts


@pytest.mark.parametrize(
    ("broken", "says"),
    [(with_no_loss, "the loss was nan"), (with_no_gradient, "the gradient's norm was (inf|nan)")],
)
def test_what_is_not_finite_ends_the_run_and_changes_nothing(
    tmp_path: Path, broken: Callable[[loop.Parts], loop.Parts], says: str
):
    config = stand_in_run.config(tmp_path, run={"num_steps": 2})
    loop.train(config, stand_in_run.parts(config), Accelerator(cpu=True))
    kept = weights(tmp_path, 2)
    longer = stand_in_run.config(tmp_path, run={"num_steps": 4, "checkpoint_every": 1})
    parts = broken(stand_in_run.parts(longer))
    with pytest.raises(DivergedError, match=says + r" in step 2; .*optimizer\.lr.*samples \["):
        loop.train(longer, parts, Accelerator(cpu=True))
    assert CheckpointFolder.of(config.run).newest()[1] == 2
    trained = dict(parts.model.named_parameters())
    for name, value in weights(tmp_path, 2).items():
        assert torch.equal(value, kept[name])
        assert torch.equal(trained[name], kept[name])


def test_every_epoch_is_a_permutation_of_the_samples():
    taken = [i for step in range(21) for i in batch_indices(7, 3, step, seed=5)]
    epochs = [taken[at : at + 7] for at in range(0, 63, 7)]
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1


@pytest.mark.parametrize(("batch_size", "num_processes"), [(8, 1), (8, 2), (8, 8), (12, 3)])
def test_shares_of_the_processes_are_the_batch(batch_size: int, num_processes: int):
    shares = [own_share(batch_size, rank, num_processes) for rank in range(num_processes)]
    assert [place for share in shares for place in share] == list(range(batch_size))


def test_a_batch_that_cannot_be_shared_evenly_is_refused():
    with pytest.raises(ValueError, match=r"run\.batch_size was 8 on 3 processes"):
        own_share(8, 0, 3)


def test_training_lowers_the_loss_and_the_reference_tells_two_clips_apart(tmp_path: Path):
    """Overfit on two clips of equal text: with its reference each is known, without it neither."""
    config = stand_in_run.config(
        tmp_path,
        run={"num_steps": 150, "checkpoint_every": 1000, "batch_size": 8, "micro_batch_size": 8},
        objective={"lambda_id": 0, "lambda_tic": 0, "timesteps": "uniform"},
        reference={"p_drop": 0.2, "augmentation": {"p_flip": 0, "p_crop": 0, "p_color": 0}},
        optimizer={"lr": 1e-2, "ema_decay": 0},
    )
    parts = stand_in_run.parts(config, num_samples=2)
    first, second = parts.samples
    second = type(second)(**{**vars(second), "context": first.context})
    signs = torch.ones(stand_in_run.C, stand_in_run.T, stand_in_run.H, stand_in_run.W)
    clips = [
        type(s)(**{**vars(s), "latent": sign * signs, "photo": torch.full_like(s.photo, light)})
        for s, sign, light in ((first, 1.0, 0.9), (second, -1.0, 0.1))
    ]
    parts = loop.Parts(model=parts.model, objective=parts.objective, samples=clips)
    loop.train(config, parts, Accelerator(cpu=True))
    losses = [entry["flow"] for _, entry in sorted(log(tmp_path).items())]
    assert sum(losses[-20:]) < 0.6 * sum(losses[:20])
    noise = torch.randn((1, *signs.shape), generator=torch.Generator().manual_seed(0))
    t = torch.tensor([0.95])
    answers = {}
    for name, clip in zip(("first", "second"), clips, strict=True):
        for reference in (stand_in_run.encode_references([clip.photo]), None):
            with torch.no_grad():
                (velocity,) = parts.model([(noise, t, clip.context[None], reference, 0)])
            answers[name, reference is not None] = (noise - t * velocity).mean().item()
    assert answers["first", True] - answers["second", True] > 1.0
    assert answers["first", False] == pytest.approx(answers["second", False], abs=1e-5)
