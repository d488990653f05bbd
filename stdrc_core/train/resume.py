"""Decides whether a run may go on from the checkpoints in its folder, as the same run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath
from typing import Any

from .checkpoints import CheckpointFolder
from .config import TrainConfig, load_config

CONFIG_NAME = "config.yaml"
# Keys and whole sections that may change when a run goes on. They say how long a run is, what is
# reported of it and where it computes, or are the remedy for a loss that is not finite.
_FREE = {
    "run.out",
    "run.num_steps",
    "run.micro_batch_size",
    "run.checkpoint_every",
    "run.keep_checkpoints",
    "run.log_every",
    "run.trackers",
    "model.gradient_checkpointing",
    "model.compile",
    "model.offload",
    "data.prefetch",
    "optimizer.lr",
    "optimizer.num_decay_steps",
    "optimizer.weight_decay",
    "optimizer.max_grad_norm",
    "validation",
}
# Files may have moved to another folder, so that their names alone are compared.
_MOVABLE = {"model.checkpoint", "model.loras", "model.vae", "data.cache", "objective.face_pack"}


def require_same_run(config: TrainConfig) -> None:
    """Raises ValueError where the checkpoints in `run.out` belong to another run.

    That is one of another model, adapter, data or method. Nothing happens where there are no
    checkpoints. No weights are loaded.
    """
    stored_path = config.run.out / CONFIG_NAME
    if not stored_path.is_file() or CheckpointFolder.of(config.run).newest() is None:
        return
    stored, wanted = (dict(flat(c.model_dump(mode="json")))
                      for c in (load_config(stored_path), config))  # fmt: skip
    changes = [
        f"{key} (was {stored.get(key)}, is {wanted.get(key)})"
        for key in sorted(stored | wanted)
        if not _is_free(key) and _compared(key, stored) != _compared(key, wanted)
    ]
    if changes:
        raise ValueError(
            f"{config.run.out} holds checkpoints of a run that differs in {', '.join(changes)}; "
            "needs the same to go on: put that back, or take another run.out."
        )


def flat(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The values of a nested configuration with their whole keys, such as `run.out`."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _is_free(key: str) -> bool:
    """Whether the key may change when a run goes on."""
    return key in _FREE or key.partition(".")[0] in _FREE


def _compared(key: str, values: dict[str, Any]) -> Any:
    """What of a key's value must stay the same."""
    value = values.get(key)
    if key not in _MOVABLE or value is None:
        return value
    paths = value if isinstance(value, list) else [value]
    return [PurePath(path).name for path in paths]
