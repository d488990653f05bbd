"""LTX-2.5 in a host that knows it: what is so on LTX-2.3, and the marker of single frames."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers.comfyui import Worker
from helpers.equation_4 import equation_4
from torch import Tensor

from stdrc_core.method.layout import Placement

pytestmark = pytest.mark.host

T, H, W = 3, 4, 4
FRAME = H * W


@pytest.fixture(autouse=True)
def knows_ltx_2_5(host: Worker) -> None:
    if not host("backbone.knows_ltx_2_5"):
        pytest.skip("this ComfyUI does not know LTX-2.5")


@pytest.mark.parametrize("placement", ["tass", "overlap", "temporal_only", "spatial_only"])
@pytest.mark.parametrize("guides", [[], [0, 8]])
def test_bounds_that_reach_the_rope_are_equation_4(
    host: Worker, placement: str, guides: list[int]
) -> None:
    grid = {"num_frames": 4, "height": 2, "width": 3}
    got = host(
        "tokens.rope_inputs",
        **grid,
        frame_rate=24.0,
        placement=placement,
        guides=guides,
        version="2.5",
    )
    expected = torch.tensor(equation_4(*grid.values(), placement))
    in_seconds = expected.float()
    in_seconds[0] *= 1.0 / 24.0
    (index,) = [i for i, n in enumerate(got["num_frames"]) if n == 4 + len(guides) + 1]
    assert torch.equal(got["keyframe_idxs"][index][0, :, -6:], expected)
    assert torch.equal(got["rope"][index][0, :, -6:], in_seconds)
    assert torch.all(got["timestep"][index][:, -6:] == 0)


@pytest.mark.parametrize(
    ("case", "strength"),
    [("plain", 1.0), ("inpaint", 1.0), ("weak guide", 0.4), ("video guide", 1.0), ("audio", 0.4)],
)
def test_sampled_frames_equal_core_with_the_reference_appended_by_hand(
    host: Worker, case: str, strength: float
) -> None:
    got = host(
        "by_hand.compare",
        case=case,
        grid=[T, H, W],
        bounds=torch.tensor(equation_4(T, H, W, "tass")),
        strength=strength,
        version="2.5",
    )
    for ours, by_hand in zip(got["ours"], got["by_hand"], strict=True):
        assert relative_difference(ours, by_hand) < 1e-5


@pytest.mark.parametrize(("s_y", "s_r"), [(5.0, 7.5), (3.0, 2.0), (5.0, 5.0), (1.0, 7.5)])
def test_equation_13_is_cores_dual_cfg(host: Worker, s_y: float, s_r: float) -> None:
    got = host("guidance.against_dual_cfg", text_scale=s_y, reference_scale=s_r, version="2.5")
    assert relative_difference(got["ours"], got["dual"]) < 1e-5
    assert got["num_tokens"] <= got["num_dual_tokens"]


def test_without_a_reference_it_is_the_unpatched_model_bit_for_bit(host: Worker) -> None:
    got = host("together.family", name="ltx-2.5")
    assert torch.equal(got["unpatched"], got["patched_without"])
    assert relative_difference(got["first"], got["second"]) > 1e-3
    bare, patched = host("ltx25.audio_without_a_reference")
    for part in ("video", "audio"):
        assert torch.equal(patched[part], bare[part])


def assert_only_the_video_is_marked(got: dict[str, Any], num_reference_tokens: int) -> None:
    """Of each stream the tokens of the first frame, and of vyr as many others as there are."""
    assert len(got["marked"]) == 3
    *others, both = got["marked"]
    assert len(both) == len(others[0]) + num_reference_tokens
    for tokens in got["marked"]:
        assert tokens.nonzero().flatten().tolist() == list(range(FRAME))


@pytest.mark.parametrize("placement", [placement.value for placement in Placement])
def test_no_placement_gives_a_reference_the_marker(host: Worker, placement: str) -> None:
    """It stands for a frame of the video; `overlap` and others stand at time 0, as that frame."""
    got = host("ltx25.marked", placement=placement)
    assert_only_the_video_is_marked(got, FRAME)


@pytest.mark.parametrize(
    ("options", "num_tokens"),
    [
        ({"num_references": 3}, 3 * FRAME),
        ({"native": [5, 3]}, 15),
        ({"native": [5, 3], "num_references": 2}, 30),
        ({"native": [2, 2]}, 4),
        ({"reference_timestep": "shared"}, FRAME),
        ({"temporal_offset": -2}, FRAME),
        ({"strength": 0.4}, FRAME),
        ({"has_audio": True}, FRAME),
        ({"guides": [0]}, FRAME),
        ({"guides": [0, 8], "native": [5, 3], "strength": 0.4}, 15),
    ],
    ids=str,
)
def test_nor_do_several_nor_those_of_a_size_of_their_own(
    host: Worker, options: dict[str, Any], num_tokens: int
) -> None:
    got = host("ltx25.marked", placement="overlap", **options)
    assert_only_the_video_is_marked(got, num_tokens)


@pytest.mark.parametrize(
    ("placement", "options"),
    [("tass", {}), ("overlap", {"guides": [0]}), ("overlap", {"native": [5, 3]})],
    ids=str,
)
def test_generated_keyframes_keep_theirs_beside_a_reference(
    host: Worker, placement: str, options: dict[str, Any]
) -> None:
    """They stand behind the guides, and T of Eq. 4 counts neither."""
    if not host("ltx25.knows_generated_keyframes"):
        pytest.skip("this ComfyUI's LTX-2.5 has no generated keyframes")
    got = host("ltx25.marked", placement=placement, keyframes=[4, 12], **options)
    first = (T + len(options.get("guides", []))) * FRAME
    expected = [*range(FRAME), *range(first, first + 2 * FRAME)]
    for tokens in got["marked"]:
        assert tokens.nonzero().flatten().tolist() == expected
    if "native" not in options:
        bounds = torch.tensor(equation_4(T, H, W, placement))
        assert torch.equal(got["bounds"][0, :, -FRAME:], bounds)


GUIDANCE = {
    "stg": {"node_id": "LTXVSpatioTemporalGuidance", "scale": 1.5, "blocks": "1"},
    "stg of all blocks": {
        "node_id": "LTXVSpatioTemporalGuidance",
        "scale": 0.7,
        "blocks": "0, 1, 2, 3",
    },
    "modality": {"node_id": "LTXVModalityGuidance", "modality_scale": 3.0},
}


@pytest.mark.parametrize("patch_first", [True, False])
@pytest.mark.parametrize("name", GUIDANCE)
def test_cores_other_guidance_is_added_to_equation_13(
    host: Worker, name: str, patch_first: bool
) -> None:
    """As it is added to the text's estimate alone; and it does not let the audio see a photo."""
    got = host("ltx25.beside", patch_first=patch_first, **GUIDANCE[name])
    for part in ("video", "audio"):
        added = got["core with"][part] - got["core without"][part]
        assert added.norm() > 1e-4 * got["core without"][part].norm()
        expected = got["without"][part] + added
        torch.testing.assert_close(got["with"][part], expected, rtol=1e-4, atol=1e-4)
    assert torch.equal(got["with"]["audio"], got["other photo"]["audio"])
    assert relative_difference(got["with"]["video"], got["other photo"]["video"]) > 1e-3


def test_a_step_of_the_audio_is_the_same_with_any_photo_and_with_none(host: Worker) -> None:
    scales = {"text_scale": 3.0, "reference_scale": 7.5}
    one, another = host("audio.with_photos", version="2.5", **scales)
    assert torch.equal(one["audio"], another["audio"])
    by_core = host("audio.by_core", cfg=3.0, version="2.5")
    torch.testing.assert_close(one["audio"], by_core["audio"])
    assert relative_difference(one["video"], another["video"]) > 1e-3


def relative_difference(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm() / b.norm())
