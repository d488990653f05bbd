"""A guided step at the published size on fake `cuda` tensors, by the nodes and the host."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any
from unittest import mock

import comfy.model_management
import comfy.sampler_helpers
import comfy.supported_models
import torch
from comfy.model_patcher import ModelPatcher
from comfy.nested_tensor import NestedTensor
from helpers.fake_cuda import CUDA, fake_cuda, filled
from scenarios import world
from torch import Tensor

_SETTINGS = {
    "num_layers": 48,
    "cross_attention_dim": 4096,
    "apply_gated_attention": True,
    "cross_attention_adaln": True,
    "caption_proj_before_connector": True,
    "caption_projection_first_linear": False,
    "positional_embedding_max_pos": [20, 2048, 2048],
    "causal_temporal_positioning": True,
    "use_middle_indices_grid": True,
    "rope_type": "split",
    "frequencies_precision": "float64",
    "connector_num_attention_heads": 32,
    "connector_attention_head_dim": 128,
    "audio_connector_num_attention_heads": 32,
    "audio_connector_attention_head_dim": 64,
    "connector_num_layers": 8,
    "connector_apply_gated_attention": True,
}
_OF_VERSION = {"2.3": {}, "2.5": {"ff_bias": False, "use_keyframes_abs_pos_embedding": True}}
_GIB = 2**30


def guided_step(version: str, way: str, stray: bool = False) -> str:
    """Samples a step with two references, in one of `WAYS`; `plain` has all of the layers.

    A `stray` run has the timesteps of the tokens on the CPU. Returns the error, or "".
    """
    with _on_fake_gpu():
        model = _model(version, num_layers=48 if way == "plain" else 2)
        try:
            with _timesteps_on_cpu() if stray else nullcontext():
                outputs = WAYS[way](model)
        # The test reads it.
        except Exception as error:  # noqa: BLE001
            return f"{type(error).__name__}: {error}"
        assert {output.dtype for output in outputs} == {torch.float32}
        return ""


@contextmanager
def _timesteps_on_cpu() -> Iterator[None]:
    in_context = world.pack("nodes.host.in_context")
    original = in_context._append_timestep
    with mock.patch.object(in_context, "_append_timestep", lambda *args: original(*args).cpu()):
        yield


@contextmanager
def _on_fake_gpu() -> Iterator[None]:
    """The host's memory is that of a GPU with all models on it already."""
    management = comfy.model_management
    replaced: dict[str, Callable[..., Any]] = {
        "get_torch_device": lambda: CUDA,
        "get_free_memory": lambda dev=None, torch_free_too=False: (
            (140 * _GIB, 140 * _GIB) if torch_free_too else 140 * _GIB
        ),
        "load_models_gpu": lambda *_, **__: None,
        "cuda_device_context": lambda _: nullcontext(),
    }
    with ExitStack() as stack:
        for name, stand_in in replaced.items():
            if hasattr(management, name):
                stack.enter_context(mock.patch.object(management, name, stand_in))
        # What the host's own code does is the host's.
        stack.enter_context(fake_cuda(of=_pack_folder()))
        yield


def _pack_folder() -> str:
    return str(Path(world.pack("nodes").__file__).parents[1])


def _model(version: str, num_layers: int) -> ModelPatcher:
    """LTX-2 with the published widths in bfloat16, its weights on the GPU."""
    settings = _SETTINGS | _OF_VERSION[version] | {"num_layers": num_layers}
    config = comfy.supported_models.LTXAV({"image_model": "ltxav", **settings})
    config.set_inference_dtype(torch.bfloat16, None)
    config.unet_config["dtype"] = torch.bfloat16
    model = config.get_model({}, "", device="meta")
    filled(model.diffusion_model, torch.bfloat16)
    filled(model.model_sampling, torch.float32, torch.device("cpu"))
    return ModelPatcher(model, load_device=CUDA, offload_device=torch.device("cpu"))


def _conditioning() -> list:
    return [[torch.randn(1, 1024, 4096 + 2048), {"frame_rate": 24.0}]]


def _sampled(
    model: ModelPatcher,
    video: Any = None,
    mask: Tensor | None = None,
    patch: dict[str, Any] | None = None,
    **inputs: Any,
) -> list[Tensor]:
    """What one step makes of a video, or of a video and its audio."""
    video = torch.zeros(1, 128, 7, 16, 24) if video is None else video
    inputs = {"positive": _conditioning(), "negative": _conditioning()} | inputs
    patched = world.patched(model, **(patch or {}))
    guider = world.three_streams(patched, torch.randn(2, 128, 1, 16, 24), **inputs)
    output = guider.sample(
        video + 0.0, video, world.sampler(), torch.tensor([0.9, 0.0]), denoise_mask=mask, seed=1
    )
    return [*output.unbind()] if output.is_nested else [output]


def _with_audio(model: ModelPatcher) -> list[Tensor]:
    parts = torch.zeros(1, 128, 7, 16, 24), torch.zeros(1, 8, 51, 16)
    return _sampled(model, NestedTensor(parts), audio_scale=2.0)


def _with_guides(model: ModelPatcher) -> list[Tensor]:
    """A guide of one latent frame, whose tokens count half."""
    entry = {"pre_filter_count": 384, "strength": 0.5, "pixel_mask": None}
    entry["latent_shape"] = [1, 16, 24]
    bounds = {"keyframe_idxs": torch.zeros(1, 3, 384, 2), "guide_attention_entries": [entry]}
    conds = [[context, more | bounds] for context, more in _conditioning()]
    video, mask = torch.zeros(1, 128, 8, 16, 24), torch.ones(1, 1, 8, 1, 1)
    return _sampled(model, video, mask, positive=conds, negative=conds)


def _from_a_first_frame(model: ModelPatcher) -> list[Tensor]:
    return _sampled(model, mask=torch.ones(1, 1, 7, 1, 1))


def _at_every_place(model: ModelPatcher) -> list[Tensor]:
    places = world.pack("stdrc_core.method.layout").Placement
    return [
        output
        for place in places
        for output in _sampled(model, patch={"placement": str(place)}, guidance_rescale=0.5)
    ]


WAYS: dict[str, Callable[[ModelPatcher], list[Tensor]]] = {
    "plain": _sampled,
    "audio": _with_audio,
    "guides": _with_guides,
    "first frame": _from_a_first_frame,
    "placements": _at_every_place,
}
