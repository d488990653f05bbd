"""What a run is said to take, against what loaded weights and real backward passes take."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKLLTX2Video
from helpers import mini_run, published_vae, tiny_ltx
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from stdrc_core.ltx.backbone import VideoBackbone
from stdrc_core.ltx.vae import VideoVAE, diffusers_config
from stdrc_core.mini.config import NUM_LAYERS, VIDEO_DIM
from stdrc_core.train.assemble import assemble
from stdrc_core.train.config import TrainableSection
from stdrc_core.train.estimate import KEPT_PER_PIXEL, KEPT_PER_TOKEN, describe, estimate
from stdrc_core.train.trainable import make_trainable

CPU = torch.device("cpu")


class PeakOfLiveBytes(TorchDispatchMode):
    """The most bytes that tensors made in this context held at once."""

    def __init__(self) -> None:
        super().__init__()
        self.live: dict[int, tuple[StorageWeakRef, int]] = {}
        self.peak = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                storage = tensor.untyped_storage()
                self.live[storage._cdata] = (StorageWeakRef(storage), storage.nbytes())
        self.live = {key: kept for key, kept in self.live.items() if not kept[0].expired()}
        self.peak = max(self.peak, sum(size for _, size in self.live.values()))
        return result


@pytest.mark.parametrize("checkpoints", [False, True])
def test_the_decoders_part_is_what_its_backward_pass_holds(checkpoints: bool):
    """The published decoder on the meta device, which has sizes and no numbers."""
    with torch.device("meta"):
        settings = diffusers_config(published_vae.LTX_2_3)
        vae = VideoVAE(AutoencoderKLLTX2Video(**settings).bfloat16())
        latent = torch.empty(1, 128, 2, 4, 4, dtype=torch.bfloat16, requires_grad=True)
    if checkpoints:
        vae.enable_gradient_checkpointing()
    with PeakOfLiveBytes() as memory:
        pixels = vae.vae.decode(latent).sample
        pixels.float().sum().backward()
    num_pixels = pixels[0, 0].numel()
    assert memory.peak / 2 / num_pixels == pytest.approx(KEPT_PER_PIXEL[checkpoints], rel=0.1)


def test_a_blocks_part_is_what_autograd_saves_in_it():
    """By the difference between two clips: weights and prompt are kept once, whatever the clip."""
    num_heads = 8
    settings = tiny_ltx.LTX_2_3 | {
        "num_layers": 2,
        "num_attention_heads": num_heads,
        "cross_attention_dim": 24 * num_heads,
        "caption_channels": 24 * num_heads,
    }
    backbone = VideoBackbone(tiny_ltx.build_tiny(settings)).bfloat16()
    make_trainable(backbone, TrainableSection(rank=2), 0)
    # The second: the first block's input takes no gradient, so that it keeps less.
    block = backbone.transformer.transformer_blocks[1]
    saved: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    saving = saved_tensors_hooks(pack, lambda tensor: tensor)
    block.register_forward_pre_hook(lambda *_: saving.__enter__())
    block.register_forward_hook(lambda *_: saving.__exit__(None, None, None))
    context = torch.randn(1, 8, backbone.context_dim)
    sizes = []
    for num_frames in (8, 16):
        saved.clear()
        with torch.autocast("cpu", torch.bfloat16):
            video, reference = torch.randn(1, 128, num_frames, 4, 4), torch.randn(1, 128, 1, 4, 4)
            kept = backbone(
                video, torch.tensor([0.5]), context, frame_rate=24.0, reference=reference
            )
        sizes.append(sum(saved.values()))
        del kept
    (marginal,) = (more - less for less, more in pairwise(sizes))
    per_token = marginal / (8 * 4 * 4) / (24 * num_heads) / 2
    assert per_token == pytest.approx(KEPT_PER_TOKEN, rel=0.1)


def test_8_bit_weights_are_counted_as_they_lie_in_memory(
    tmp_path: Path, mini_checkpoint: Path, mini_cache: Path
):
    model = {"checkpoint": mini_checkpoint, "dtype": "bfloat16", "quantization": "int8"}
    config = mini_run.config(tmp_path, mini_checkpoint, mini_cache, model=model)
    parts = assemble(config, CPU)
    weights = [p for p in parts.model.parameters() if not p.requires_grad]
    in_memory = sum(getattr(p, "qdata", p).nbytes for p in weights)
    result = estimate(config)
    assert result.weights_bytes == in_memory
    assert result.num_parameters == sum(p.numel() for p in weights)
    vae = parts.objective.encode_references.vae.vae
    in_vae = sum(p.nbytes for part in (vae.encoder, vae.decoder) for p in part.parameters())
    assert result.vae_bytes == in_vae


def test_offload_takes_block_inputs_and_the_idle_vae_off_the_gpu(
    tmp_path: Path, mini_checkpoint: Path, mini_cache: Path
):
    def result(offload: bool, objective: dict[str, object]):
        model = {"checkpoint": mini_checkpoint, "dtype": "bfloat16", "offload": offload}
        return estimate(
            mini_run.config(tmp_path, mini_checkpoint, mini_cache, model=model, objective=objective)
        )

    without_faces = {"lambda_id": 0, "lambda_tic": 0}
    plain, offloaded = (result(offload, without_faces) for offload in (False, True))
    # Each block keeps, of two samples, 27 tokens of the model's width in two bytes each.
    saved = plain.activation_bytes - offloaded.activation_bytes
    assert saved == NUM_LAYERS * 2 * 27 * VIDEO_DIM * 2
    assert offloaded.vae_bytes == 0 < plain.vae_bytes
    assert plain.total_bytes > offloaded.total_bytes
    # The identity losses' gradients go through the decoder, which then has to stay.
    with_faces = result(True, {"lambda_id": 0.1, "face_pack": "any"})
    assert 0 < with_faces.vae_bytes < plain.vae_bytes
    assert f"VAE {plain.vae_bytes / 2**30:.2f}" in describe(plain)
