"""The training loop: accelerate distributes it, every step is a function of the step's number."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from ..files import written_aside
from .batches import batch_indices, own_share
from .checkpoint_weights import leave_out_wrapper
from .checkpoints import CheckpointFolder
from .config import TrainConfig
from .diverged import DivergedError
from .exchange import exchanged
from .objective import Draws, Group, Losses, Objective, TrainingSample, draw, num_references
from .progress import Progress, reset_peak_memory
from .resume import CONFIG_NAME
from .stopping import Stopper, in_any_process
from .trainable import AverageOfWeights, trained_parameters, whole_weights

log = logging.getLogger(__name__)

# Validates the model in training after the given number of steps; returns the mean FaceSim.
Validate = Callable[[int], float | None]


class GroupedVelocity(nn.Module):
    """The backbone over the groups of a batch, in one call (see `objective.Group`)."""

    def __init__(self, backbone: nn.Module, config: TrainConfig, frame_rate: float) -> None:
        super().__init__()
        self.backbone = backbone
        self.options = {
            "frame_rate": frame_rate,
            "placement": config.reference.placement,
            "reference_timestep": config.reference.timestep,
        }

    def forward(self, groups: list[Group]) -> list[Tensor]:
        return [
            self.backbone(video, t, context, reference=reference, **self.options)
            for video, t, context, reference in groups
        ]


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What a run works with; `model` is already trainable in part or whole."""

    model: GroupedVelocity
    objective: Objective
    samples: Sequence[TrainingSample]


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a run ends with."""

    checkpoint: Path
    """The last checkpoint's folder."""
    num_steps: int
    """Steps done, over all runs together."""
    weights: dict[str, Tensor]
    """What was trained, by name in `Parts.model`: averaged where the run averages. Weights
    that were sharded (FSDP2) are whole here on the main process, and left out elsewhere. Empty
    where the run was stopped before its end: whoever stops it has no time for them."""


def train(
    config: TrainConfig,
    parts: Parts,
    accelerator: Accelerator,
    validate: Validate | None = None,
) -> Result:
    """Trains up to `run.num_steps`, from the newest checkpoint where there is one.

    The same command again goes on; on one CPU process the weights are, bit for bit, those of a run
    that was never stopped. `validate` runs after the steps that are due, once their checkpoint is
    safe, on the average of the weights where there is one; sharded weights (FSDP2) need it in all
    processes, else the main one's is enough. Raises DivergedError for a loss or a gradient that is
    not finite, before it changes a weight: the last checkpoint is intact. Raises OSError where a
    checkpoint cannot be written; the older ones are intact.
    """
    run, is_main = config.run, accelerator.is_main_process
    if accelerator.is_fsdp2:
        set_up_sharding(config, accelerator)
    optimizer = make_optimizer(config, parts.model)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: lr_factor(config, s))
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
            partial.write_text(config.to_yaml())
    done, last = 0, None
    newest = folder.newest()
    if newest is not None:
        last, done = newest
        _load(accelerator, last, optimizer, schedule)
        log.info("going on at step %d from %s", done, last)

    def save(path: Path) -> None:
        accelerator.wait_for_everyone()
        accelerator.save_state(str(path))
        accelerator.wait_for_everyone()

    def validate_now() -> None:
        if validate is None:
            return
        with nullcontext() if average is None else exchanged(bare, average.weights):
            facesim = validate(done)
        if is_main:
            folder.rate(done, facesim)

    # Stopped before the validation that belongs to this checkpoint.
    is_owed = newest is not None and config.validation.is_due(done, run.num_steps)
    if in_any_process(accelerator, is_owed and is_main and not folder.is_rated(done)):
        validate_now()
    stopper, progress = Stopper(), Progress(run, accelerator, done)
    # The bar ends with its line, so that an error has one of its own.
    with stopper.listening(), progress.bar:
        for step in progress:
            started, lr = time.perf_counter(), optimizer.param_groups[0]["lr"]
            losses, norm, num_tokens = training_step(
                config, parts, accelerator, model, optimizer, step
            )
            schedule.step()
            if average is not None:
                average.update(bare)
            progress.report(
                step,
                {name: value.item() for name, value in vars(losses).items()},
                grad_norm=norm,
                lr=lr,
                num_tokens=num_tokens,
                time_s=time.perf_counter() - started,
            )
            done = step + 1
            asked = in_any_process(accelerator, stopper.requested)
            is_last = asked or done == run.num_steps
            is_due = config.validation.is_due(done, run.num_steps)
            # What is validated is kept too: without its checkpoint, the best would be a number.
            if is_last or is_due or done % run.checkpoint_every == 0:
                last = folder.write(done, save, is_main=is_main)
            # Whoever stops a run waits for it: the validation is made up for when it goes on.
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


def set_up_sharding(config: TrainConfig, accelerator: Accelerator) -> None:
    """What FSDP2 needs of this model and accelerate's configuration files have no key for.

    Inputs stay as they are: t would be rounded to bfloat16, and the model casts the rest itself.
    Gradients are summed over processes in float32 (ours). Raises ValueError where processes would
    call the model's blocks, each call a collective, different numbers of times.
    """
    run, p_drop = config.run, config.reference.p_drop
    if run.micro_batch_size > 1 and 0 < p_drop < 1:
        raise ValueError(
            f"run.micro_batch_size was {run.micro_batch_size} with FSDP2 and reference.p_drop "
            f"{p_drop}; needs 1, since samples with and without a reference run separately."
        )
    plugin = accelerator.state.fsdp_plugin
    policy = plugin.mixed_precision_policy
    if policy is not None:
        plugin.mixed_precision_policy = replace(
            policy, reduce_dtype=torch.float32, output_dtype=None, cast_forward_inputs=False
        )


def training_step(
    config: TrainConfig,
    parts: Parts,
    accelerator: Accelerator,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    step: int,
) -> tuple[Losses, float, int]:
    """Gradients of one global batch and the optimizer's step; the batch's mean losses, the norm of
    its gradient, and how many tokens went through the model in this process. Raises DivergedError
    for a loss or a gradient that is not finite, with the weights as they were."""
    run = config.run
    indices = batch_indices(len(parts.samples), run.batch_size, step, run.seed)
    places = own_share(run.batch_size, accelerator.process_index, accelerator.num_processes)
    micro_batches = [
        list(places[i : i + run.micro_batch_size])
        for i in range(0, len(places), run.micro_batch_size)
    ]
    sums: Losses | None = None
    num_tokens = 0
    for number, micro_batch in enumerate(micro_batches):
        samples = [_on(parts.samples[indices[place]], accelerator.device) for place in micro_batch]
        draws = [
            draw(sample, (run.seed, step, place), config.objective, config.reference)
            for sample, place in zip(samples, micro_batch, strict=True)
        ]
        # Sharded gradients are summed over processes each time: waiting would keep them whole.
        sums_up = accelerator.is_fsdp2 or number == len(micro_batches) - 1
        with nullcontext() if sums_up else accelerator.no_sync(model):
            losses = parts.objective(model, samples, draws)
            share = len(micro_batch) / len(places)
            if not torch.isfinite(losses.total):
                raise DivergedError(
                    f"the loss was {losses.total.item()} in step {step}; the last checkpoint is "
                    "intact: lower optimizer.lr, or look at the samples "
                    f"{[indices[place] for place in micro_batch]} of the cache."
                )
            accelerator.backward(losses.total * share)
        sums = _add(sums, losses, share)
        num_tokens += sum(map(_num_tokens, samples, draws))
    trained = [p for _, p in trained_parameters(model)]
    norm = float(accelerator.clip_grad_norm_(trained, config.optimizer.max_grad_norm))
    if not math.isfinite(norm):
        raise DivergedError(
            f"the gradient's norm was {norm} in step {step}; the last checkpoint is intact: lower "
            f"optimizer.lr, or look at the samples {indices} of the cache."
        )
    optimizer.step()
    optimizer.zero_grad()
    means = {name: accelerator.reduce(value, "mean") for name, value in vars(sums).items()}
    return Losses(**means), norm, num_tokens


def lr_factor(config: TrainConfig, step: int) -> float:
    """What the learning rate is multiplied by in a step, counted from 0: it rises over the warm-up,
    stays at 1, and falls so that it would be 0 one step after the run's last."""
    options = config.optimizer
    risen = (step + 1) / max(1, options.num_warmup_steps)
    left = (config.run.num_steps - step) / max(1, options.num_decay_steps)
    return max(0.0, min(1.0, risen, left))


def make_optimizer(config: TrainConfig, model: nn.Module) -> torch.optim.Optimizer:
    """AdamW, or its 8-bit form by bitsandbytes, on what is trained."""
    options = config.optimizer
    parameters = [p for _, p in trained_parameters(model)]
    settings = {
        "lr": options.lr,
        "betas": (options.beta1, options.beta2),
        "weight_decay": options.weight_decay,
    }
    if options.name == "adamw":
        # On a CPU torch's own choice is a loop over parameters.
        return torch.optim.AdamW(parameters, fused=True, **settings)
    try:
        from bitsandbytes.optim import AdamW8bit
    except ImportError as error:
        raise ValueError(
            "optimizer.name was adamw_8bit; needs bitsandbytes: pip install bitsandbytes, or take "
            "adamw."
        ) from error
    return AdamW8bit(parameters, **settings)


def _on(sample: TrainingSample, device: torch.device) -> TrainingSample:
    return replace(sample, latent=sample.latent.to(device), context=sample.context.to(device))


def _add(sums: Losses | None, losses: Losses, share: float) -> Losses:
    scaled = {name: value.detach() * share for name, value in vars(losses).items()}
    if sums is None:
        return Losses(**scaled)
    return Losses(**{name: getattr(sums, name) + value for name, value in scaled.items()})


def _num_tokens(sample: TrainingSample, choice: Draws) -> int:
    """A token for each place of the video's latent, and for those of each reference's frame."""
    num_frames, *sides = sample.latent.shape[1:]
    return (num_frames + num_references(sample, choice)) * math.prod(sides)


def _load(
    accelerator: Accelerator,
    checkpoint: Path,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LambdaLR,
) -> None:
    """A checkpoint's state; step size and decay, which it holds too, stay as configured."""
    own = [(group["initial_lr"], group["weight_decay"]) for group in optimizer.param_groups]
    accelerator.load_state(str(checkpoint))
    schedule.base_lrs = [lr for lr, _ in own]
    factor = schedule.lr_lambdas[0](schedule.last_epoch)
    for group, (lr, decay) in zip(optimizer.param_groups, own, strict=True):
        group |= {"initial_lr": lr, "lr": lr * factor, "weight_decay": decay}
