"""Cost of a three-stream step: `python tests/benchmarks/guidance.py [--preset full --gpu]`.

Ratios of one run, round by round: of a step to the forwards of the bare transformer in it (aim: at
most 1.02), to core's DualCFGGuider on the same tokens (at most 1.00), to BFS's "LTX Identity
Transfer" with the same reference and scales (at most 1.00), and of the cheaper plans of streams to
the default (s_y = s_r: at most 0.70). Then memory, and the cost over the number of references and
over the clip's length beside what the numbers of tokens alone predict.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parents[1])]

from helpers.comfyui import Missing, Worker, newest_comfyui  # noqa: E402
from helpers.public_packs import BFS  # noqa: E402

SCANS = {"num_references": [1, 2, 3, 4], "num_frames": [25, 49, 97, 145, 193, 241]}
PRESETS = {
    # A third of a second a step on one core: small enough to show what the guider itself costs.
    "small": {
        "num_layers": 4,
        "num_heads": 8,
        "head_dim": 48,
        "dtype": "float32",
        "grid": [8, 8, 8],
        "rounds": 40,
        "scan_rounds": 20,
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
        "scan_rounds": 5,
        "prompt_tokens": 1024,
    },
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", choices=PRESETS, default="small")
    parser.add_argument("--gpu", action="store_true", help="on the GPU, not the CPU")
    for name in ("num-layers", "rounds", "scan-rounds"):
        parser.add_argument(f"--{name}", type=int, help="instead of the preset's")
    parser.add_argument("--grid", type=int, nargs=3, metavar=("T", "H", "W"))
    options = vars(parser.parse_args())
    preset, gpu = PRESETS[options.pop("preset")], options.pop("gpu")
    chosen = preset | {name: value for name, value in options.items() if value is not None}

    comfyui = newest_comfyui()
    if isinstance(comfyui, Missing):
        sys.exit(comfyui.reason)
    bfs = BFS.find(comfyui)
    with tempfile.TemporaryDirectory() as folder:
        worker = Worker(comfyui, comfyui.make_base(Path(folder) / "base"), cpu=not gpu)
        folder_of_bfs = None if isinstance(bfs, str) else str(bfs)
        result = worker("benchmark.guided_steps", bfs=folder_of_bfs, **SCANS, **chosen)
        worker.close()
    lines = report(result, chosen)
    if isinstance(bfs, str):
        lines = [*lines, f"not compared with BFS: {bfs}"]
    sys.stdout.write("\n".join([*lines, ""]))


def report(result: dict[str, Any], chosen: dict[str, Any]) -> Iterator[str]:
    variants = result["variants"]
    num_frames = chosen["grid"][0]
    yield (
        f"{result['device']}, {result['num_parameters'] / 1e6:.0f} M parameters {chosen['dtype']}, "
        f"{result['attention']}, T x H x W = {' x '.join(map(str, chosen['grid']))}, "
        f"{chosen['rounds']} rounds"
    )
    for name, measured in variants.items():
        middle_ms = statistics.median(step for step, _ in measured["times_s"]) * 1e3
        peak_mib = measured["peak_bytes"] / 2**20
        yield f"{name:>14}: {middle_ms:9.2f} ms a step (median), {peak_mib:9.1f} MiB beyond weights"

    yield "Time"
    default = variants["default"]
    bare = [step / forwards for step, forwards in default["times_s"]]
    yield f"  default / its bare forwards: {summary(bare)}, aim at most 1.02"
    pairs = [("default", "DualCFGGuider", "1.00"), ("s_y = s_r", "default", "0.70")]
    pairs += [(name, "default", None) for name in ("s_y = 1", "s_y = s_r = 1")]
    if "BFS" in variants:
        predicted = tokens(num_frames, 1) / (tokens(num_frames, 1) + 1)
        pairs.insert(1, ("ours as BFS", "BFS", f"1.00; by tokens alone {predicted:.3f}"))
    for over, under, aim in pairs:
        times = summary(ratios(variants[over], variants[under]))
        yield f"  {over} / {under}: {times}" + (f", aim at most {aim}" if aim else "")

    yield "Memory beyond weights"
    for over, under in (("default", "s_y = s_r = 1"), *((o, u) for o, u, aim in pairs[:2] if aim)):
        times = variants[over]["peak_bytes"] / variants[under]["peak_bytes"]
        yield f"  {over} / {under}: {times:.3f}"

    yield f"References, each against 1, {chosen['scan_rounds']} rounds"
    yield from scan(result["num_references"], lambda each: tokens(num_frames, each))
    yield f"Frames, each against {SCANS['num_frames'][0]}, {chosen['scan_rounds']} rounds"
    yield from scan(result["num_frames"], lambda each: tokens((each - 1) // 8 + 1, 1))


def tokens(num_latent_frames: int, num_references: int) -> int:
    """Of v0, vy and vyr together, counted in frames: the references stand in vyr alone."""
    return 3 * num_latent_frames + num_references


def scan(measured: dict[str, Any], predict: Callable[[int], int]) -> Iterator[str]:
    first, *others = measured
    for each in others:
        times = summary(ratios(measured[each], measured[first]))
        by_tokens = predict(int(each)) / predict(int(first))
        memory = measured[each]["peak_bytes"] / measured[first]["peak_bytes"]
        yield f"  {each:>3}: time {times}, by tokens alone {by_tokens:.3f}; memory {memory:.3f}"


def ratios(over: dict[str, Any], under: dict[str, Any]) -> list[float]:
    """Of two steps' times, round by round."""
    return [a / b for (a, _), (b, _) in zip(over["times_s"], under["times_s"], strict=True)]


def summary(values: list[float]) -> str:
    low, middle, high = statistics.quantiles(values, n=4) if len(values) > 1 else values * 3
    return f"median {middle:.3f} (quartiles {low:.3f} to {high:.3f})"


if __name__ == "__main__":
    main()
