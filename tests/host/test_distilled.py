"""Distilled weights in the graph: one stream, the scales told to them, and `generate`'s clip."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from helpers.comfyui import HostError, Worker
from helpers.distilled_lora import FIXED, RANGE, write_distilled
from helpers.tiny_lora import write_tiny_lora

from stdrc_core.generate.__main__ import make_parser
from stdrc_core.generate.models import decide_layout, load_pipeline, name_models
from stdrc_core.generate.shot import Shot
from stdrc_core.mini.text import MiniatureText

pytestmark = pytest.mark.host

PROMPT, NUM_STEPS = "a person with red stripes, blue checked wall", 4
ONE = {"text_scale": 1.0, "reference_scale": 1.0}


@pytest.fixture(scope="module")
def loras(mini_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("students")
    return {
        name: write_distilled(folder / f"{name}_{folder.name}.safetensors", mini_checkpoint, scales)
        for name, scales in (("fixed", FIXED), ("range", RANGE))
    }


def photo() -> torch.Tensor:
    return torch.rand(1, 80, 60, 3, generator=torch.Generator().manual_seed(1))


def of_generate(checkpoint: Path, loras: Sequence[Path], scales: dict[str, float]) -> torch.Tensor:
    words = ["--checkpoint", checkpoint, "--text-encoder", "miniature"]
    words += [word for lora in loras for word in ("--lora", lora)]
    args = make_parser().parse_args([str(word) for word in words])
    name_models(args)
    text = MiniatureText()
    pipeline = load_pipeline(args, decide_layout(args), torch.device("cpu"), text.encode(""))
    shot = Shot(height=64, width=64, num_frames=9, num_steps=NUM_STEPS, seed=2).guided(**scales)
    return pipeline(photo(), text.encode(PROMPT), shot)


def in_graph(host: Worker, *loras: Path, **guidance: object) -> dict:
    asked = {"photo": photo(), "prompt": PROMPT, "num_steps": NUM_STEPS, "seed": 2}
    return host("distilled.clip", loras=[*map(str, loras)], **asked, **guidance)


@pytest.mark.parametrize(
    ("kind", "scales"), [("fixed", ONE), ("range", {"text_scale": 5.5, "reference_scale": 1.5})]
)
def test_the_graph_makes_generates_clip_in_one_pass_a_step(
    host: Worker, mini_checkpoint: Path, loras: dict[str, Path], kind: str, scales: dict
):
    theirs = in_graph(host, loras[kind], **scales)
    assert theirs["num_rows"] == NUM_STEPS
    assert theirs["said"] == []
    ours = of_generate(mini_checkpoint, [loras[kind]], scales)
    assert 10 * torch.log10(1 / (ours - theirs["frames"]).square().mean()) > 40
    # The loader's own model is as it was.
    assert theirs["patches_left"] is False


def test_a_lora_that_saves_steps_stays_beside_it(
    host: Worker, mini_checkpoint: Path, loras: dict[str, Path]
):
    """As LTX's own distilled LoRA: both loaders in a row, of which only one tells of scales."""
    beside = write_tiny_lora(loras["fixed"].with_name(f"steps_{loras['fixed'].name}"), 0.2)
    theirs = in_graph(host, beside, loras["fixed"], **ONE)
    assert (theirs["num_rows"], theirs["said"]) == (NUM_STEPS, [])
    ours = of_generate(mini_checkpoint, [beside, loras["fixed"]], ONE)
    assert 10 * torch.log10(1 / (ours - theirs["frames"]).square().mean()) > 40
    alone = of_generate(mini_checkpoint, [loras["fixed"]], ONE)
    assert (ours - alone).abs().max() > 0.01


def test_a_student_stands_on_the_lora_that_it_was_distilled_from(
    host: Worker, mini_checkpoint: Path, loras: dict[str, Path]
):
    """In both orders of the loaders, though that LoRA says three streams; without it, it is
    missed."""
    folder = loras["fixed"].parent
    face = write_distilled(folder / f"face_{folder.name}.safetensors", mini_checkpoint, None)
    student = folder / f"on_face_{folder.name}.safetensors"
    write_distilled(student, mini_checkpoint, FIXED, loras=(face,))
    ours = of_generate(mini_checkpoint, [face, student], ONE)
    for order in ((face, student), (student, face)):
        theirs = in_graph(host, *order, **ONE)
        assert (theirs["num_rows"], theirs["said"]) == (NUM_STEPS, [])
        assert 10 * torch.log10(1 / (ours - theirs["frames"]).square().mean()) > 40
    reports = [
        host("distilled.report", loras=[*map(str, paths)], **ONE)
        for paths in ((face, student), (student,))
    ]
    missed = f"model with {face.name} merged, and no other LoRA of that name is on this one"
    assert [missed in report for report in reports] == [False, True]


def test_a_range_is_told_the_scales_of_the_guider(host: Worker, loras: dict[str, Path]):
    """The preset stands for those that the weights begin with."""
    begin, preset, other = (
        in_graph(host, loras["range"], **scales)["frames"]
        for scales in (
            {"text_scale": 3.0, "reference_scale": 5.0},
            {"preset": "one-pass"},
            {"text_scale": 1.0, "reference_scale": 8.0},
        )
    )
    torch.testing.assert_close(begin, preset)
    assert (begin - other).abs().max() > 0.01


@pytest.mark.parametrize(
    ("kind", "scales", "words"),
    [
        ("fixed", {"text_scale": 2.0, "reference_scale": 4.0}, "guided twice"),
        ("range", {"text_scale": 7.0, "reference_scale": 4.0}, "text_scale 1 to 6"),
    ],
)
def test_other_scales_are_warned_of(
    host: Worker, loras: dict[str, Path], kind: str, scales: dict, words: str
):
    (said,) = in_graph(host, loras[kind], **scales)["said"]
    assert words in said
    assert said.startswith(f"text_scale was {scales['text_scale']}")
    report = host("distilled.report", loras=[str(loras[kind])], **scales)
    assert f"Probably not meant:\n- {said}" in report


@pytest.mark.parametrize("kind", ["fixed", "range"])
def test_inspect_counts_one_stream(host: Worker, loras: dict[str, Path], kind: str):
    report = host("distilled.report", loras=[str(loras[kind])], preset="one-pass")
    assert report.startswith("Nothing wrong was found.")
    assert "Stream v0, nothing: does not run." in report
    assert "Stream vy, text: does not run." in report
    assert "They are distilled for text_scale" in report
    assert "Probably not meant" not in report


def test_a_range_takes_no_curves(host: Worker, loras: dict[str, Path]):
    curve = {"start": 5.0, "end": 1.0}
    with pytest.raises(HostError, match="the same in all steps; needs numbers"):
        in_graph(host, loras["range"], text_curve=curve)
