"""Three streams on models that other nodes have made faster or smaller."""

from __future__ import annotations

from typing import Any

import comfy.model_patcher
import comfy.ops
import comfy.sd
import comfy.utils
import folder_paths
import nodes
import torch
from comfy.model_patcher import ModelPatcher
from scenarios import audio, world
from torch import Tensor

T, H, W = 3, 4, 4
CHECKPOINT = "stdrc_mini.safetensors"


def sample(model: ModelPatcher, has_audio: bool = False, steps: int = 2, **inputs: Any) -> Tensor:
    """The video that our guider samples on a patched model."""
    guider = world.three_streams(model, world.latent([1, 128, 1, H, W]), **inputs)
    video = audio.latent() if has_audio else world.empty_video(T, H, W)
    output = world.run_guider(guider, video, steps=steps)
    return output.unbind()[0].clone() if output.is_nested else output


def plain(**inputs: Any) -> Tensor:
    return sample(world.patched(), **inputs)


def cached(
    node_id: str, patch_first: bool, threshold: float, steps: int, **inputs: Any
) -> dict[str, Any]:
    """A run with core's EasyCache or LazyCache, and what the transformer computed in it."""
    recorder, model = world.Recorder(), world.mini_model()

    def with_cache(model: ModelPatcher) -> ModelPatcher:
        return world.node(
            node_id, model=model, reuse_threshold=threshold, start_percent=0.0, end_percent=1.0
        )[0]

    model = with_cache(world.patched(model)) if patch_first else world.patched(with_cache(model))
    output = sample(recorder.record(model), steps=steps, **inputs)
    nothing = world.conditioning("")[0][0]
    calls = []
    for call in recorder.calls:
        for i in range(call["video"].shape[0]):
            sees = call["video"].shape[2] == T + 1
            is_empty = torch.equal(call["context"][i, : nothing.shape[1]], nothing[0])
            calls.append(
                {
                    "stream": "both" if sees else "empty" if is_empty else "text",
                    "video": call["video"][i : i + 1, :, :T],
                    "output": call["output"][i : i + 1, :, :T],
                }
            )
    return {"output": output, "calls": calls, "sigmas": world.sigmas(steps)}


def compiled(patch_first: bool, has_audio: bool, placement: str) -> dict[str, Any]:
    """Core's TorchCompileModel, and how many graphs it made.

    What is traced is the same with any backend; inductor, which the node offers, writes C++ for a
    quarter of an hour on a CPU.
    """
    from torch._dynamo.utils import counters

    torch.compiler.reset()
    counters.clear()
    model = world.tiny_ltxav_2_0(num_layers=1)
    prompts = {
        "positive": world.text_conditioning(model, 1),
        "negative": world.text_conditioning(model, 2),
    }

    def with_compile(model: ModelPatcher) -> ModelPatcher:
        return world.node("TorchCompileModel", model=model, backend="aot_eager")[0]

    def patched(model: ModelPatcher) -> ModelPatcher:
        return world.patched(model, placement=placement)

    fast = with_compile(patched(model)) if patch_first else patched(with_compile(model))
    result = {
        "compiled": sample(fast, has_audio, steps=1, **prompts),
        "plain": sample(patched(model), has_audio, steps=1, **prompts),
        "num_graphs": counters["stats"]["unique_graphs"],
    }
    torch.compiler.reset()
    return result


def with_other_attention(placement: str, has_audio: bool, strength: float) -> dict[str, Any]:
    """An override as SageAttention's nodes put it on a model, of our own writing here."""
    calls: list[bool] = []

    def attention(
        func: Any, q: Tensor, k: Tensor, v: Tensor, heads: int, mask: Any = None, **kwargs: Any
    ) -> Tensor:
        calls.append(mask is None)
        if mask is not None:
            return func(q, k, v, heads, mask=mask, **kwargs)
        q, k, v = (t.unflatten(-1, (heads, -1)).transpose(1, 2) for t in (q, k, v))
        weights = (q @ k.mT / q.shape[-1] ** 0.5).softmax(dim=-1)
        return (weights @ v).transpose(1, 2).flatten(-2)

    model = world.patched(placement=placement)
    other = model.clone()
    other.model_options["transformer_options"]["optimized_attention_override"] = attention
    (listed,) = world.node(
        "STDRCReferenceList",
        reference={"samples": world.latent([1, 128, 1, H, W])},
        strength=strength,
    )
    latent = audio.latent() if has_audio else world.empty_video(T, H, W)
    outputs = []
    for each in (model, other):
        output = world.run_guider(world.three_streams(each, listed), latent, steps=2)
        outputs.append(output.unbind() if output.is_nested else [output])
    return {
        "plain": [part.clone() for part in outputs[0]],
        "other": [part.clone() for part in outputs[1]],
        "num_calls": len(calls),
    }


def _file() -> tuple[dict[str, Tensor], Any]:
    path = folder_paths.get_full_path_or_raise("checkpoints", CHECKPOINT)
    weights, metadata = comfy.utils.load_torch_file(path, return_metadata=True)
    prefix = "model.diffusion_model."
    return {k: v for k, v in weights.items() if k.startswith(prefix)}, metadata


def in_fp8(weight_dtype: str) -> dict[str, Tensor]:
    """Core's UNETLoader at `weight_dtype`, and float32 weights that were rounded to it before."""
    folder = folder_paths.get_full_path_or_raise("checkpoints", CHECKPOINT).rpartition("/")[0]
    folder_paths.add_model_folder_path("diffusion_models", folder)
    (model,) = nodes.UNETLoader().load_unet(CHECKPOINT, weight_dtype)
    weights, metadata = _file()
    dtype = getattr(torch, weight_dtype.replace("fp8", "float8"))
    rounded = {key: value.to(dtype).float() for key, value in weights.items()}
    expected = comfy.sd.load_diffusion_model_state_dict(rounded, metadata=metadata)
    stored = {p.dtype for p in model.model.diffusion_model.parameters()}
    assert dtype in stored, stored
    return {
        "fp8": sample(world.patched(model)),
        "rounded": sample(world.patched(expected)),
        "exact": plain(),
    }


class Int8Ops(comfy.ops.manual_cast):
    """Weights that are dequantized when they are used, as GGUF's operations do it."""

    class Linear(comfy.ops.manual_cast.Linear):
        def _load_from_state_dict(self, state_dict, prefix, *args: Any, **kwargs: Any) -> None:
            super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
            weight = self.weight.data.float()
            self.scale = weight.abs().amax(dim=1, keepdim=True).clamp(min=1e-8) / 127
            self.int8 = (weight / self.scale).round().to(torch.int8)
            self.weight = torch.nn.Parameter(torch.zeros_like(weight), requires_grad=False)

        def forward(self, x: Tensor) -> Tensor:
            return torch.nn.functional.linear(x, (self.int8 * self.scale).to(x), self.bias)


class QuantizedPatcher(comfy.model_patcher.ModelPatcher):
    """Of the shape of GGUF's: another class, which clones keep, that loads weights its own way."""

    def load(self, *args: Any, force_patch_weights: bool = False, **kwargs: Any) -> Any:
        return super().load(*args, force_patch_weights=True, **kwargs)

    def clone(self, *args: Any, **kwargs: Any) -> QuantizedPatcher:
        own, self.__class__ = self.__class__, QuantizedPatcher
        cloned = super().clone(*args, **kwargs)
        cloned.__class__ = QuantizedPatcher
        self.__class__ = own
        return cloned


def quantized() -> dict[str, Any]:
    """A model of a patcher like GGUF's, and plain weights that were rounded as it rounds them."""
    weights, metadata = _file()
    model = comfy.sd.load_diffusion_model_state_dict(
        dict(weights), model_options={"custom_operations": Int8Ops}, metadata=metadata
    )
    model = QuantizedPatcher.clone(model)
    linear = {
        f"model.diffusion_model.{name}.weight": module.int8 * module.scale
        for name, module in model.model.diffusion_model.named_modules()
        if isinstance(module, Int8Ops.Linear)
    }
    expected = comfy.sd.load_diffusion_model_state_dict(weights | linear, metadata=metadata)
    patched = world.patched(model)
    return {
        "class": type(patched).__name__,
        "num_quantized": len(linear),
        "quantized": sample(patched),
        "rounded": sample(world.patched(expected)),
        "exact": plain(),
    }
