"""Timesteps of latent frames against diffusers' own, which are one for each token."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from helpers.tiny_ltx import LTX_2_3, VERSIONS, build_tiny
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from stdrc_core.ltx.backbone import VideoBackbone
from stdrc_core.ltx.frame_modulation import PerFrame, modulated_by_frame
from stdrc_core.method.reference import ReferenceTimestep

FRAME_RATE = 24.0


class SizesMade(TorchDispatchMode):
    """Notes the number of elements of every tensor that an operation gives."""

    def __init__(self) -> None:
        super().__init__()
        self.largest = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        output = function(*args, **(kwargs or {}))
        sizes = [each.numel() for each in tree_leaves(output) if isinstance(each, Tensor)]
        self.largest = max([self.largest, *sizes])
        return output


def velocity(backbone: VideoBackbone, timestep: ReferenceTimestep, side: int = 3) -> Tensor:
    """Of three frames of `side` x 4 tokens, the first of them clean, and a reference."""
    generator = torch.Generator().manual_seed(7)
    video = torch.randn(1, 128, 3, side, 4, generator=generator)
    reference = torch.randn(1, 128, 1, side, 4, generator=generator)
    context = torch.randn(1, 8, backbone.context_dim, generator=generator)
    return backbone(
        video,
        torch.tensor([0.6]),
        context,
        frame_rate=FRAME_RATE,
        reference=reference,
        reference_timestep=timestep,
    )


def per_token(backbone: VideoBackbone) -> VideoBackbone:
    """A copy that diffusers' own code modulates, by a timestep for each token."""
    other = copy.deepcopy(backbone)

    def repeat(module, args: tuple, kwargs: dict) -> tuple:
        timestep, tokens = kwargs["timestep"], kwargs["hidden_states"].shape[1]
        repeated = timestep.repeat_interleave(tokens // timestep.shape[1], dim=1)
        module.time_embed._forward_hooks.clear()
        return args, kwargs | {"timestep": repeated}

    other.transformer.register_forward_pre_hook(repeat, with_kwargs=True)
    return other


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("checkpointing", [False, True])
def test_velocity_and_gradients_are_those_of_a_timestep_for_each_token(
    version: str, checkpointing: bool
):
    backbone = VideoBackbone(build_tiny(VERSIONS[version]))
    if checkpointing:
        backbone.transformer.enable_gradient_checkpointing()
    other = per_token(backbone)
    outputs = [velocity(each, ReferenceTimestep.CLEAN) for each in (backbone, other)]
    assert torch.equal(*outputs)
    for output in outputs:
        output.square().mean().backward()
    for (name, ours), theirs in zip(backbone.named_parameters(), other.parameters(), strict=True):
        # Sums over tokens are made in another order.
        torch.testing.assert_close(
            ours.grad, theirs.grad, rtol=1e-4, atol=1e-6 * theirs.grad.abs().max().item(), msg=name
        )


def kept_bytes(run: Callable[[], Tensor]) -> int:
    """How many bytes wait for the backward pass, each storage counted once."""
    storages: dict[int, int] = {}

    def note(saved: Tensor) -> Tensor:
        storages[saved.untyped_storage().data_ptr()] = saved.untyped_storage().nbytes()
        return saved

    with saved_tensors_hooks(note, lambda saved: saved):
        run()
    return sum(storages.values())


def test_a_clean_reference_keeps_no_more_than_one_at_the_videos_time():
    """Frames of 32 x 4 tokens: nothing is nine times the model's width for each of them."""
    backbone = VideoBackbone(build_tiny(LTX_2_3))
    clean, shared = (
        kept_bytes(lambda when=when: velocity(backbone, when, side=32))
        for when in (ReferenceTimestep.CLEAN, ReferenceTimestep.SHARED)
    )
    assert clean < 1.05 * shared


def test_no_modulation_of_all_tokens_is_made():
    backbone = VideoBackbone(build_tiny(LTX_2_3))
    largest = []
    for when in ReferenceTimestep:
        with SizesMade() as sizes, torch.no_grad():
            velocity(backbone, when, side=32)
        largest.append(sizes.largest)
    assert largest[0] == largest[1]


def test_nothing_of_it_is_left_when_the_call_ends_or_fails():
    backbone = VideoBackbone(build_tiny(LTX_2_3))
    velocity(backbone, ReferenceTimestep.CLEAN)
    assert not backbone.transformer.time_embed._forward_hooks
    with pytest.raises(ZeroDivisionError), modulated_by_frame(backbone.transformer, 12):
        1 / 0  # noqa: B018
    assert not backbone.transformer.time_embed._forward_hooks


def test_a_value_of_a_frame_counts_for_each_of_its_tokens():
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(2, 3, 5, generator=generator)
    tokens = torch.randn(2, 12, 5, generator=generator)
    repeated = values.repeat_interleave(4, dim=1)
    frames = PerFrame(values, 4)
    assert torch.equal(tokens * (1 + frames) + frames, tokens * (1 + repeated) + repeated)
    table = torch.randn(7, 5, generator=generator)
    parts = (table[None, None] + PerFrame(values[:, :, None], 4)).unbind(dim=2)
    for i, part in enumerate(parts):
        assert torch.equal(part.values, values + table[i])
