"""The results of all clips as one thing, which metrics.json holds and the reports show."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from .metric_registry import COLUMNS
from .pairs import Pair
from .results import Result, Store, read_settings
from .tables import mean_over_persons
from .verification import PersonFaces, Verification, verify

METRICS_FILE = "metrics.json"


class MetricMean(BaseModel):
    """A metric's mean over the clips that it scored."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mean: float
    standard_error: float | None
    """Of the mean, over persons (`mean_over_persons`), since clips of one person are not
    independent; None where there is one person."""
    num_clips: int
    """How many clips were scored."""
    num_persons: int
    """How many persons those clips show; one without photo and `identity` counts as its own."""


class Summary(BaseModel):
    """What metrics.json holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    num_clips: int
    metrics: dict[str, MetricMean]
    """Metric -> its mean; metrics that scored no clip are left out."""
    drift: MetricMean | None = None
    """The mean of the clips' drift over 100 frames; None where no metric told of it."""
    verification: Verification | None
    """None where there are fewer than two persons, or FaceSim-Arc was not measured."""
    settings: dict[str, dict[str, Any]]
    """Metric -> `weights`, the SHA-256 of each file, and `frames`, how many of a clip it looks at;
    0 is all of them."""
    results: tuple[Result, ...]


def summarise(store: Store, pairs: Sequence[Pair]) -> Summary:
    """The results of the clips of `pairs`, by all metrics that they were ever scored by."""
    read = ((pair, store.read(pair.video)) for pair in pairs)
    # Who is who may have been told only after the scores were made.
    known = tuple(
        result.model_copy(update={"person": pair.person})
        for pair, result in read
        if result is not None
    )
    means = {}
    for name in COLUMNS:
        scored = [result for result in known if name in result.scores]
        if scored:
            means[name] = _mean([result.scores[name].value for result in scored], scored)
    drifting = [result for result in known if result.drift is not None]
    drift = _mean([result.drift.slope for result in drifting], drifting) if drifting else None
    faces = []
    for result in known:
        embeddings = store.read_faces(result.video)
        if "facesim_arc" in result.scores and embeddings is not None and result.person:
            photo, frames = embeddings
            faces.append(PersonFaces(person=result.person, photo=photo, frames=frames))
    return Summary(
        num_clips=len(pairs),
        metrics=means,
        drift=drift,
        verification=verify(faces),
        settings=read_settings(store.out),
        results=known,
    )


def read_summary(folder: Path) -> Summary:
    """The summary of a finished evaluation; raises ValueError where `folder` holds none."""
    path = folder / METRICS_FILE
    if not path.is_file():
        raise ValueError(
            f"{folder} holds no {METRICS_FILE}; needs --out of a finished evaluation: check the "
            "path."
        )
    try:
        return Summary.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise ValueError(
            f"{path} could not be used ({error.errors()[0]['msg']}); needs what this version of "
            "the command writes: run the evaluation again, scores are kept."
        ) from error


def person_of(result: Result) -> str:
    """Whom the clip shows; a clip without a photo and an `identity` is a person of its own."""
    return result.person or result.video


def _mean(values: Sequence[float], results: Sequence[Result]) -> MetricMean:
    persons = [person_of(result) for result in results]
    mean, error = mean_over_persons(values, persons)
    return MetricMean(
        mean=mean,
        standard_error=None if math.isnan(error) else error,
        num_clips=len(values),
        num_persons=len(set(persons)),
    )
