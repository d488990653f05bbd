"""The scan of raw footage against decoding alone: `python tests/benchmarks/collect.py [...]`.

A drawn video of 1920 x 1080 at 25 frames a second is made by repeating one minute's packets. Film
grain (`--grain`, the standard deviation in levels) gives it about the 7 Mbit/s of a camera: a flat
drawing of 1 Mbit/s is decoded in less than half of the time. The
decoder alone and the whole scan (PySceneDetect, the miniature's face pack on four frames a second,
tracks' measures) are timed by turns; the scan's own work is to take at most twice the decoder's
time. Both are the processor's time over all threads, which other programs do not change; the clock
says how many hours of footage an hour takes. Peak memory is the process's, files of two hours
included (`--minutes 120 --memory`, which skips the decoder alone), and is to stay below 2 GB.
"""

from __future__ import annotations

import argparse
import random
import resource
import statistics
import sys
import tempfile
import time
import warnings
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch
from PIL import Image

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

from helpers.drawn_footage import Part, draw_part  # noqa: E402

from stdrc_core.faces.onnx_finder import open_onnx_pack  # noqa: E402
from stdrc_core.mini.character import draw_numbers  # noqa: E402
from stdrc_core.mini.shipped import FACES  # noqa: E402
from stdrc_core.train.collect.scan import scan  # noqa: E402
from stdrc_core.video import timed_frames  # noqa: E402

RATE = 25
WIDTH, HEIGHT = 1920, 1080
AIM, AIM_GB = 2.0, 2.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--grain", type=float, default=3.0)
    parser.add_argument("--memory", action="store_true", help="scan once, and time nothing else")
    args = parser.parse_args()
    warnings.filterwarnings("ignore", category=FutureWarning)
    torch.set_num_threads(2)
    finder = open_onnx_pack(FACES)
    with tempfile.TemporaryDirectory() as folder:
        video = make_video(Path(folder) / "long.mp4", args.minutes, args.grain)
        decodes, scans, clocks = [], [], []
        for _ in range(args.rounds):
            if not args.memory:
                began = time.process_time()
                sum(1 for _ in timed_frames(video))
                decodes.append(time.process_time() - began)
            began, clock = time.process_time(), time.perf_counter()
            moved_to = tell_memory if args.memory else lambda _: None
            found = scan(video, finder, shot_threshold=27.0, sample_fps=4.0, moved_to=moved_to)
            scans.append(time.process_time() - began)
            clocks.append(time.perf_counter() - clock)
    scan_s, clock_s = statistics.median(scans), statistics.median(clocks)
    length_s = found.duration_s
    peak_gb = peak_memory_gb()
    lines = [
        f"footage      {length_s / 60:.1f} min of {WIDTH} x {HEIGHT}, {len(found.shots)} shots, "
        f"{len(found.time_s)} faces in {len(found.looked_s)} frames searched",
        f"scan         {scan_s:7.1f} s of the processor, {clock_s:.1f} s by the clock: "
        f"{length_s / clock_s:.2f} hours an hour",
        f"peak memory  {peak_gb:.2f} GB (aim: below {AIM_GB})",
    ]
    rest = 0.0
    if decodes:
        decode_s = statistics.median(decodes)
        rest = scan_s / decode_s - 1
        lines.append(f"decode alone {decode_s:7.1f} s of the processor")
        lines.append(f"own work     {rest:.2f} of the decoder's time (aim: at most {AIM})")
    sys.stdout.write("\n".join(lines) + "\n")
    sys.exit(0 if rest <= AIM and peak_gb < AIM_GB else 1)


def peak_memory_gb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def tell_memory(second: float, told: set[int] = set()) -> None:  # noqa: B006
    """Says at every full minute of footage how much memory was in use at most so far."""
    minute = int(second // 60)
    if minute not in told:
        told.add(minute)
        sys.stdout.write(f"after {second / 60:.1f} min: {peak_memory_gb():.2f} GB\n")
        sys.stdout.flush()


def make_video(path: Path, minutes: float, grain: float) -> Path:
    """A video of that length: twelve shots of five seconds, again and again."""
    rng = random.Random(0)
    people = draw_numbers(12, rng, unseen=True)
    minute = path.with_name("minute.mp4")
    size = (HEIGHT * 3 // 2, WIDTH)
    noises = [
        np.rint(np.random.default_rng(i).normal(0, grain, size)).astype(np.int16) for i in range(5)
    ]
    with av.open(str(minute), "w") as container:
        options = {"preset": "ultrafast", "crf": "23", "bf": "0"}
        stream = container.add_stream("libx264", rate=Fraction(RATE), options=options)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for person in people:
            part = Part(kind="good", people=(person,), seconds=5)
            for i, pixels in enumerate(draw_part(part, rng, RATE)):
                frame = av.VideoFrame.from_ndarray(_widened(pixels), format="rgb24")
                planes = frame.to_ndarray(format="yuv420p") + noises[i % len(noises)]
                noisy = planes.clip(0, 255).astype(np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(noisy, format="yuv420p")))
        container.mux(stream.encode())
    with av.open(str(minute)) as source, av.open(str(path), "w") as target:
        own = source.streams.video[0]
        copy = target.add_stream_from_template(own)
        packets = [(bytes(p), p.pts, p.dts, p.is_keyframe) for p in source.demux(own) if p.size]
        step = round(1 / RATE / own.time_base)
        for i in range(round(minutes * 60 * RATE)):
            again, place = divmod(i, len(packets))
            data, pts, dts, is_keyframe = packets[place]
            packet = av.Packet(data)
            shift = again * len(packets) * step
            packet.pts, packet.dts, packet.time_base = pts + shift, dts + shift, own.time_base
            packet.is_keyframe = is_keyframe
            packet.stream = copy
            target.mux(packet)
    return path


def _widened(pixels: np.ndarray) -> np.ndarray:
    """The drawn square in the middle of a wide frame."""
    square = np.asarray(Image.fromarray(pixels).resize((HEIGHT, HEIGHT)))
    wide = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    wide[:] = square[2, 2]
    left = (WIDTH - HEIGHT) // 2
    wide[:, left : left + HEIGHT] = square
    return wide


if __name__ == "__main__":
    main()
