"""`python run_stand_in.py OUT [section.key=value ...]`: a short run in a process of its own.

KILL_AFTER_STEP=n in the environment ends it with SIGKILL in the middle of step n; BROKEN_SAMPLE=n
makes a sample NaN. A run that diverges writes what it says to OUT/diverged_RANK.txt.
"""

from __future__ import annotations

import math
import os
import signal
import sys
from pathlib import Path

import yaml
from accelerate import Accelerator

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

from helpers import stand_in_run  # noqa: E402
from stdrc_core.train import loop  # noqa: E402
from stdrc_core.train.objective import Objective  # noqa: E402


def main() -> None:
    out, *changes = sys.argv[1:]
    sections: dict[str, dict] = {}
    for change in changes:
        key, value = change.split("=")
        section, name = key.split(".")
        sections.setdefault(section, {})[name] = yaml.safe_load(value)
    config = stand_in_run.config(Path(out), **sections)
    parts = stand_in_run.parts(config)
    kill_after = int(os.environ.get("KILL_AFTER_STEP", "-1"))
    if kill_after >= 0:
        parts = loop.Parts(
            model=parts.model,
            objective=KilledAt(parts.objective, kill_after, config),
            samples=parts.samples,
        )
    broken = int(os.environ.get("BROKEN_SAMPLE", "-1"))
    if broken >= 0:
        parts.samples[broken].latent.fill_(math.nan)
    accelerator = Accelerator(cpu=True)
    expected = int(os.environ.get("WORLD_SIZE", "1"))
    assert accelerator.num_processes == expected
    try:
        loop.train(config, parts, accelerator)
    except loop.DivergedError as error:
        (Path(out) / f"diverged_{accelerator.process_index}.txt").write_text(str(error))
        raise


class KilledAt:
    """The objective, until the given number of whole steps is done."""

    def __init__(self, objective: Objective, steps: int, config) -> None:
        self.objective, self.calls = objective, 0
        per_step = config.run.batch_size // config.run.micro_batch_size
        self.last_call = steps * per_step + 1

    def with_photos(self, *args):
        return self.objective.with_photos(*args)

    def __call__(self, *args):
        self.calls += 1
        if self.calls > self.last_call:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.objective(*args)


if __name__ == "__main__":
    main()
