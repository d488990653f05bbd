"""Cost of a three-stream step: `python tests/benchmarks/guidance.py [--preset full --gpu]`.

Ratios of one run, round by round: of a step to the forwards of the bare transformer in it (aim: at
most 1.02), to core's DualCFGGuider on the same tokens (at most 1.00), and of the cheaper plans of
streams to the default (s_y = s_r: at most 0.70).
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
    # A third of a second a step on one core: small enough to show what the guider itself costs.
    "small": {
        "num_layers": 4,
        "num_heads": 8,
        "head_dim": 48,
        "dtype": "float32",
        "grid": [8, 8, 8],
        "rounds": 40,
        "prompt_tokens": 64,
    },
    # LTX-2.3 itself with random weights, 121 frames of 768 x 1280.
    "full": {
        "num_layers": 48,
        "num_heads": 32,
        "head_dim": 128,
        "dtype": "bfloat16",
        "grid": [16, 24, 40],
        "rounds": 10,
        "prompt_tokens": 1024,
    },
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", choices=PRESETS, default="small")
    parser.add_argument("--gpu", action="store_true", help="on the GPU, not the CPU")
    for name in ("num-layers", "rounds"):
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
    steps_s = {name: [step for step, _ in times] for name, times in result["times_s"].items()}
    bare_s = {name: [bare for _, bare in times] for name, times in result["times_s"].items()}
    write = sys.stdout.write
    write(
        f"{result['device']}, {result['num_parameters'] / 1e6:.0f} M parameters {chosen['dtype']}, "
        f"T x H x W = {' x '.join(map(str, chosen['grid']))}, {chosen['rounds']} rounds\n"
    )
    if result["peak_memory_bytes"]:
        write(f"peak memory {result['peak_memory_bytes'] / 2**30:.1f} GiB\n")
    for name, values in steps_s.items():
        write(f"{name:>14}: {statistics.median(values) * 1e3:9.2f} ms a step (median)\n")
    ratios = [
        ("default / its bare forwards", steps_s["default"], bare_s["default"], 1.02),
        ("default / DualCFGGuider", steps_s["default"], steps_s["DualCFGGuider"], 1.00),
        ("s_y = s_r / default", steps_s["s_y = s_r"], steps_s["default"], 0.70),
        ("s_y = 1 / default", steps_s["s_y = 1"], steps_s["default"], None),
        ("s_y = s_r = 1 / default", steps_s["s_y = s_r = 1"], steps_s["default"], None),
    ]
    for name, over, under, aim in ratios:
        values = [a / b for a, b in zip(over, under, strict=True)]
        low, middle, high = statistics.quantiles(values, n=4) if len(values) > 1 else values * 3
        aimed = f", aim at most {aim:.2f}" if aim else ""
        write(f"{name}: median {middle:.3f} (quartiles {low:.3f} to {high:.3f}{aimed})\n")


if __name__ == "__main__":
    main()
