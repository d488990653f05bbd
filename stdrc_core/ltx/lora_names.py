"""Which layer of the model a key of a LoRA file names, and which part of its change it is.

A key is a prefix, a layer and an ending. Trainers write one layer in three ways: under the single
file's name, under diffusers' name, or (kohya's) with underscores for the dots. The endings are
those that ComfyUI's loaders know (comfy/weight_adapter), and peft's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from .checkpoint import TRANSFORMER_PREFIX, transformer_key

# What may stand before a layer's name, once or several times.
_WRAPPERS = {
    *("base_model", "model", "diffusion_model", "transformer", "unet"),
    *("dit", "pipe", "net", "denoiser", "generator"),
    *("velocity_model", "module", "_orig_mod"),
}
_UNDERSCORED = re.compile(r"(lora|lycoris)_+")
_UNDERSCORED_WRAPPER = re.compile(r"(prior|unet|transformer|diffusion_model|model|dit)?_+")
# diffusers' first LoRAs belonged to a processor of the attention, and put an underscore before.
_OF_PROCESSOR = re.compile(r"_lora\.(up|down)\.weight$")

# Endings -> what a part is called here. A part that is not listed keeps its ending.
_PARTS: dict[str, str] = {
    r"lora_(A|down)(\.\w+)?\.weight|lora_A(\.default)?|lora(_linear_layer)?\.down\.weight": "down",
    r"lora_(B|up)(\.\w+)?\.weight|lora_B(\.default)?|lora(_linear_layer)?\.up\.weight": "up",
    r"lora_magnitude_vector(\.\w+)*": "magnitude",
    r"w_norm": "diff",
    r"b_norm": "diff_b",
}

# A file's parts: layer of the model -> part -> the key that holds it.
Parts = dict[str, dict[str, str]]


def known_layers(parameters: Iterable[str]) -> dict[str, str]:
    """Returns every way to write a layer -> the layer.

    `parameters` are the names of the parameters of diffusers' transformer. A layer is a parameter's
    name in the single file, without the file's prefix and without `.weight`.
    """
    layers = {}
    for name in parameters:
        layer = transformer_key(name).removeprefix(TRANSFORMER_PREFIX).removesuffix(".weight")
        for way in (layer, name.removesuffix(".weight")):
            layers[way] = layers[way.replace(".", "_")] = layer
    return layers


def sorted_by_layer(keys: Iterable[str], layers: Mapping[str, str]) -> tuple[Parts, list[str]]:
    """Returns the parts of the layers that keys name, and the keys that name none of them.

    `layers` is `known_layers`. Raises ValueError for two keys that are one part of one layer.
    """
    found: Parts = {}
    others = []
    for key in keys:
        place = _place(key, layers)
        if place is None:
            others.append(key)
            continue
        parts = found.setdefault(place[0], {})
        if place[1] in parts:
            raise ValueError(
                f"has {parts[place[1]]} and {key}, which are one part of the layer {place[0]}; "
                "needs one adapter: take a file with one of them."
            )
        parts[place[1]] = key
    return found, others


def without_wrappers(key: str) -> str:
    """Returns a key without the prefixes that trainers and wrappers of modules put before it."""
    first, _, rest = key.partition(".")
    return without_wrappers(rest) if first in _WRAPPERS and rest else key


def _place(key: str, layers: Mapping[str, str]) -> tuple[str, str] | None:
    """Returns the layer and the part that a key names, None where it names no layer."""
    key = _OF_PROCESSOR.sub(r".lora.\1.weight", key).replace(".processor.", ".")
    key = key.replace("._orig_mod.", ".")
    if begin := _UNDERSCORED.match(key):
        return _place_underscored(key[begin.end() :], layers)
    while key:
        words = key.split(".")
        for end in range(len(words) - 1, 0, -1):
            layer = layers.get(".".join(words[:end]))
            if layer is not None:
                return layer, _part(".".join(words[end:]))
        first, _, rest = key.partition(".")
        key = rest if first in _WRAPPERS else ""
    return None


def _place_underscored(name: str, layers: Mapping[str, str]) -> tuple[str, str] | None:
    name, _, ending = name.partition(".")
    while name:
        if name in layers:
            return layers[name], _part(ending)
        wrapper = _UNDERSCORED_WRAPPER.match(name)
        name = name[wrapper.end() :] if wrapper else ""
    return None


def _part(ending: str) -> str:
    return next((part for known, part in _PARTS.items() if re.fullmatch(known, ending)), ending)
