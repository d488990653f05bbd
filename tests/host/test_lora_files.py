"""LoRA files merged into the backbone, against ComfyUI's own LoRA loader."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest
import torch
from helpers.comfyui import Worker
from safetensors.torch import save_file
from torch import Tensor

from stdrc_core.ltx.backbone import VideoBackbone, load_backbone
from stdrc_core.ltx.checkpoint import transformer_key
from stdrc_core.ltx.lora import merge_lora

LAYER = "transformer_blocks.0.attn1.to_q"
RANK = 3


@pytest.fixture(scope="module")
def loaded(mini_checkpoint: Path) -> VideoBackbone:
    return load_backbone(mini_checkpoint, dtype=torch.float32)


def ours(backbone: VideoBackbone, path: Path, strength: float) -> dict[str, Tensor]:
    """The weights that the file changes, under the host's names; the backbone stays as it was."""
    before = {name: value.clone() for name, value in backbone.transformer.named_parameters()}
    merge_lora(backbone, path, strength)
    changed = {
        transformer_key(name).removeprefix("model."): value.detach().clone()
        for name, value in backbone.transformer.named_parameters()
        if not torch.equal(value, before[name])
    }
    backbone.transformer.load_state_dict(before, strict=False)
    return changed


def drawn(*shape: int, seed: int) -> Tensor:
    return 0.2 * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def forms(size: int) -> dict[str, dict[str, Tensor]]:
    """Files that both read, of a square layer of the miniature."""
    up, down = drawn(size, RANK, seed=1), drawn(RANK, size, seed=2)
    flat = f"lora_unet_{LAYER.replace('.', '_')}"
    kohya = {
        f"{flat}.lora_up.weight": up,
        f"{flat}.lora_down.weight": down,
        f"{flat}.alpha": torch.tensor(2.0),
    }
    own = f"diffusion_model.{LAYER}"
    bare = {f"{own}.lora_B.default.weight": up, f"{own}.lora_A.default.weight": down}
    loha = {f"{flat}.hada_w{n}_a": drawn(size, RANK, seed=n) for n in (1, 2)}
    loha |= {f"{flat}.hada_w{n}_b": drawn(RANK, size, seed=5 + n) for n in (1, 2)}
    lokr = {
        f"{flat}.lokr_w1": drawn(4, 2, seed=3),
        f"{flat}.lokr_w2_a": drawn(size // 4, RANK, seed=4),
        f"{flat}.lokr_w2_b": drawn(RANK, size // 2, seed=5),
        f"{flat}.alpha": torch.tensor(1.5),
    }
    return {
        "kohya": kohya,
        "an adapter's name": bare,
        "dora_scale of rows": {**kohya, f"{flat}.dora_scale": 1 + drawn(size, 1, seed=6).abs()},
        "dora_scale of columns": {**kohya, f"{flat}.dora_scale": 1 + drawn(1, size, seed=7).abs()},
        "LoHa": {**loha, f"{flat}.alpha": torch.tensor(2.0)},
        "LoKr": lokr,
        "diff": {f"{own}.diff": drawn(size, size, seed=8), f"{own}.diff_b": drawn(size, seed=9)},
        "set_weight": {f"{own}.set_weight": drawn(size, size, seed=10)},
        "half precision": {
            key: value.half() if value.ndim else value for key, value in kohya.items()
        },
        "fp8": {
            key: value.to(torch.float8_e4m3fn) if value.ndim else value
            for key, value in kohya.items()
        },
        "Mochi": {f"{own}.lora_B": up, f"{own}.lora_A": down},
        "linear layers": {
            f"{own}.lora_linear_layer.up.weight": up,
            f"{own}.lora_linear_layer.down.weight": down,
        },
    }


@pytest.mark.parametrize("strength", [1.0, 0.6, -0.5])
@pytest.mark.parametrize("form", forms(8))
def test_a_file_changes_the_weights_that_it_changes_in_comfyui(
    host: Worker, loaded: VideoBackbone, tmp_path: Path, form: str, strength: float
):
    size = len(loaded.transformer.get_parameter(f"{LAYER}.weight"))
    # The host finds the first of files with one name.
    path = tmp_path / f"{uuid.uuid4().hex}.safetensors"
    save_file(forms(size)[form], path)
    theirs = host("loras.merged", path=str(path), strength=strength)
    got = ours(loaded, path, strength)
    assert got.keys() == theirs.keys()
    for name, weight in theirs.items():
        torch.testing.assert_close(got[name], weight, atol=1e-5, rtol=1e-5)
