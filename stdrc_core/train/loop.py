"""The training loop: accelerate distributes it, every step is a function of the step's number."""

from __future__ import annotations

import json
import logging
import math
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from tqdm.auto import tqdm

from .batches import batch_indices, own_share
from .checkpoints import CheckpointFolder
from .config import TrainConfig
from .objective import Group, Losses, Objective, TrainingSample, draw
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
    that were sharded (FSDP2) are whole here on the main process, and left out elsewhere."""


class Stopper:
    """Notes SIGTERM and SIGINT, so that a run ends after a whole step with a checkpoint."""

    def __init__(self) -> None:
        self.requested = False

    def request(self, *_: object) -> None:
        self.requested = True

    @contextmanager
    def listening(self) -> Iterator[None]:
        previous = {s: signal.signal(s, self.request) for s in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)


def train(
    config: TrainConfig,
    parts: Parts,
    accelerator: Accelerator | None = None,
    validate: Validate | None = None,
) -> Result:
    """Trains up to `run.num_steps`, from the newest checkpoint where there is one.

    The same command again goes on; on one CPU process the weights are, bit for bit, those of a run
    that was never stopped. `validate` runs on the main process after the steps that are due, once
    their checkpoint is safe. Raises RuntimeError for a loss that is not finite, with the last
    checkpoint intact.
    """
    accelerator = accelerator or Accelerator(
        mixed_precision="bf16" if config.model.dtype == "bfloat16" else "no"
    )
    if accelerator.is_fsdp2:
        set_up_sharding(config, accelerator)
    optimizer = make_optimizer(config, parts.model)
    warmup = max(1, config.optimizer.num_warmup_steps)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: min(1.0, (s + 1) / warmup))
    model, optimizer = accelerator.prepare(parts.model, optimizer)
    average = None
    if config.optimizer.ema_decay:
        average = AverageOfWeights(accelerator.unwrap_model(model), config.optimizer.ema_decay)
        accelerator.register_for_checkpointing(average)
    accelerator.register_for_checkpointing(schedule)

    folder = CheckpointFolder(path=config.run.out / "checkpoints", keep=config.run.keep_checkpoints)
    if accelerator.is_main_process:
        config.run.out.mkdir(parents=True, exist_ok=True)
        (config.run.out / "config.yaml").write_text(config.to_yaml())
    done, last = 0, None
    newest = folder.newest()
    if newest is not None:
        last, done = newest
        accelerator.load_state(str(last))
        log.info("going on at step %d from %s", done, last)

    def save(path: Path) -> None:
        accelerator.wait_for_everyone()
        accelerator.save_state(str(path))
        accelerator.wait_for_everyone()

    def validate_if_due() -> None:
        is_due = config.validation.is_due(done, config.run.num_steps)
        if validate is not None and is_due and accelerator.is_main_process:
            face_sim = validate(done)
            folder.rate(done, face_sim)
            if face_sim is not None:
                accelerator.log({"validation/face_sim": face_sim}, step=done)

    if newest is not None and not folder.is_rated(done):
        # Stopped before the validation that belongs to this checkpoint.
        validate_if_due()
    stopper = Stopper()
    progress = tqdm(
        range(done, config.run.num_steps),
        initial=done,
        total=config.run.num_steps,
        disable=not accelerator.is_main_process,
        unit="step",
    )
    with stopper.listening():
        for step in progress:
            started = time.perf_counter()
            losses, norm = training_step(config, parts, accelerator, model, optimizer, step)
            schedule.step()
            if average is not None:
                average.update(accelerator.unwrap_model(model))
            entry = _log_entry(step, losses, norm, schedule, time.perf_counter() - started)
            if accelerator.is_main_process and step % config.run.log_every == 0:
                with (config.run.out / "log.jsonl").open("a") as file:
                    file.write(json.dumps(entry) + "\n")
                accelerator.log({k: v for k, v in entry.items() if k != "step"}, step=step)
                progress.set_postfix(loss=f"{entry['total']:.4f}")
            done = step + 1
            asked = _any_process(accelerator, stopper.requested)
            stops = asked or done == config.run.num_steps
            if stops or done % config.run.checkpoint_every == 0:
                last = folder.write(done, save, is_main=accelerator.is_main_process)
            # Whoever stops a run waits for it: the validation is made up for when it goes on.
            if not asked:
                validate_if_due()
            if stops:
                break
    trained = trained_parameters(accelerator.unwrap_model(model))
    weights = average.weights.items() if average else ((name, p.detach()) for name, p in trained)
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
) -> tuple[Losses, float]:
    """Gradients of one global batch and the optimizer's step; the batch's mean losses."""
    run = config.run
    indices = batch_indices(len(parts.samples), run.batch_size, step, run.seed)
    places = own_share(run.batch_size, accelerator.process_index, accelerator.num_processes)
    micro_batches = [
        list(places[i : i + run.micro_batch_size])
        for i in range(0, len(places), run.micro_batch_size)
    ]
    sums: Losses | None = None
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
                raise RuntimeError(
                    f"the loss was {losses.total.item()} in step {step}; the last checkpoint is "
                    "intact: lower optimizer.lr, or look at the samples "
                    f"{[indices[place] for place in micro_batch]} of the cache."
                )
            accelerator.backward(losses.total * share)
        sums = _add(sums, losses, share)
    trained = [p for _, p in trained_parameters(model)]
    norm = accelerator.clip_grad_norm_(trained, config.optimizer.max_grad_norm)
    optimizer.step()
    optimizer.zero_grad()
    means = {name: accelerator.reduce(value, "mean") for name, value in vars(sums).items()}
    return Losses(**means), float(norm)


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
        return torch.optim.AdamW(parameters, **settings)
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


def _any_process(accelerator: Accelerator, flag: bool) -> bool:
    """Whether `flag` holds in one of the processes: a signal may reach them at different steps."""
    if accelerator.num_processes == 1:
        return flag
    count = torch.tensor(float(flag), device=accelerator.device)
    return accelerator.reduce(count, "sum").item() > 0


def _log_entry(
    step: int,
    losses: Losses,
    norm: float,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    time_s: float,
) -> dict[str, float]:
    values = {name: value.item() for name, value in vars(losses).items()}
    entry = {"step": step, **values, "grad_norm": norm, "lr": schedule.get_last_lr()[0]}
    assert all(math.isfinite(value) for value in values.values())
    return entry | {"step_time_s": round(time_s, 4)}
