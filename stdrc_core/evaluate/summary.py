"""The results of all clips as one thing: metrics.json, and what the reports are drawn from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from .metric_registry import COLUMNS
from .pairs import Pair
from .results import Result, Store, read_settings
from .verification import PersonFaces, Verification, verify

METRICS = "metrics.json"


class Mean(BaseModel):
    """A column of our row."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mean: float
    standard_error: float | None
    """Over clips; None for one clip."""
    num_clips: int


class Summary(BaseModel):
    """metrics.json."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    num_clips: int
    metrics: dict[str, Mean]
    verification: Verification | None
    settings: dict[str, dict[str, Any]]
    """By metric: `weights`, the SHA-256 of each, and `frames` that it looks at (0 is all)."""
    results: tuple[Result, ...]


def summarise(store: Store, pairs: Sequence[Pair]) -> Summary:
    """Of the clips of `pairs`, by all metrics that they were ever scored by."""
    read = ((pair, store.read(pair.video)) for pair in pairs)
    # Who is who may have been told after the scores were made.
    known = tuple(
        result.model_copy(update={"person": pair.person})
        for pair, result in read
        if result is not None
    )
    means = {}
    for name in COLUMNS:
        values = [result.scores[name].value for result in known if name in result.scores]
        if values:
            means[name] = _mean(values)
    faces = []
    for result in known:
        embeddings = store.read_faces(result.video)
        if "facesim_arc" in result.scores and embeddings is not None and result.person:
            photo, frames = embeddings
            faces.append(PersonFaces(person=result.person, photo=photo, frames=frames))
    return Summary(
        num_clips=len(pairs),
        metrics=means,
        verification=verify(faces),
        settings=read_settings(store.out),
        results=known,
    )


def read_summary(folder: Path) -> Summary:
    """Of a finished evaluation; ValueError where there is none."""
    path = folder / METRICS
    if not path.is_file():
        raise ValueError(
            f"{folder} holds no {METRICS}; needs --out of a finished evaluation: check the path."
        )
    try:
        return Summary.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise ValueError(
            f"{path} could not be used ({error.errors()[0]['msg']}); needs what this version of "
            "the command writes: run the evaluation again, scores are kept."
        ) from error


def _mean(values: Sequence[float]) -> Mean:
    array = np.array(values)
    error = array.std(ddof=1) / math.sqrt(len(array)) if len(array) > 1 else None
    return Mean(mean=float(array.mean()), standard_error=error, num_clips=len(array))
