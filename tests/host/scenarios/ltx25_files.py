"""Files of LTX-2 whose settings the host does not get, and what the patch says of their models."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import comfy.ops
import comfy.sd
import torch
from comfy.ldm.lightricks.av_model import LTXAVModel
from comfy.model_patcher import ModelPatcher
from scenarios import gguf, world
from torch import Tensor

MARKER = "keyframes_abs_pos_embedding"
# What the host tells an LTX-2 by, of the audio tower.
_AUDIO = "audio_adaln_single.linear.weight"
# A file's settings that are not the host's defaults, of a layout with the sizes of these.
SETTINGS = {
    "causal_temporal_positioning": True,
    "use_middle_indices_grid": True,
    "rope_type": "split",
    "frequencies_precision": "float64",
}


def _weights(is_2_5: bool) -> dict[str, Tensor]:
    """The video branch of one narrow layer, under the host's own names.

    Of what the host builds besides, at full width since nothing tells it otherwise, only the tensor
    that it asks for is here; it takes files with parts missing.
    """
    config = {
        "num_layers": 1,
        "num_attention_heads": 32,
        "attention_head_dim": 4,
        "cross_attention_dim": 128,
    }
    transformer = LTXAVModel(
        **config, device=torch.device("meta"), operations=comfy.ops.disable_weight_init
    )
    weights = {
        name: torch.full(value.shape, 0.02)
        for name, value in transformer.state_dict().items()
        if not any(part in name for part in ("audio", "connector", "av_ca")) or name == _AUDIO
    }
    if is_2_5:
        weights = {k: v for k, v in weights.items() if not (".ff.net" in k and "bias" in k)}
        weights[MARKER] = torch.full((1, 128), 0.3)
    return weights


def _loaded(is_2_5: bool, settings: dict[str, Any] | None, operations: Any = None) -> ModelPatcher:
    metadata = None if settings is None else {"config": json.dumps({"transformer": settings})}
    options = {} if operations is None else {"custom_operations": operations}
    return comfy.sd.load_diffusion_model_state_dict(
        _weights(is_2_5), model_options=options, metadata=metadata
    )


class _GGUFLike(comfy.ops.manual_cast):
    """Layers that have what is in the file and nothing else, as ComfyUI-GGUF's."""

    class Linear(comfy.ops.manual_cast.Linear):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            torch.nn.Module.__init__(self)
            self.weight = self.bias = None

        def _load_from_state_dict(
            self, state_dict: dict[str, Tensor], prefix: str, *_: Any
        ) -> None:
            for name in ("weight", "bias"):
                if prefix + name in state_dict:
                    value = torch.nn.Parameter(state_dict[prefix + name], requires_grad=False)
                    setattr(self, name, value)


FILES: dict[str, Callable[[], ModelPatcher]] = {
    "2.5 without metadata": lambda: _loaded(True, None),
    "2.5 without metadata, GGUF": lambda: _loaded(True, None, _GGUFLike()),
    "2.5 whose settings are of an older file": lambda: _loaded(True, SETTINGS),
    "2.5 whose settings are of an older file, GGUF": lambda: _loaded(True, SETTINGS, _GGUFLike()),
    "2.5 with settings, GGUF": lambda: _loaded(True, SETTINGS | {"ff_bias": False}, _GGUFLike()),
    "2.0 without metadata": lambda: _loaded(False, None),
    "2.0 without metadata, GGUF": lambda: _loaded(False, None, _GGUFLike()),
    "2.0 with settings": lambda: _loaded(False, SETTINGS),
    "2.0 with settings, GGUF": lambda: _loaded(False, SETTINGS, _GGUFLike()),
}


def patch(name: str) -> None:
    """Apply TASS-RoPE Patch on the model of a file."""
    world.patched(FILES[name]())


def report(name: str) -> str:
    """What Inspect References says of it."""
    text = world.conditioning("a man runs")
    return world.node(
        "STDRCInspect",
        model=FILES[name](),
        positive=text,
        negative=text,
        reference={"samples": world.latent([1, 128, 1, 4, 4])},
        latent_image=world.empty_video(3, 4, 4),
    )[0]


def patch_ggufs_own(folder: str, file_folder: str) -> None:
    """The same on a GGUF file of LTX-2.5, by ComfyUI-GGUF's own loader."""
    from gguf import GGUFWriter

    name = "stdrc_tiny_2_5-F32.gguf"
    writer = GGUFWriter(f"{file_folder}/{name}", arch="ltxv")
    for key, weight in _weights(is_2_5=True).items():
        writer.add_tensor(key, weight.numpy())
    gguf.finish(writer)
    world.patched(gguf.load(folder, file_folder, name))
