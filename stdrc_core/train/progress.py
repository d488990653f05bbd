"""Reports the steps of a run: a bar, lines in `log.jsonl`, and the trackers' curves."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator, Mapping

import torch
from accelerate import Accelerator
from tqdm.auto import tqdm

from .config import RunSection
from .step_lines import LOG, append_line

_GIB = 2**30


class Progress:
    """Counts the steps of a run and reports them, for all processes together."""

    def __init__(self, section: RunSection, accelerator: Accelerator, done: int) -> None:
        """`done` is how many steps the run has done already."""
        self.section, self.accelerator, self.done = section, accelerator, done
        self.bar = tqdm(
            range(done, section.num_steps),
            initial=done,
            total=section.num_steps,
            disable=not accelerator.is_main_process,
            unit="step",
        )

    def __iter__(self) -> Iterator[int]:
        """The numbers of the steps to do; pace and peak memory are measured from this call on."""
        reset_peak_memory(self.accelerator.device)
        self.began = time.perf_counter()
        return iter(self.bar)

    def is_due(self, step: int) -> bool:
        """Whether `run.log_every` asks for a report of `step`."""
        return step % self.section.log_every == 0

    def report(
        self,
        step: int,
        losses: Mapping[str, float],
        *,
        grad_norm: float,
        lr: float,
        num_tokens: int,
        time_s: float,
    ) -> None:
        """Reports a step if it is due; all processes must call it.

        `num_tokens` is how many tokens went through the model in this process, `time_s` how many
        seconds the step took. The time left is reckoned from all that the run did since its start,
        checkpoints and validations included.
        """
        assert all(math.isfinite(value) for value in losses.values())
        if not self.is_due(step):
            return
        memory_gib = peak_memory_gib(self.accelerator.device)
        own = torch.tensor([[num_tokens, memory_gib]], device=self.accelerator.device)
        tokens, memory = self.accelerator.gather(own).unbind(dim=1)
        if not self.accelerator.is_main_process:
            return
        num_done = step + 1
        pace_s = (time.perf_counter() - self.began) / (num_done - self.done)
        entry = {
            **losses,
            "grad_norm": grad_norm,
            "lr": lr,
            "tokens_per_s": round(tokens.sum().item() / time_s, 2),
            "peak_memory_gib": round(memory.max().item(), 3),
            "step_time_s": round(time_s, 6),
            "time_left_s": round(pace_s * (self.section.num_steps - num_done), 1),
        }
        append_line(self.section.out / LOG, {"step": step, **entry})
        self.accelerator.log(entry, step=step)
        shown = {name: f"{value:.4f}" for name, value in losses.items()}
        self.bar.set_postfix(
            shown
            | {
                "tokens/s": f"{entry['tokens_per_s']:.0f}",
                "GiB": f"{entry['peak_memory_gib']:.2f}",
            }
        )


def peak_memory_gib(device: torch.device) -> float:
    """The most memory that was in use so far: torch's on a GPU, else what the process had resident.

    On a GPU it counts from the last `reset_peak_memory`. The peak of a CPU process cannot be reset:
    it counts from the start of the process, loading and validations included. It is 0 where the
    system does not tell it (a CPU under Windows).
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / _GIB
    try:
        import resource
    except ImportError:
        return 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # macOS counts in bytes, other systems in KiB.
    return peak * (1 if sys.platform == "darwin" else 2**10) / _GIB


def reset_peak_memory(device: torch.device) -> None:
    """Lets the peak of a GPU count from now on, so that it is that of training alone."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
