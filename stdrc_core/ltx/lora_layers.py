"""One layer of a LoRA file: which change its tensors make, or why they make none that is known."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from .checkpoint import TRANSFORMER_PREFIX, transformer_key
from .lora_changes import (
    Change,
    Decomposed,
    Difference,
    Hadamard,
    Kronecker,
    LowRank,
    NewWeight,
)

# Where diffusers writes how an adapter was trained (diffusers' loaders/lora_base).
_METADATA_KEY = "lora_adapter_metadata"
_ENDINGS = {"up": "lora_up", "down": "lora_down"}
_KNOWN = "LoRA, DoRA, LoHa, LoKr or differences"
# What the parts of kinds that are refused begin with, and what messages call them.
_REFUSED = {
    ("oft_", "boft_", "rescale"): "OFT",
    ("a1.", "a2.", "b1.", "b2."): "GLoRA",
    ("lora_mid", "hada_t", "lokr_t"): "a form for convolutions",
    ("reshape_weight",): "a layer of another size",
    ("lora_A.", "lora_B.", "lora_down.", "lora_up."): "a LoRA with biases or packed weights",
    ("weight", "bias", "scale_weight", "comfy_quant", "input_scale"): "whole weights, no LoRA",
}


@dataclass(frozen=True, kw_only=True)
class Scales:
    """What B A is multiplied by in layers that have no alpha beside them.

    ComfyUI takes 1. diffusers writes the factors into the file's metadata, as peft's settings.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    """peft's settings of the adapter: lora_alpha, alpha_pattern, use_rslora."""

    @classmethod
    def of(cls, metadata: Mapping[str, str]) -> Scales:
        """Reads a file's safetensors metadata. Raises ValueError where they are damaged."""
        if _METADATA_KEY not in metadata:
            return cls()
        try:
            stored = json.loads(metadata[_METADATA_KEY])
            settings = {key.removeprefix("transformer."): each for key, each in stored.items()}
            patterns = {
                _layer(name): float(alpha)
                for name, alpha in (settings.get("alpha_pattern") or {}).items()
            }
            float(settings.get("lora_alpha") or 1)
        except (ValueError, TypeError, AttributeError) as error:
            raise ValueError(
                f"has a damaged {_METADATA_KEY} in its metadata ({error}); needs the original "
                "file: get it again."
            ) from error
        return cls(settings={**settings, "alpha_pattern": patterns})

    def factor(self, layer: str, rank: int) -> float:
        """Returns the factor of a layer of this rank."""
        patterns = self.settings.get("alpha_pattern", {})
        own = (alpha for name, alpha in patterns.items() if f".{layer}".endswith(f".{name}"))
        alpha = next(own, self.settings.get("lora_alpha"))
        if alpha is None:
            return 1.0
        return float(alpha) / (math.sqrt(rank) if self.settings.get("use_rslora") else rank)


def changes_of(
    layer: str, tensors: Mapping[str, Tensor], weights: Mapping[str, Tensor], scales: Scales
) -> dict[str, Change]:
    """Returns the changes of a layer and of its bias, by their names in `weights`.

    `tensors` are those of the layer in the file, by the part that each is (lora_names). Raises
    ValueError, whose message goes on after the file's name, for tensors that make no known change,
    for those that do not fit the layer, and for numbers that are not finite.
    """
    own = dict(tensors)
    _require_finite(layer, own)
    made: dict[str, Change] = {}
    if "diff_b" in own:
        made[f"{layer}.bias"] = Difference(own.pop("diff_b"))
    shape = list(weights[layer].shape)
    if "reshape_weight" in own and own["reshape_weight"].tolist() == shape:
        del own["reshape_weight"]
    alpha = own.pop("alpha", None)
    magnitudes = [own.pop(part, None) for part in ("dora_scale", "magnitude")]
    # A few trainers leave the alpha of a layer that they did not train.
    if own or any(each is not None for each in magnitudes):
        made[layer] = _plain(layer, own, shape, None if alpha is None else float(alpha), scales)
    for name, change in made.items():
        if name not in weights:
            raise ValueError(
                f"changes {name}, which this model has not: take a LoRA that was trained for this "
                "model."
            )
        _require_fit(name, list(change.shape), list(weights[name].shape))
    for magnitude, is_pefts in zip(magnitudes, (False, True), strict=True):
        if magnitude is not None:
            made[layer] = Decomposed(made[layer], magnitude, layer, is_pefts=is_pefts)
    return made


def _require_finite(layer: str, tensors: Mapping[str, Tensor]) -> None:
    for part, tensor in tensors.items():
        if not tensor.float().isfinite().all():
            raise ValueError(
                f"has numbers that are not finite in {part} of {layer}, as a training that "
                "diverged leaves: take an earlier checkpoint of it."
            )


def _require_fit(name: str, found: list[int] | None, needed: list[int]) -> None:
    if found != needed:
        raise ValueError(
            f"has a change of shape {found} for {name}; this model's is {needed}: take a LoRA that "
            "was trained for this model."
        )


def _plain(
    layer: str,
    own: dict[str, Tensor],
    shape: list[int],
    alpha: float | None,
    scales: Scales,
) -> Change:
    """Returns the change that the tensors `own`, all of them, make without a magnitude.

    `shape` is the weight's; `own` is emptied.
    """

    def product(up: str, down: str) -> LowRank:
        left, right = own.pop(up, None), own.pop(down, None)
        if left is None or right is None:
            missing = up if left is None else down
            raise ValueError(
                f"lacks {_ENDINGS.get(missing, missing)} for {layer}; needs both halves: the file "
                "is damaged, get it again."
            )
        # The 1 x 1 convolutions of some trainers are linear layers.
        left, right = left.flatten(1), right.flatten(1)
        if not up.startswith("lokr"):
            _require_fit(layer, [left.shape[0], right.shape[1]], shape)
        if left.shape[1] != right.shape[0]:
            raise ValueError(
                f"has halves of ranks {right.shape[0]} and {left.shape[1]} for {layer}; needs one "
                "rank: the file is damaged, get it again."
            )
        return LowRank(left, right, 1.0)

    change: Change | None = None
    if {"up", "down"} & own.keys():
        halves = product("up", "down")
        rank = len(halves.down)
        scale = scales.factor(layer, rank) if alpha is None else alpha / rank
        change = replace(halves, scale=scale)
    elif "hada_w1_a" in own:
        first, second = (product(f"hada_w{n}_a", f"hada_w{n}_b") for n in (1, 2))
        scale = 1.0 if alpha is None else alpha / len(first.down)
        change = Hadamard(first, second, scale)
    elif any(part.startswith("lokr_w") for part in own):
        rank, factors = None, []
        for part in ("lokr_w1", "lokr_w2"):
            if part in own:
                factors.append(own.pop(part))
            else:
                halves = product(f"{part}_a", f"{part}_b")
                rank = len(halves.down)
                factors.append(halves.whole())
        scale = 1.0 if alpha is None or rank is None else alpha / rank
        change = Kronecker(*factors, scale)
    elif "diff" in own:
        change = Difference(own.pop("diff"))
    elif "set_weight" in own:
        change = NewWeight(own.pop("set_weight"))
    if own or change is None:
        raise ValueError(_refusal(layer, sorted(own)))
    return change


def _refusal(layer: str, parts: list[str]) -> str:
    if not parts:
        return f"has a length of DoRA alone for {layer}; needs what it is the length of."
    begins = (kind for some, kind in _REFUSED.items() if parts[0].startswith(some))
    kind = next(begins, "a kind that is not known")
    return (
        f"changes {layer} by {', '.join(parts)}, which is {kind}; needs {_KNOWN}: take another "
        "file."
    )


def _layer(name: str) -> str:
    """Returns the single file's name of diffusers' name of a layer, or of a part of one."""
    return transformer_key(name).removeprefix(TRANSFORMER_PREFIX)
