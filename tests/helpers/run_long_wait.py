"""`torchrun run_long_wait.py OUT WHAT`: a run whose main process takes its time over one thing.

WHAT is `loading`, `step`, `checkpoint` or `validation`.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from unittest import mock

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

from accelerate import Accelerator  # noqa: E402

from helpers import stand_in_run  # noqa: E402
from stdrc_core.train import loop, run  # noqa: E402

SLOW_S, STEP_TIMEOUT = 11, timedelta(seconds=5)


def main() -> None:
    out, what = Path(sys.argv[1]), sys.argv[2]
    validation = {"items": [{"prompt": "-", "photo": "-"}], "text_encoder": "miniature"}
    config = stand_in_run.config(
        out, run={"num_steps": 2, "checkpoint_every": 1}, validation=validation | {"every": 1}
    )
    parts = stand_in_run.parts(config)
    with mock.patch.object(run, "STEP_TIMEOUT", STEP_TIMEOUT):
        accelerator = run.make_accelerator(config)
    assert accelerator.num_processes == 2
    is_slow = accelerator.is_main_process

    def slowly(place: str) -> None:
        if is_slow and what == place:
            time.sleep(SLOW_S)

    def validate(step: int) -> None:
        slowly("validation")

    saved = Accelerator.save_state

    def save_state(self: Accelerator, *args: str) -> str:
        slowly("checkpoint")
        return saved(self, *args)

    class SlowObjective:
        def with_photos(self, *args):
            return parts.objective.with_photos(*args)

        def __call__(self, *args):
            slowly("step")
            return parts.objective(*args)

    slowly("loading")
    with mock.patch.object(Accelerator, "save_state", save_state):
        loop.train(config, replace(parts, objective=SlowObjective()), accelerator, validate)
    if is_slow:
        (out / "done.txt").touch()


if __name__ == "__main__":
    main()
