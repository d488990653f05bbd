"""Cost of a three-stream step: `python tests/benchmarks/guidance.py [--preset full --gpu]`.

Ratios of one run, round by round: against the step's own bare forwards (aim: at most 1.02),
against core's DualCFGGuider on the same tokens (at most 1.00), and of the cheaper plans of streams
against the default (s_y = s_r: at most 0.70).
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1])]

from comfyui import Worker, find_comfyui  # noqa: E402

PRESETS = {
    # A tenth of a second a step on two cores: small enough to show what the guider itself costs.
    "small": {
        "num_layers": 4,
        "num_heads": 8,
        "head_dim": 48,
        "dtype": "float32",
        "grid": [8, 8, 8],
        "rounds": 9,
        "num_steps": 5,
        "prompt_tokens": 64,
    },
    # LTX-2.3 itself with random weights, 121 frames of 768 x 1280.
    "full": {
        "num_layers": 48,
        "num_heads": 32,
        "head_dim": 128,
        "dtype": "bfloat16",
        "grid": [16, 24, 40],
        "rounds": 5,
        "num_steps": 3,
        "prompt_tokens": 1024,
    },
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", choices=PRESETS, default="small")
    parser.add_argument("--gpu", action="store_true", help="on the GPU, not the CPU")
    for name in ("num-layers", "rounds", "num-steps"):
        parser.add_argument(f"--{name}", type=int, help="instead of the preset's")
    parser.add_argument("--grid", type=int, nargs=3, metavar=("T", "H", "W"))
    options = vars(parser.parse_args())
    preset, gpu = PRESETS[options.pop("preset")], options.pop("gpu")
    chosen = preset | {name: value for name, value in options.items() if value is not None}

    comfyui = find_comfyui()
    if isinstance(comfyui, str):
        sys.exit(comfyui)
    with tempfile.TemporaryDirectory() as folder:
        worker = Worker(comfyui, comfyui.make_base(Path(folder) / "base"), cpu=not gpu)
        result = worker("benchmark.guided_steps", **chosen)
        worker.close()
    report(result, chosen)


def report(result: dict, chosen: dict) -> None:
    times_s = result["times_s"]
    write = sys.stdout.write
    write(
        f"{result['device']}, {result['num_parameters'] / 1e6:.0f} M parameters {chosen['dtype']}, "
        f"T x H x W = {' x '.join(map(str, chosen['grid']))}, {chosen['rounds']} rounds\n"
    )
    if result["peak_memory_bytes"]:
        write(f"peak memory {result['peak_memory_bytes'] / 2**30:.1f} GiB\n")
    for name, values in times_s.items():
        write(f"{name:>16}: {statistics.median(values) * 1e3:9.2f} ms a step (median)\n")
    ratios = [
        ("default", "bare forwards", 1.02),
        ("default", "DualCFGGuider", 1.00),
        ("s_y = s_r", "default", 0.70),
        ("s_y = 1", "default", None),
        ("s_y = s_r = 1", "default", None),
    ]
    for over, under, aim in ratios:
        values = [a / b for a, b in zip(times_s[over], times_s[under], strict=True)]
        aimed = f", aim at most {aim:.2f}" if aim else ""
        write(
            f"{over} / {under}: median {statistics.median(values):.3f} "
            f"(min {min(values):.3f}, max {max(values):.3f}{aimed})\n"
        )


if __name__ == "__main__":
    main()
