"""The training loop: accelerate distributes it, and a step is a function of the step's number.

`train` goes from step to step: train, average, report, checkpoint, validate. `training_step` is one
of them: add up the gradients of the batch's micro-batches, refuse what is not finite, move the
weights. `batches` makes the micro-batches ahead of their turn; the loss of one is
`objective.Objective`.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from ..files import encoded, written_aside
from .batches import Batches, MicroBatch
from .checkpoint_weights import leave_out_wrapper
from .checkpoints import CheckpointFolder
from .config import TrainConfig
from .draws import Draws, TrainingSample, num_references
from .objective import Group, Losses, Objective
from .optimizer import load_state, lr_factor, make_optimizer
from .processes import Processes, in_any_process
from .progress import Progress, reset_peak_memory
from .resume import CONFIG_NAME
from .sharding import policy_of_run, require_shardable
from .step_lines import LOG, VALIDATIONS, cut_back
from .stopping import Stopper
from .trainable import (
    AverageOfWeights,
    exchanged,
    frozen_weights_listed,
    trained_parameters,
    whole_weights,
)

log = logging.getLogger(__name__)

# Validates the model in training after the given number of steps; returns the mean FaceSim.
Validate = Callable[[int], float | None]


class DivergedError(FloatingPointError):
    """A loss or a gradient is not finite; weights and checkpoints are those of the step before."""


class GroupedVelocity(nn.Module):
    """The backbone over all groups of a batch in one call (see `objective.Group`)."""

    def __init__(self, backbone: nn.Module, config: TrainConfig, frame_rate: float) -> None:
        """`frame_rate` is that of the cache's clips, in frames per second."""
        super().__init__()
        self.backbone = backbone
        self.options = {
            "frame_rate": frame_rate,
            "placement": config.reference.placement,
            "reference_timestep": config.reference.timestep,
        }

    def forward(self, groups: list[Group], scales: Sequence[Tensor] | None = None) -> list[Tensor]:
        """The velocity `[B, C, T, H, W]` of each group's video.

        `scales` are those that a student of a range is given, `[B, 2]` for each group.
        """
        given = [{}] * len(groups)
        if scales is not None:
            given = [{"guidance_scales": each} for each in scales]
        return [
            self.backbone(
                video,
                t,
                context,
                reference=reference,
                num_clean_frames=num_clean_frames,
                **self.options,
                **more,
            )
            for (video, t, context, reference, num_clean_frames), more in zip(
                groups, given, strict=True
            )
        ]


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What a run works with; `model` is already set up for what is trained of it."""

    model: GroupedVelocity
    objective: Objective
    samples: Sequence[TrainingSample]


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a run ends with."""

    checkpoint: Path
    """The last checkpoint's folder."""
    num_steps: int
    """How many steps are done, over all starts of the run together."""
    weights: dict[str, Tensor]
    """What was trained, by its name in `Parts.model`; the average, where the run keeps one.

    Sharded weights (FSDP2) are whole on the main process and left out on the others. Empty where
    the run was stopped before its end, since whoever stops it has no time for them.
    """


def train(
    config: TrainConfig,
    parts: Parts,
    accelerator: Accelerator,
    validate: Validate | None = None,
) -> Result:
    """Trains up to `run.num_steps`, from the newest checkpoint where there is one.

    A run that was stopped goes on when it is called again; on one CPU process its weights are then
    bit for bit those of a run that was never stopped. `validate` is called after the steps that are
    due, once their checkpoint is written, with the averaged weights in the model where there are
    some; all processes must pass it, or none.

    Raises DivergedError for a loss or a gradient that is not finite, before it changes a weight,
    and OSError where a checkpoint cannot be written; earlier checkpoints are intact after both.
    """
    run, is_main = config.run, accelerator.is_main_process
    processes = Processes.of(accelerator)
    if accelerator.is_fsdp2:
        set_up_sharding(config, accelerator)
    batches = Batches(
        config,
        parts.samples,
        parts.objective,
        rank=processes.rank,
        num_processes=processes.count,
        pins=accelerator.device.type == "cuda",
    )
    # Reading the weights takes one process longer than another.
    processes.wait()
    optimizer = make_optimizer(config, parts.model)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: lr_factor(config, s))
    with frozen_weights_listed():
        model, optimizer = accelerator.prepare(parts.model, optimizer)
    bare = accelerator.unwrap_model(model)
    average = None
    if config.optimizer.ema_decay:
        average = AverageOfWeights(bare, config.optimizer.ema_decay)
        accelerator.register_for_checkpointing(average)
    accelerator.register_for_checkpointing(schedule)
    leave_out_wrapper(accelerator)

    folder = CheckpointFolder.of(run)
    if is_main:
        with written_aside(run.out / CONFIG_NAME) as partial:
            partial.write_bytes(encoded(config.to_yaml()))
    done, last = 0, None
    newest = folder.newest()
    if newest is not None:
        last, done = newest
        load_state(accelerator, last, optimizer, schedule)
        log.info("going on at step %d from %s", done, last)
    if is_main:
        # A step's number counts from 0; a validation has the number of steps before it.
        cut_back(run.out / LOG, lambda step: step < done)
        is_rated = folder.is_rated(done)
        cut_back(run.out / VALIDATIONS, lambda step: step < done + is_rated)

    def save(path: Path) -> None:
        processes.wait()
        accelerator.save_state(str(path))
        processes.wait()

    def validate_now() -> None:
        if validate is None:
            return
        with nullcontext() if average is None else exchanged(bare, average.weights):
            facesim = validate(done)
        if is_main:
            folder.rate(done, facesim)
        processes.wait()

    # The run may have been stopped between a checkpoint and the validation that belongs to it.
    is_owed = newest is not None and config.validation.is_due(done, run.num_steps)
    if in_any_process(accelerator, is_owed and is_main and not folder.is_rated(done)):
        validate_now()
    stopper, progress = Stopper(), Progress(run, accelerator, done)
    # Leaving the bar ends its line, so that the message of an error begins a line of its own.
    with (
        stopper.listening(),
        progress.bar,
        closing(batches.ahead(range(done, run.num_steps))) as coming,
    ):
        for step in progress:
            started, lr = time.perf_counter(), optimizer.param_groups[0]["lr"]
            losses, norm, num_tokens = training_step(
                config,
                parts.objective,
                accelerator,
                model,
                optimizer,
                step,
                islice(coming, len(batches.places)),
            )
            schedule.step()
            if average is not None:
                average.update(bare)
            if progress.is_due(step):
                progress.report(
                    step,
                    _means(accelerator, losses),
                    grad_norm=norm.item(),
                    lr=lr,
                    num_tokens=num_tokens,
                    time_s=time.perf_counter() - started,
                )
            done = step + 1
            asked = in_any_process(accelerator, stopper.requested)
            is_last = asked or done == run.num_steps
            is_due = config.validation.is_due(done, run.num_steps)
            # A validation needs a checkpoint, or the best one would be a number without weights.
            if is_last or is_due or done % run.checkpoint_every == 0:
                last = folder.write(done, save, is_main=is_main)
            # Whoever stops a run waits for it, so its validation is left for the next start.
            if is_due and not asked:
                validate_now()
                reset_peak_memory(accelerator.device)
            if asked:
                break
    if done < run.num_steps:
        return Result(checkpoint=last, num_steps=done, weights={})
    weights = (
        average.weights.items()
        if average
        else ((name, p.detach()) for name, p in trained_parameters(bare))
    )
    return Result(checkpoint=last, num_steps=done, weights=whole_weights(weights))


def training_step(
    config: TrainConfig,
    objective: Objective,
    accelerator: Accelerator,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    step: int,
    micro_batches: Iterable[MicroBatch],
) -> tuple[Losses, Tensor, int]:
    """Adds up the gradients of one global batch and moves the weights by them.

    `micro_batches` are those of this process. Returns their mean losses, the norm of the whole
    batch's gradient, and how many tokens went through the model in this process. Raises
    DivergedError, in all processes, where a loss or a gradient is not finite in one of them; the
    weights are then as they were.
    """
    sums: Losses | None = None
    seen: list[tuple[list[int], Tensor]] = []
    num_tokens = 0
    for batch in micro_batches:
        batch = batch.on(accelerator.device)
        # Sharded gradients are summed over processes in each micro-batch: to wait for the last one
        # would keep them whole in memory.
        sums_up = accelerator.is_fsdp2 or batch.is_last
        with nullcontext() if sums_up else accelerator.no_sync(model):
            losses = objective(model, batch.samples, batch.draws)
            accelerator.backward(losses.total * batch.share)
        sums = _add(sums, losses, batch.share)
        seen.append((batch.indices, losses.total.detach()))
        num_tokens += sum(map(_num_tokens, batch.samples, batch.draws))
    trained = [p for _, p in trained_parameters(model)]
    norm = accelerator.clip_grad_norm_(trained, config.optimizer.max_grad_norm)
    norm = norm.full_tensor() if isinstance(norm, DTensor) else norm
    # The one moment of a step at which the CPU waits for the GPU.
    is_finite = torch.isfinite(sums.total) & torch.isfinite(norm)
    if in_any_process(accelerator, ~is_finite):
        raise DivergedError(_what_diverged(step, seen, norm))
    optimizer.step()
    optimizer.zero_grad()
    return sums, norm, num_tokens


def _what_diverged(step: int, seen: list[tuple[list[int], Tensor]], norm: Tensor) -> str:
    """The sentence for a step that is not finite; all processes must call it.

    `seen` has the indices and the loss of each micro-batch of this process.
    """
    of_all = gather_object([(indices, loss.item()) for indices, loss in seen])
    bad = [(indices, loss) for indices, loss in of_all if not math.isfinite(loss)]
    samples = [index for indices, _ in bad or of_all for index in indices]
    remedy = f"lower optimizer.lr, or look at the samples {samples} of the cache."
    if bad:
        loss = bad[0][1]
        return f"the loss was {loss} in step {step}; the last checkpoint is intact: {remedy}"
    size = norm.item()
    return f"the gradient's norm was {size} in step {step}; the last checkpoint is intact: {remedy}"


def set_up_sharding(config: TrainConfig, accelerator: Accelerator) -> None:
    """Sets what FSDP2 needs for this model and accelerate's configuration files have no key for.

    The main process sends the weights, which it alone may have read. Raises ValueError for what
    cannot be sharded.
    """
    require_shardable(config)
    plugin = accelerator.state.fsdp_plugin
    plugin.cpu_ram_efficient_loading = True
    policy = plugin.mixed_precision_policy
    if policy is not None:
        plugin.mixed_precision_policy = policy_of_run(policy)


def _add(sums: Losses | None, losses: Losses, share: float) -> Losses:
    """`sums` and `share` of `losses` together."""
    scaled = {name: value.detach() * share for name, value in vars(losses).items()}
    if sums is None:
        return Losses(**scaled)
    return Losses(**{name: getattr(sums, name) + value for name, value in scaled.items()})


def _means(accelerator: Accelerator, losses: Losses) -> dict[str, float]:
    """The losses' means over processes, read from the GPU; all processes must call it."""
    values = accelerator.reduce(torch.stack([*vars(losses).values()]), "mean")
    return dict(zip(vars(losses), values.tolist(), strict=True))


def _num_tokens(sample: TrainingSample, choice: Draws) -> int:
    """How many tokens a sample is: one for each latent place of its video and of its references."""
    sides = sample.latent.shape[2:]
    return (choice.num_frames + num_references(sample, choice)) * math.prod(sides)
