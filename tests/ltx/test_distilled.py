"""What distilled weights say of their scales, and how a run makes one pass of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from helpers.distilled_lora import FIXED, RANGE, write_distilled
from helpers.tiny_ltx import LTX_2_3, write_tiny
from helpers.told_weights import trained_for
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from stdrc_core.ltx.adapters import known_by_name
from stdrc_core.ltx.backbone import load_backbone
from stdrc_core.ltx.distilled import Distilled
from stdrc_core.ltx.guidance_embedding import read_guidance_embedding
from stdrc_core.ltx.lora import merge_lora
from stdrc_core.ltx.reference_layout import LayoutChoice
from stdrc_core.ltx.trained_for import from_metadata
from stdrc_core.method.guidance_curve import GuidanceCurve
from stdrc_core.method.guidance_options import PRESETS, GuidanceOptions

OF_RANGE = Distilled(text_scale=(1.0, 6.0), reference_scale=(1.0, 8.0))
OF_NUMBERS = Distilled(text_scale=2.0, reference_scale=4.0)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("base") / "base.safetensors", LTX_2_3)


def metadata_of(path: Path) -> dict[str, str]:
    with safe_open(path, framework="pt") as file:
        return file.metadata()


@pytest.mark.parametrize(
    ("scales", "distilled", "begin", "version"),
    [(FIXED, OF_NUMBERS, (1.0, 1.0), 1), (RANGE, OF_RANGE, (3.0, 5.0), 2)],
)
def test_the_trainers_file_says_for_which_scales(
    base: Path, tmp_path: Path, scales: dict, distilled: Distilled, begin: tuple, version: int
):
    """Readers that know of no range refuse it, as they would sample something else."""
    metadata = metadata_of(write_distilled(tmp_path / "lora.safetensors", base, scales))
    assert json.loads(metadata["stdrc"])["format_version"] == version
    facts = from_metadata(metadata)
    assert facts.distilled == distilled
    decision = LayoutChoice().decide([metadata], {})
    assert decision.distilled == distilled
    assert (decision.text_scale, decision.reference_scale) == begin
    assert distilled.advice in decision.sentence


def test_the_embedding_comes_back_from_the_file_and_the_lora_merges(base: Path, tmp_path: Path):
    path = write_distilled(tmp_path / "lora.safetensors", base, RANGE)
    embedding = read_guidance_embedding(path)
    stored = load_file(path)
    # Two linear layers, by hand.
    hidden = stored["stdrc_guidance_embedding.linear_1.weight"] @ torch.tensor([2.0, 3.0]) / 5
    hidden = torch.nn.functional.silu(hidden + stored["stdrc_guidance_embedding.linear_1.bias"])
    expected = stored["stdrc_guidance_embedding.linear_2.weight"] @ hidden
    expected = expected + stored["stdrc_guidance_embedding.linear_2.bias"]
    torch.testing.assert_close(embedding.bias_change(2.0, 3.0), expected)
    merge_lora(load_backbone(base, dtype=torch.float32), path)
    fixed = write_distilled(tmp_path / "fixed.safetensors", base, FIXED)
    assert read_guidance_embedding(fixed) is None
    del stored["stdrc_guidance_embedding.linear_1.bias"]
    save_file(stored, tmp_path / "torn.safetensors")
    with pytest.raises(ValueError, match=r"torn.safetensors has an embedding .* not whole; needs"):
        read_guidance_embedding(tmp_path / "torn.safetensors")


def options(text_scale: float, reference_scale: float) -> GuidanceOptions:
    return GuidanceOptions(text_scale=text_scale, reference_scale=reference_scale)


@pytest.mark.parametrize(
    ("distilled", "scales", "words"),
    [
        (OF_NUMBERS, (1, 1), None),
        (OF_NUMBERS, (2.0, 4.0), "guided twice"),
        (OF_NUMBERS, (1, 4), "they need 1 and 1"),
        (OF_RANGE, (1, 1), None),
        (OF_RANGE, (1, 8), None),
        (OF_RANGE, (6, 1), None),
        (OF_RANGE, (6.5, 2), "text_scale 1 to 6"),
        (OF_RANGE, (2, 0.5), "they need numbers that are within"),
        (OF_RANGE, (GuidanceCurve(start=5, end=1), 2), "they need numbers"),
    ],
)
def test_scales_that_are_not_the_weights_are_doubted(
    distilled: Distilled, scales: tuple, words: str | None
):
    doubt = distilled.doubt(options(*scales))
    assert (doubt is None) == (words is None)
    if words:
        assert words in doubt
        assert f"reference_scale {scales[1]}" in doubt


def test_a_run_of_a_range_embeds_what_was_asked_for():
    one, scales = OF_RANGE.in_one_pass(options(2.5, 3.0), (3.0, 5.0))
    assert (one.text_scale, one.reference_scale, scales) == (1.0, 1.0, (2.5, 3.0))
    preset = GuidanceOptions(**PRESETS["one-pass"])
    assert OF_RANGE.in_one_pass(preset, (3.0, 5.0)) == (preset, (3.0, 5.0))
    asked = options(2.5, 3.0)
    assert OF_NUMBERS.in_one_pass(asked, (1.0, 1.0)) == (asked, None)
    with pytest.raises(ValueError, match="the same in all steps; needs numbers: leave curves out"):
        OF_RANGE.in_one_pass(options(GuidanceCurve(start=5, end=1), 2.0), (3.0, 5.0))


@pytest.mark.parametrize("value", ["high", [1, 2, 3], {"text_scale": [4, 1]}, {"text_scale": 2}])
def test_damaged_facts_are_told(base: Path, tmp_path: Path, value: object):
    metadata = metadata_of(write_distilled(tmp_path / "lora.safetensors", base, FIXED))
    facts = json.loads(metadata["stdrc"]) | {"distilled": value}
    with pytest.raises(ValueError, match=r"is damaged \(distilled was "):
        from_metadata({"stdrc": json.dumps(facts)})


BESIDE = "face.safetensors"


def two_loras() -> list[dict[str, str]]:
    """The metadata of an ST-DRC LoRA and of a student on it."""
    scales = {"text_scale": 1.0, "reference_scale": 1.0}
    student = trained_for(**scales, distilled=OF_NUMBERS, base_loras=(BESIDE,))
    return [trained_for().lora_metadata(), student.lora_metadata()]


@pytest.mark.parametrize("is_last", [True, False])
def test_a_student_decides_wherever_the_lora_under_it_stands(is_last: bool):
    metadata = two_loras()[:: -1 if is_last else 1]
    files = ("student.safetensors", BESIDE)[:: 1 if is_last else -1]
    decision = LayoutChoice(lora_files=files).decide(metadata, {})
    assert decision.distilled == OF_NUMBERS
    assert (decision.text_scale, decision.reference_scale) == (1.0, 1.0)
    assert not decision.is_doubtful
    assert BESIDE not in decision.sentence


@pytest.mark.parametrize(
    ("files", "is_missed"),
    [
        ((BESIDE, "student.safetensors"), False),
        (("a/b/face.safetensors", "c.safetensors"), False),
        (("faces\\face.safetensors", "c"), False),
        (("face", "c"), False),
        # Both runs called their weights alike.
        (("student/face.safetensors", BESIDE), False),
        ((BESIDE,), True),
        (("student.safetensors",), True),
        (("my_face.safetensors", "face.pt"), True),
        # Nobody told what is on the model.
        ((), False),
    ],
)
def test_a_lora_that_lies_under_the_weights_is_missed_by_name(
    files: tuple[str, ...], is_missed: bool
):
    metadata = two_loras()[1:]
    decision = LayoutChoice(lora_files=files).decide(metadata, {})
    assert decision.is_doubtful is is_missed
    assert ("model with face.safetensors merged" in decision.sentence) is is_missed


def test_a_lora_after_the_node_may_be_the_one_that_is_missed():
    """Its metadata are on the model, while the workflow's part before the node does not name it."""
    decision = LayoutChoice(lora_files=("student.safetensors",)).decide(two_loras(), {})
    assert not decision.is_doubtful


@pytest.mark.parametrize("on_top", ["lora", "adapter by name", "adapter by file"])
def test_distilled_full_weights_are_one_pass_under_any_lora(on_top: str):
    scales = {"text_scale": 1.0, "reference_scale": 1.0}
    facts = trained_for(**scales, distilled=OF_NUMBERS).facts()
    adapter = known_by_name("Best-Face-ID v1.0")
    choice = {
        "lora": LayoutChoice(),
        "adapter by name": LayoutChoice(adapter=adapter),
        "adapter by file": LayoutChoice(lora_files=(f"{adapter.file_stems[0]}.safetensors",)),
    }[on_top]
    metadata = [trained_for().lora_metadata()] if on_top == "lora" else [{}]
    plain = choice.decide(metadata, {})
    assert plain.distilled is None
    decision = choice.decide(metadata, {"stdrc": facts})
    assert decision.layout == plain.layout
    assert decision.distilled == OF_NUMBERS
    assert (decision.text_scale, decision.reference_scale) == (1.0, 1.0)
    assert OF_NUMBERS.advice in decision.sentence


def test_a_student_of_full_weights_misses_them_on_others():
    student = trained_for(distilled=OF_NUMBERS, base_model="face_full.safetensors")
    alone = LayoutChoice().decide([student.lora_metadata()], {})
    assert alone.is_doubtful
    assert "distilled from face_full.safetensors, which knows the reference" in alone.sentence
    on_them = LayoutChoice().decide([student.lora_metadata()], {"stdrc": trained_for().facts()})
    assert not on_them.is_doubtful
