"""Time and memory of a piece of code, on the device that ComfyUI runs on."""

from __future__ import annotations

import itertools
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import comfy.model_management
import torch
from torch.profiler import ProfilerActivity, profile

Result = TypeVar("Result")


class Stopwatch:
    """A DIFFUSION_MODEL wrapper inside the patch: sums the time of the bare forwards."""

    def __init__(self) -> None:
        self.time_s = 0.0

    def __call__(self, executor: Any, *args: Any, **kwargs: Any) -> Any:
        output, time_s = timed(lambda: executor(*args, **kwargs))
        self.time_s += time_s
        return output


def timed(run: Callable[[], Result]) -> tuple[Result, float]:
    """What `run` returns, and its seconds."""
    _synchronize()
    start = time.perf_counter()
    result = run()
    _synchronize()
    return result, time.perf_counter() - start


def with_peak_memory(run: Callable[[], Result]) -> tuple[Result, int]:
    """What `run` returns, and the most bytes of tensors that it held at once.

    Counted is what torch's allocator gave out after `run` began: not what was there before, and not
    what the allocator keeps in reserve. That is exact, where the resident size of a process is not.
    """
    if on_gpu():
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        result = run()
        torch.cuda.synchronize()
        return result, torch.cuda.max_memory_allocated() - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        result = run()
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(trace))
        events = json.loads(trace.read_text())["traceEvents"]
    changes = [(e["ts"], e["args"]["Bytes"]) for e in events if e["name"] == "[memory]"]
    in_time = sorted(changes, key=lambda change: change[0])
    return result, max(itertools.accumulate(num_bytes for _, num_bytes in in_time), default=0)


def on_gpu() -> bool:
    return comfy.model_management.get_torch_device().type == "cuda"


@contextmanager
def one_thread() -> Iterator[None]:
    """On few and shared cores, threads that wait for one another are most of the noise."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _synchronize() -> None:
    if on_gpu():
        torch.cuda.synchronize()


def peak_of_known_tensors() -> int:
    """Held at once: 10 and 5 million bytes, then 5, 2 and 6; 7 from before, freed on the way."""
    earlier = [_bytes(7_000_000)]

    def run() -> torch.Tensor:
        first, second = _bytes(10_000_000), _bytes(5_000_000)
        earlier.clear()
        del first
        third, fourth = _bytes(2_000_000), _bytes(6_000_000)
        del second, fourth
        return third

    return with_peak_memory(run)[1]


def _bytes(number: int) -> torch.Tensor:
    return torch.empty(number, dtype=torch.uint8)
