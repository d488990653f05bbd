"""What the trainer adds to its networks: `python tests/benchmarks/training.py step|prepare`.

`step` is the time of the trainer's step over the bare forward, backward and optimizer of the same
model in the same run, with the photos' encoding on the bare side (aim: at most 1.05), with batches
made ahead and without. `prepare` is how many clips a second it makes over how many its slowest
stage alone would (aim: at least 0.8); with `--wait` a stage waits as for a GPU instead of working.
Both are on the miniature and drawn clips, on a CPU with one thread for torch; rounds of all kinds
take turns. Steps are timed by the wall's clock and by that of the main thread, which other programs
do not lengthen and which leaves out what another thread does.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from accelerate import Accelerator

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

from helpers import mini_run  # noqa: E402
from helpers.mini_run import write_cache  # noqa: E402

from stdrc_core.faces.finder import open_face_pack  # noqa: E402
from stdrc_core.ltx.vae import load_vae  # noqa: E402
from stdrc_core.method.flow import add_noise, target_velocity  # noqa: E402
from stdrc_core.mini.text import MiniatureText  # noqa: E402
from stdrc_core.mini_build.dataset import write_dataset  # noqa: E402
from stdrc_core.train import loop  # noqa: E402
from stdrc_core.train.assemble import assemble  # noqa: E402
from stdrc_core.train.batches import Batches  # noqa: E402
from stdrc_core.train.clip_stages import Stage, Work, make_stages, through  # noqa: E402
from stdrc_core.train.config import TrainConfig  # noqa: E402
from stdrc_core.train.optimizer import make_optimizer  # noqa: E402
from stdrc_core.train.prepare import by_identity  # noqa: E402
from stdrc_core.train.prepare_config import PrepareConfig  # noqa: E402
from stdrc_core.train.sources import read_sources  # noqa: E402

WEIGHTS = Path(loop.__file__).parents[1] / "mini" / "weights"
CHECKPOINT, FACES = WEIGHTS / "stdrc_mini.safetensors", WEIGHTS / "faces"
CPU = torch.device("cpu")
NUM_MICRO_BATCHES, WARM_UP = 2, 2
# By the clock of the wall and by that of the main thread.
Seconds = tuple[float, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("step", "prepare"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--count", type=int, default=12, help="steps or clips of a round")
    parser.add_argument("--wait", type=float, default=0, help="seconds that each stage waits")
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        measure = measure_step if args.what == "step" else measure_prepare
        measure(Path(folder), args)


def measure_step(folder: Path, args: argparse.Namespace) -> None:
    cache = write_cache(folder / "cache", CHECKPOINT, num_clips=8)

    def config(name: str, prefetch: int) -> TrainConfig:
        """Every sample has its reference, so that all steps cost alike."""
        run = {
            "num_steps": args.count + WARM_UP,
            "batch_size": NUM_MICRO_BATCHES,
            "micro_batch_size": 1,
            "checkpoint_every": 10_000,
            "trackers": [],
        }
        sections = {"run": run, "reference": {"p_drop": 0}, "data": {"cache": cache}}
        sections["data"] = sections["data"] | {"prefetch": prefetch}
        return mini_run.config(folder / name, CHECKPOINT, cache, **sections)

    times: dict[str, list[Seconds]] = {"bare": [], "ahead": [], "in between": []}
    for number in range(args.rounds):
        times["bare"].append(bare_step(config(f"bare{number}", 0)))
        for kind, prefetch in (("ahead", 2), ("in between", 0)):
            times[kind].append(trainer_step(config(f"{kind}{number}", prefetch)))
    for clock, name in enumerate(("the wall", "the main thread")):
        bare = [each[clock] for each in times["bare"]]
        tell(f"by the clock of {name}, a bare step of {1000 * statistics.median(bare):.0f} ms:")
        for kind in ("ahead", "in between"):
            ratios = [ours[clock] / one for ours, one in zip(times[kind], bare, strict=True)]
            tell(f"  batches made {kind}: {statistics.median(ratios):.3f} times the bare step")


def now() -> Seconds:
    return time.perf_counter(), time.thread_time()


def medians(moments: list[Seconds]) -> Seconds:
    """Median seconds between neighbours, by both clocks."""
    wall, thread = (
        statistics.median(b[clock] - a[clock] for a, b in pairwise(moments)) for clock in (0, 1)
    )
    return wall, thread


def trainer_step(config: TrainConfig) -> Seconds:
    """Median seconds from the beginning of a step's first forward pass to that of the next one."""
    parts = assemble(config, CPU)
    began: list[Seconds] = []
    parts.model.register_forward_pre_hook(lambda *_: began.append(now()))
    loop.train(config, parts, Accelerator(cpu=True))
    return medians(began[::NUM_MICRO_BATCHES][WARM_UP:])


def bare_step(config: TrainConfig) -> Seconds:
    """Median seconds of a step that is given all its tensors but the references' latents."""
    parts = assemble(config, CPU)
    optimizer = make_optimizer(config, parts.model)
    batches = Batches(config, parts.samples, parts.objective, rank=0, num_processes=1, pins=False)
    steps = list(batches.ahead(range(config.run.num_steps)))
    began: list[Seconds] = []
    for number in range(config.run.num_steps):
        began.append(now())
        for batch in steps[NUM_MICRO_BATCHES * number :][:NUM_MICRO_BATCHES]:
            (sample,), (choice,) = batch.samples, batch.draws
            with torch.no_grad():
                reference = parts.objective.encode_references(choice.photos)
            clean, noise = sample.latent[None], choice.noise[None]
            t = torch.tensor([choice.t])
            group = (add_noise(clean, noise, t), t, sample.context[None], reference, 0)
            (predicted,) = parts.model([group])
            (F.mse_loss(predicted, target_velocity(clean, noise)) * batch.share).backward()
        optimizer.step()
        optimizer.zero_grad()
    return medians(began[WARM_UP:])


def measure_prepare(folder: Path, args: argparse.Namespace) -> None:
    write_dataset(folder / "drawn", args.count, 0)
    config = PrepareConfig(num_frames=17, height=128, width=128, fps=24.0)
    entries = read_sources(folder / "drawn" / "manifest.jsonl", window_s=config.window_s)
    stages = make_stages(
        by_identity(entries),
        config,
        vae=load_vae(CHECKPOINT),
        text=MiniatureText(),
        finder=open_face_pack(FACES, CPU),
    )
    if args.wait:
        stages = {name: waiting(args.wait) for name in stages}
    alone: dict[str, list[float]] = {name: [] for name in stages}
    overlapped, serial, ratios = [], [], []
    for _ in range(args.rounds):
        works = [Work(entry=entry) for entry in entries]
        for name, stage in stages.items():
            with timed(alone[name]):
                works = [stage(work) for work in works]
        for depth, kept in ((2, overlapped), (0, serial)):
            with timed(kept), closing(through(stages, entries, depth)) as made:
                assert all(work.problem is None for work in made)
        ratios.append(max(times[-1] for times in alone.values()) / overlapped[-1])
    for name, times in alone.items():
        tell(f"{name} alone: {len(entries) / statistics.median(times):.2f} clips/s")
    tell(f"one after another: {len(entries) / statistics.median(serial):.2f} clips/s")
    tell(f"several at a time: {len(entries) / statistics.median(overlapped):.2f} clips/s")
    tell(f"over the slowest stage alone: {statistics.median(ratios):.2f}")


def tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def waiting(seconds: float) -> Stage:
    def wait(work: Work) -> Work:
        time.sleep(seconds)
        return replace(work)

    return wait


@contextmanager
def timed(times: list[float]) -> Iterator[None]:
    started = time.perf_counter()
    yield
    times.append(time.perf_counter() - started)


if __name__ == "__main__":
    main()
