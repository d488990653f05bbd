"""`prepare --rehearse`: what is on the GPU, what on the host, and what encoding a clip takes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from helpers.one_sentence import refused
from torch.utils.flop_counter import FlopCounterMode

from stdrc_core.ltx.published import open_sizes
from stdrc_core.ltx.vae import load_vae
from stdrc_core.train.__main__ import main
from stdrc_core.train.prepare_config import PrepareConfig
from stdrc_core.train.prepare_rehearsal import encode_clip

FRAMES, HEIGHT, WIDTH = 17, 64, 96
GIB = 2**30


def words(checkpoint: object, *more: object) -> list[str]:
    size = ("--num-frames", FRAMES, "--height", HEIGHT, "--width", WIDTH)
    needed = ("--data", "no", "--out", "no", "--faces", "no", "--text-encoder", "no")
    return [str(w) for w in ("prepare", "--rehearse", "--checkpoint", checkpoint, *size, *needed,
                             *more)]  # fmt: skip


def rehearse(caplog: pytest.LogCaptureFixture, checkpoint: object, *more: object) -> str:
    caplog.clear()
    caplog.set_level("INFO")
    main(words(checkpoint, *more))
    return caplog.text


def size_of(said: str, name: str) -> float:
    """Bytes of a row of the table."""
    number, unit = re.search(rf"{name} +([\d.]+) (MiB|GiB)", said).groups()
    return float(number) * (GIB if unit == "GiB" else 2**20)


def test_weights_and_operations_are_those_of_a_real_clip(mini_checkpoint: Path):
    """A CPU's convolutions take memory of their own, so that its peak is a bound alone."""
    config = PrepareConfig(num_frames=FRAMES, height=HEIGHT, width=WIDTH, fps=24.0)
    told, flops = encode_clip(open_sizes(mini_checkpoint), torch.float32, config)
    vae = load_vae(mini_checkpoint)
    assert told.frozen == sum(each.nbytes for each in (*vae.parameters(), *vae.buffers()))
    pixels = torch.zeros(1, 3, FRAMES, HEIGHT, WIDTH)
    activities = [torch.profiler.ProfilerActivity.CPU]
    with (
        torch.no_grad(),
        FlopCounterMode(display=False) as counter,
        torch.profiler.profile(activities=activities, profile_memory=True) as profile,
    ):
        vae.encode(pixels)
    held = peak = pixels.nbytes
    events = profile.profiler.kineto_results.events()
    memory = (event for event in events if event.name() == "[memory]")
    for event in sorted(memory, key=lambda each: each.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    assert pixels.nbytes < told.activations <= peak
    assert flops == counter.get_total_flops()


def test_the_text_encoder_is_beside_the_vae_or_on_the_host(
    mini_checkpoint: Path, caplog: pytest.LogCaptureFixture
):
    """Gemma 3 12B is 22 GiB, of which the layers' 20 are half as large in 8 bits."""
    beside = rehearse(caplog, mini_checkpoint, "--vram", "20")
    whole = size_of(beside, "text encoder")
    assert whole == pytest.approx(22 * GIB, rel=0.01)
    assert "does not fit a GPU of 20 GiB" in beside
    assert "Change this: --text-device cpu; --text-quantization int8" in beside
    in_8_bits = rehearse(caplog, mini_checkpoint, "--text-quantization", "int8")
    assert size_of(in_8_bits, "text encoder") == pytest.approx(12 * GIB, rel=0.01)
    for device in ("cpu", "cuda:1"):
        apart = rehearse(
            caplog, mini_checkpoint, "--device", "cuda:0", "--text-device", device, "--vram", "3"
        )
        assert "fits a GPU of 3 GiB" in apart
        assert size_of(apart, "host memory") == pytest.approx(whole, rel=0.01)


@pytest.mark.parametrize(
    ("more", "parts"),
    [
        (("--vae", "ltx-2.5-video-vae-bf16.safetensors"), ["diffusion", "vae-conv-bf16"]),
        (("--vae", "mine.safetensors"), ["mine.safetensors", "ltx-2.3"]),
        (("--num-frames", 18), ["18", "8n + 1"]),
    ],
    ids=str,
)
def test_what_cannot_be_rehearsed_is_one_sentence(
    more: tuple[object, ...],
    parts: list[str],
    mini_checkpoint: Path,
    capsys: pytest.CaptureFixture[str],
):
    said = refused(
        capsys, main, words(mini_checkpoint, *more), "python -m stdrc_core.train prepare"
    )
    assert all(part in said for part in parts)
