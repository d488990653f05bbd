"""Inspect References: its report against what the transformer is really given."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from helpers.comfyui import Worker

pytestmark = pytest.mark.host

SIGMAS = torch.tensor([1.0, 0.98, 0.95, 0.9, 0.83, 0.7, 0.5, 0.2, 0.0])
TWO = [{"photo": 0, "slot": 0}, {"photo": 1, "slot": 1, "strength": 0.5}]


@pytest.mark.parametrize(
    "scales",
    [{}, {"text_scale": 1.0}, {"reference_scale": 5.0}, {"reference_scale": 0.0}],
)
@pytest.mark.parametrize("own_scales", [(1.0, 1.0), (1.0, 0.5), (0.5, 0.5)])
def test_the_streams_and_tokens_are_those_that_run(
    host: Worker, scales: dict[str, float], own_scales: tuple[float, float]
) -> None:
    entries = [entry | {"scale": f} for entry, f in zip(TWO, own_scales, strict=True)]
    report = host("inspection.report", entries=entries, **scales)
    told = sorted(int(n) for n in re.findall(r"^Stream .*: (\d+) tokens\.$", report, re.M))
    assert told == host("inspection.tokens_that_ran", entries=entries, **scales)
    assert report.startswith("Nothing wrong was found.\n")


def test_it_says_where_each_reference_stands(host: Worker) -> None:
    report = host("inspection.report", entries=TWO)
    assert "Video: 3 x 4 x 4 = 48 tokens." in report
    assert "Model: LTXAVModel." in report
    assert "Reference layout tass, clean" in report
    assert (
        "Reference 1: slot 0, strength 1, scale 1; frames 17 to 25, rows 128 to 256, "
        "columns 128 to 256 (pixels)."
    ) in report
    assert "Reference 2: slot 1, strength 0.5, scale 1; frames 17 to 25, rows 256 to 384" in report


def test_guides_are_counted_apart(host: Worker) -> None:
    report = host("inspection.report", guides=[0])
    assert "= 48 tokens, and 16 of guides." in report
    assert "Stream vy, text: 64 tokens." in report


SCHEDULES: dict[str, dict[str, Any]] = {
    "plain": {},
    "distilled": {"text_scale": 1.0},
    "no reference": {"reference_scale": 0.0},
    "together": {"reference_scale": 5.0, "reference_every": 2},
    "window": {"start_percent": 0.1, "end_percent": 0.6},
    "every third": {"reference_every": 3},
    "once": {"reference_every": 9},
    "half of the steps": {"guided_share": 0.5},
    "the fast preset in a window": {"preset": "fast", "end_percent": 0.4},
    "window and every second": {
        "start_percent": 0.1, "end_percent": 0.9, "reference_every": 2, "text_scale": 1.0,
    },
    "audio apart": {"audio_scale": 7.0, "with_audio": True},
    "audio apart, distilled": {
        "text_scale": 1.0, "audio_scale": 3.0, "guided_share": 0.5, "with_audio": True,
    },
    "audio alone": {
        "text_scale": 0.0, "reference_scale": 0.0, "audio_scale": 3.0, "with_audio": True,
    },
    "curves": {
        "curves": {
            "text_curve": {"start": 6.0, "end": 1.0, "start_sigma": 0.95, "end_sigma": 0.7},
            "reference_curve": {"start": 0.0, "end": 8.0, "start_sigma": 0.99, "end_sigma": 0.5},
        },
        "reference_every": 2,
    },
}  # fmt: skip


@pytest.mark.parametrize("case", SCHEDULES)
@pytest.mark.parametrize("own_scales", [(1.0, 1.0), (1.0, 0.5)])
def test_the_schedule_is_the_one_that_runs(
    host: Worker, case: str, own_scales: tuple[float, float]
) -> None:
    """Forwards in all, of each stream, and in which steps vyr runs, as the transformer saw them."""
    entries = [entry | {"scale": f} for entry, f in zip(TWO, own_scales, strict=True)]
    options = SCHEDULES[case] | {"sigmas": SIGMAS, "entries": entries}
    report, calls = (
        host("inspection.report", **options),
        host("inspection.calls_of_a_run", **options),
    )
    blind = [call for call in calls if call[1] == 48]
    (told,) = re.findall(r"^Forwards in all: (\d+) \((.*)\) in 8 steps", report, re.M)
    counts = dict(part.split() for part in told[1].split(", "))
    assert int(told[0]) == len(calls)
    assert int(counts.get("v0", 0)) + int(counts.get("vy", 0)) == len(blind)
    assert int(counts.get("vyr", 0)) == len(calls) - len(blind)
    assert _steps_with_reference(report) == sorted(
        {1 + int((SIGMAS[:-1] - sigma).abs().argmin()) for sigma, tokens in calls if tokens > 48}
    )


def test_the_audios_own_scale_is_told(host: Worker) -> None:
    report = host("inspection.report", sigmas=SIGMAS, audio_scale=7.0, with_audio=True)
    assert "v0, vy, vyr; text_scale 5, audio_scale 7, reference_scale 7.5." in report
    report = host("inspection.report", sigmas=SIGMAS, with_audio=True)
    assert "audio_scale" not in report


def _steps_with_reference(report: str) -> list[int]:
    found = []
    for first, last, rest in re.findall(r"^In steps? (\d+)(?: to (\d+))?, (.*)$", report, re.M):
        streams = rest.split(": ")[1].split(";")[0]
        again = re.search(r"vyr runs in (.*); its direction", rest)
        if again:
            found += [int(n) for n in again[1].split(", ") if n.isdigit()]
        elif "vyr" in streams:
            found += range(int(first), int(last or first) + 1)
    return sorted(found)


def test_it_tells_the_schedule_by_sigma_where_the_steps_are_not_known(host: Worker) -> None:
    report = host(
        "inspection.report",
        entries=TWO,
        start_percent=0.0,
        end_percent=0.5,
        reference_every=2,
        curves={"text_curve": {"start": 6.0, "end": 2.0}},
    )
    # Half of the host's sampling is over at sigmoid(2.37).
    assert (
        "From sigma 1 to 0.9145: v0, vy, vyr; text_scale 6 to 5.658, reference_scale 7.5" in report
    )
    assert "vyr in one of 2 steps." in report
    assert "v0, vyr; text_scale 5.6" in report
    assert "text and reference guided together." in report
    assert "connect sigmas" in report


DOUBTS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "nothing to keep": (
        {"reference_scale": 5.0, "reference_every": 2},
        ["reference_every is 2", "beside vyr"],
    ),
    "nothing to keep, steps unknown": (
        {"reference_scale": 5.0, "reference_every": 2, "sigmas": None},
        ["reference_every is 2", "beside vyr"],
    ),
    "computed once": ({"reference_every": 8}, ["reference_every is 8", "computed once, in step 1"]),
    "nobody is inside": ({"start_percent": 0.5, "end_percent": 0.501}, ["hold none of the steps"]),
    "window of no use": (
        {"reference_scale": 5.0, "end_percent": 0.5},
        ["end_percent change nothing"],
    ),
    "no reference": ({"reference_scale": 0.0}, ["used in no step"]),
    "curve elsewhere": (
        {"curves": {"reference_curve": {"start": 5.0, "end": 1.0, "start_sigma": 0.05}}},
        ["reference_curve changes between sigma 0.05 and 0", "it is 5"],
    ),
    "rescale of one": (
        {"text_scale": 1.0, "reference_scale": 1.0, "guidance_rescale": 0.7},
        ["guidance_rescale is 0.7 and changes nothing"],
    ),
    "audio as the text": (
        {"audio_scale": 5.0, "with_audio": True},
        ["audio_scale changes nothing: it is text_scale"],
    ),
    "no share": ({"guided_share": 0.0}, ["guided_share is 0", "no step is guided"]),
    "no strength": ({"entries": [{"photo": 0, "strength": 0.0}]}, ["strength 0"]),
}  # fmt: skip


@pytest.mark.parametrize("case", DOUBTS)
def test_it_says_what_contradicts_itself(host: Worker, case: str) -> None:
    options, parts = DOUBTS[case]
    report = host("inspection.report", **({"sigmas": SIGMAS} | options))
    assert report.startswith("Nothing wrong was found.\n")
    doubts = report.split("Probably not meant:\n- ")[1]
    for part in parts:
        assert part in doubts


def test_a_share_of_steps_that_are_not_known_is_told_as_that(host: Worker) -> None:
    report = host("inspection.report", guided_share=0.4)
    assert "From sigma 1 to 0.0" in report
    assert "the first 0.4 of the steps; the others are not guided" in report


def test_settings_that_agree_raise_no_doubt(host: Worker) -> None:
    plain = host("inspection.report", sigmas=SIGMAS)
    curved = host(
        "inspection.report",
        sigmas=SIGMAS,
        curves={"text_curve": {"start": 5.0, "end": 1.0}},
        end_percent=0.8,
        reference_every=2,
        guidance_rescale=0.7,
    )
    assert "Probably not meant" not in plain + curved


WRONG: dict[str, tuple[dict[str, Any], list[str]]] = {
    "unpatched": ({"model": "unpatched"}, ["Apply TASS-RoPE Patch"]),
    "another model": ({"model": "flux"}, ["model is a Flux"]),
    "another size": ({"height": 5}, ["4 x 4", "5 x 4", "Encode Reference Latent"]),
    "no prompt": ({"without_prompt": True}, ["positive is an empty conditioning"]),
    "BFS's node": ({"model": "bfs"}, ["LTX Identity Transfer"]),
    "window": ({"start_percent": 0.8, "end_percent": 0.2}, ["start_percent was 0.8"]),
    "audio scale without audio": ({"audio_scale": 7.0}, ["audio_scale was 7.0", "no audio"]),
    "rising sigmas": ({"sigmas": torch.tensor([0.2, 0.9])}, ["sigmas is 0.2, 0.9", "fall"]),
    "one sigma": ({"sigmas": torch.tensor([1.0])}, ["sigmas is 1;", "two values"]),
    "another model's sigmas": (
        {"sigmas": torch.tensor([14.6, 1.0, 0.0])},
        ["begins at 14.6", "LTXVScheduler"],
    ),
    "two at once": ({"model": "unpatched", "height": 5}, ["Apply TASS-RoPE Patch", "5 x 4"]),
}


@pytest.mark.parametrize("case", WRONG)
def test_it_says_what_is_wrong(host: Worker, case: str) -> None:
    options, parts = WRONG[case]
    report = host("inspection.report", **options)
    assert report.startswith("What is wrong:\n- ")
    for part in parts:
        assert part in report
