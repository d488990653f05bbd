"""What scenarios share: the pack's modules, the miniature, tiny models of the other families."""

from __future__ import annotations

import functools
import json
import sys
from types import ModuleType
from typing import Any

import comfy.ops
import comfy.sd
import folder_paths
import nodes
import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

FRAME_RATE = 24.0


def pack(name: str) -> ModuleType:
    """A module of the pack, under the name that the host gave it."""
    node = nodes.NODE_CLASS_MAPPINGS["STDRCApplyTASSRoPE"]
    root = node.__module__.removesuffix(".nodes.apply_tass_rope")
    return sys.modules[f"{root}.{name}"]


def node(node_id: str, **inputs: Any) -> Any:
    """Runs a node with its schema's defaults for what is left out; returns its outputs."""
    node_class = nodes.NODE_CLASS_MAPPINGS[node_id]
    output = node_class.execute(**(_defaults(node_class) | inputs))
    return output.result


def _defaults(node_class: Any) -> dict[str, Any]:
    inputs = node_class.define_schema().inputs
    return {i.id: i.default for i in inputs if getattr(i, "default", None) is not None}


@functools.cache
def _checkpoint() -> tuple[ModelPatcher, Any]:
    path = folder_paths.get_full_path_or_raise("checkpoints", "stdrc_mini.safetensors")
    model, _, vae, _ = comfy.sd.load_checkpoint_guess_config(path, output_clip=False)
    return model, vae


def mini_model() -> ModelPatcher:
    return _checkpoint()[0].clone()


def mini_vae() -> Any:
    return _checkpoint()[1]


def patched(model: ModelPatcher | None = None, **inputs: Any) -> ModelPatcher:
    return node("STDRCApplyTASSRoPE", model=model or mini_model(), **inputs)[0]


def with_lora(model: ModelPatcher, path: str, strength: float = 1.0) -> ModelPatcher:
    """Core's LoraLoaderModelOnly on a file; of files with one name, the host finds the first."""
    folder, _, name = path.rpartition("/")
    folder_paths.add_model_folder_path("loras", folder)
    return nodes.LoraLoaderModelOnly().load_lora_model_only(model, name, strength)[0]


def reference_arguments(model: ModelPatcher, reference: Tensor) -> dict[str, Any]:
    """The arguments that a patched transformer gets for a reference, as OUTER_SAMPLE makes them."""
    (attach,) = model.get_wrappers("outer_sample", "stdrc")
    layout = pack("nodes.host.weights").decide_layout(attach.keywords["choice"], model).layout
    return {"stdrc_reference": reference[:, :, None], "stdrc_layout": layout}


def conditioning(text: str, frame_rate: float = FRAME_RATE) -> list:
    (cond,) = node("STDRCMiniPrompt", text=text)
    return node("LTXVConditioning", positive=cond, negative=cond, frame_rate=frame_rate)[0]


def character(seed: int) -> Tensor:
    """The photo of a drawn person, `[1, h, w, 3]`."""
    return node("STDRCMiniCharacter", seed=seed)[0]


def latent(shape: list[int], seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def empty_video(num_frames: int, height: int, width: int, batch: int = 1) -> dict[str, Any]:
    """An empty video latent of T x H x W, as EmptyLTXVLatentVideo makes it."""
    return node(
        "EmptyLTXVLatentVideo",
        width=width * 32,
        height=height * 32,
        length=(num_frames - 1) * 8 + 1,
        batch_size=batch,
    )[0]


def sampler(name: str = "euler") -> Any:
    return node("KSamplerSelect", sampler_name=name)[0]


def sigmas(steps: int) -> Tensor:
    return node("LTXVScheduler", steps=steps, latent=None)[0]


def run_guider(guider: Any, video: dict[str, Any], steps: int = 3, seed: int = 3) -> Tensor:
    (noise,) = node("RandomNoise", noise_seed=seed)
    output, _ = node(
        "SamplerCustomAdvanced",
        noise=noise,
        guider=guider,
        sampler=sampler(),
        sigmas=sigmas(steps),
        latent_image=video,
    )
    return output["samples"]


TINY_TRANSFORMER = {
    "num_layers": 2,
    "num_attention_heads": 4,
    "attention_head_dim": 24,
    "cross_attention_dim": 96,
    "caption_channels": 64,
    "positional_embedding_max_pos": [20, 2048, 2048],
    "use_middle_indices_grid": True,
}


def tiny_ltxv(causal: bool) -> ModelPatcher:
    """LTX-Video 0.9.x with random weights: `LTXVModel`, interleaved RoPE."""
    from comfy.ldm.lightricks.model import LTXVModel

    config = TINY_TRANSFORMER | {"causal_temporal_positioning": causal}
    return _random_model(LTXVModel, config)


def tiny_ltxav_2_0(num_layers: int = 2) -> ModelPatcher:
    """LTX-2.0 with random weights: caption projection inside, no gates, no prompt AdaLN."""
    from comfy.ldm.lightricks.av_model import LTXAVModel

    config = TINY_TRANSFORMER | {
        "num_layers": num_layers,
        "causal_temporal_positioning": True,
        "rope_type": "split",
        "audio_num_attention_heads": 4,
        "audio_attention_head_dim": 8,
        "audio_cross_attention_dim": 32,
        "connector_num_attention_heads": 4,
        "connector_attention_head_dim": 16,
        "connector_num_layers": 1,
    }
    return _random_model(LTXAVModel, config)


def tiny_ltx_2_5() -> ModelPatcher:
    """LTX-2.5 with random weights, in the sizes of the miniature, whose prompts it takes."""
    return _tiny_ltx_2_5().clone()


@functools.cache
def _tiny_ltx_2_5() -> ModelPatcher:
    from comfy.ldm.lightricks.av_model import LTXAVModel

    sizes = pack("stdrc_core.mini.config").TRANSFORMER_CONFIG
    settings = {"ff_bias": False, "use_keyframes_abs_pos_embedding": True}
    return _random_model(LTXAVModel, sizes | settings)


def model_of(version: str) -> ModelPatcher:
    """The miniature, an LTX-2.3, or a tiny LTX-2.5."""
    return {"2.3": mini_model, "2.5": tiny_ltx_2_5}[version]()


def _random_model(model_class: type, config: dict[str, Any]) -> ModelPatcher:
    transformer = model_class(**config, operations=comfy.ops.disable_weight_init)
    generator = torch.Generator().manual_seed(5)
    weights = {
        key: torch.randn(value.shape, generator=generator) * (0.05 if value.ndim > 1 else 0.2)
        for key, value in transformer.state_dict().items()
    }
    metadata = {"config": json.dumps({"transformer": config})}
    return comfy.sd.load_diffusion_model_state_dict(weights, metadata=metadata)


class FixedNoise:
    """A NOISE that is given, not drawn."""

    seed = 0

    def __init__(self, value: Any) -> None:
        self.value = value

    def generate_noise(self, latent: dict[str, Any]) -> Any:
        return self.value


class Recorder:
    """A DIFFUSION_MODEL wrapper that notes what the transformer is given, and what it answers.

    Put on after the patch, it stands inside it; put on before, outside.
    """

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []

    def __call__(self, executor, x, timestep, context, attention_mask, frame_rate, *args, **kwargs):
        output = executor(x, timestep, context, attention_mask, frame_rate, *args, **kwargs)
        video, *audio = x if isinstance(x, list) else [x]
        self.calls.append(
            {
                "video": video.clone(),
                "audio_shapes": [list(part.shape) for part in audio],
                "timestep": timestep.clone(),
                "context": context.clone(),
                "frame_rate": frame_rate,
                "keyframe_idxs": args[1] if len(args) > 1 else kwargs.get("keyframe_idxs"),
                "denoise_mask": kwargs.get("denoise_mask"),
                "output": output[0].clone() if isinstance(output, list) else output.clone(),
                "kwargs": sorted(kwargs),
            }
        )
        return output

    def record(self, model: ModelPatcher) -> ModelPatcher:
        model = model.clone()
        model.add_wrapper_with_key("diffusion_model", "test_recorder", self)
        return model

    @property
    def num_tokens(self) -> int:
        """Tokens of all calls so far, each batch element counted."""
        shapes = [call["video"].shape for call in self.calls]
        return sum(shape[0] * shape[2] * shape[3] * shape[4] for shape in shapes)


def three_streams(model: ModelPatcher, reference: Tensor | dict[str, Any], **inputs: Any) -> Any:
    """A guider from the node, on fixed prompts where none are given."""
    latent = reference if isinstance(reference, dict) else {"samples": reference}
    (guider,) = node(
        "STDRCThreeStreamCFGGuider",
        **{
            "model": model,
            "positive": conditioning("a man runs"),
            "negative": conditioning(""),
            "reference": latent,
        }
        | inputs,
    )
    return guider


def guides(video: dict[str, Any], positive: list, negative: list, frames: list[int]) -> tuple:
    """Guides by core's LTXVAddGuide at these pixel frames: (positive, negative, latent)."""
    height, width = video["samples"].shape[-2:]
    for seed, frame in enumerate(frames):
        image = torch.rand(
            (1, height * 32, width * 32, 3), generator=torch.Generator().manual_seed(seed)
        )
        positive, negative, video = node(
            "LTXVAddGuide",
            positive=positive,
            negative=negative,
            vae=mini_vae(),
            latent=video,
            image=image,
            frame_idx=frame,
            strength=1.0,
        )
    return positive, negative, video


def text_conditioning(model: ModelPatcher, seed: int = 0) -> list:
    """A random prompt of the width that this model's transformer takes."""
    transformer = model.model.diffusion_model
    width = transformer.caption_channels
    options: dict[str, Any] = {"frame_rate": FRAME_RATE}
    if type(transformer).__name__ == "LTXVModel":
        options["attention_mask"] = torch.ones(1, 8, dtype=torch.int64)
    elif transformer.caption_proj_before_connector:
        width = transformer.cross_attention_dim + transformer.audio_cross_attention_dim
    else:
        width *= 2
    return [[latent([1, 8, width], seed=100 + seed), options]]
