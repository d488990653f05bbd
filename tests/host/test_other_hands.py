"""A guider that other packs copy, and give other prompts, models and scales, is what it would be
if it had been built with them."""

from __future__ import annotations

import pytest
import torch
from helpers.comfyui import Worker

pytestmark = pytest.mark.host


@pytest.mark.parametrize(
    ("how", "num_scales"),
    [("set_conds", 1), ("set_conds", 3), ("inner_set_conds", 1), ("original_conds", 1)],
)
def test_guides_added_to_a_copy_are_seen_by_every_stream(
    host: Worker, how: str, num_scales: int
) -> None:
    got = host("other_hands.guides_added", how=how, num_scales=num_scales)
    assert torch.equal(got["copy"], got["built"])
    assert torch.equal(got["original"], got["before"])
    assert all(got["raw_conds_are_the_inputs"])
    assert got["copy_has_the_new_ones"] in (True, [True, True])


def test_only_vyr_sees_a_reference_whatever_the_new_prompts_carry(host: Worker) -> None:
    got = host("other_hands.references_in_the_new_prompts")
    assert torch.equal(got["stray"], got["plain"])


def test_a_copy_samples_alike(host: Worker) -> None:
    first, *others = host("other_hands.copies").values()
    assert all(torch.equal(first, other) for other in others)


def test_a_guider_with_another_model_samples_with_that(host: Worker) -> None:
    got = host("other_hands.another_model")
    assert torch.equal(got["swapped"], got["built"])


@pytest.mark.parametrize("how", ["set_cfg", "cfg"])
@pytest.mark.parametrize("cfg", [1.0, 3.0, 7.5])
def test_another_cfg_is_another_text_scale(host: Worker, cfg: float, how: str) -> None:
    got = host("other_hands.another_cfg", cfg=cfg, how=how)
    assert torch.equal(got["set"], got["built"])


def test_cores_cfg_override_is_another_text_scale_in_its_part(host: Worker) -> None:
    if not host("audio_scale.has_node", node_id="CFGOverride"):
        pytest.skip("this ComfyUI has no CFG Override")
    got = host("other_hands.cfg_override", cfg=2.0, percent=0.4, steps=6)
    torch.testing.assert_close(got["override"], got["curve"], rtol=1e-5, atol=1e-5)
    assert not torch.allclose(got["override"], got["plain"], rtol=1e-3, atol=1e-3)
