"""The training loop: accelerate distributes it, every step is a function of the step's number."""

from __future__ import annotations

import json
import logging
import math
import signal
import time
from collections.abc import Iterator, Sequence
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
from .trainable import AverageOfWeights, trained_parameters

log = logging.getLogger(__name__)


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


def train(config: TrainConfig, parts: Parts, accelerator: Accelerator | None = None) -> Path:
    """Trains up to `run.num_steps`, from the newest checkpoint where there is one.

    Returns the last checkpoint's folder. The same command again goes on; on one CPU process the
    weights are, bit for bit, those of a run that was never stopped. Raises RuntimeError for a loss
    that is not finite, with the last checkpoint intact.
    """
    accelerator = accelerator or Accelerator(
        mixed_precision="bf16" if config.model.dtype == "bfloat16" else "no"
    )
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
    first_step, last = 0, None
    newest = folder.newest()
    if newest is not None:
        last, first_step = newest
        accelerator.load_state(str(last))
        log.info("going on at step %d from %s", first_step, last)

    def save(path: Path) -> None:
        accelerator.wait_for_everyone()
        accelerator.save_state(str(path))
        accelerator.wait_for_everyone()

    stopper = Stopper()
    progress = tqdm(
        range(first_step, config.run.num_steps),
        initial=first_step,
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
                progress.set_postfix(loss=f"{entry['total']:.4f}")
            done = step + 1
            stops = stopper.requested or done == config.run.num_steps
            if stops or done % config.run.checkpoint_every == 0:
                last = folder.write(done, save, is_main=accelerator.is_main_process)
            if stops:
                break
    return last


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
        is_last = number == len(micro_batches) - 1
        with nullcontext() if is_last else accelerator.no_sync(model):
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
