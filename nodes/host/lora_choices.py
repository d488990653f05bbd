"""Which LoRAs a loader's inputs choose: core's loaders, and those of popular node packs.

A choice is one of these, in an input with "lora" in its name:

* a file's name, with its strength and its switch in inputs of the same number: `lora_name` and
  `strength_model` (core), `lora_01` and `strength_01` (rgthree's stack), `lora_name_2`,
  `model_str_2` and `switch_2` (efficiency nodes, Comfyroll), `lora_1_name` and `lora_1_strength`;
* a dictionary: `{"on": true, "lora": name, "strength": 1}` (rgthree's Power Lora Loader),
  `{"active": true, "name": name, "strength": 1}` (LoRA Manager);
* a list of these, or of `[name, strength on the model, strength on the text encoder]`;
* any of these as JSON text.

Only what puts a LoRA on the model counts: one that is switched off, or whose strength on the model
is 0, is left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

_NO_FILE = ("", "none")
_OFF = ("off", "false", "no", "disable", "disabled")
_FILE_KEYS = ("lora", "lora_name", "name", "file", "filename", "file_name", "path")
_SWITCH_WORDS = frozenset(("on", "enable", "enabled", "active", "toggle", "switch"))
_STRENGTH_WORDS = frozenset(("strength", "weight", "wt", "str"))
_OTHER_STRENGTHS = frozenset(("clip", "two", "te", "text", "prompt"))
_COUNT_WORDS = frozenset(("count", "num", "number"))


def is_link(value: Any) -> bool:
    """Whether an input's value is the output of another node, `[id, output]`."""
    return (
        isinstance(value, list)
        and len(value) == 2
        and isinstance(value[0], str)
        and type(value[1]) is int
    )


def resolved(value: Any, graph: Mapping[str, Mapping[str, Any]]) -> Any:
    """Returns an input's value; that of a linked primitive node is the `value` that it holds."""
    if not is_link(value):
        return value
    held = graph.get(value[0], {}).get("inputs", {}).get("value", value)
    return value if is_link(held) else held


def chosen_loras(inputs: Mapping[str, Any]) -> list[str]:
    """Returns the file names that a node's `inputs` choose, in the order that it applies them."""
    return list(_of_node(inputs))


def _of_node(inputs: Mapping[str, Any]) -> Iterator[str]:
    if _is_off(inputs, ""):
        return
    most = min((int(n) for name, n in inputs.items() if _is_count(name, n)), default=None)
    for name, value in inputs.items():
        if "lora" not in name.lower() or is_link(value):
            continue
        choice, number = _parsed(value), _number_in(name)
        if not isinstance(choice, str):
            yield from _of_choice(choice)
        elif most is not None and number and int(number) > most:
            continue
        elif _is_file(choice) and not _is_off(inputs, number) and not _is_zero(inputs, number):
            yield choice


def _of_choice(choice: Any) -> Iterator[str]:
    """Yields the names in a dictionary or a list, however deep they lie in it."""
    if isinstance(choice, Mapping):
        file = next((choice[key] for key in _FILE_KEYS if isinstance(choice.get(key), str)), None)
        if _is_off(choice, ""):
            return
        if file is None:
            for value in choice.values():
                yield from _of_choice(value)
        elif _is_file(file) and not _is_zero(choice, ""):
            yield file
    elif isinstance(choice, list | tuple):
        if choice and isinstance(choice[0], str):
            if _is_file(choice[0]) and not (len(choice) > 1 and choice[1] == 0):
                yield choice[0]
        else:
            for value in choice:
                yield from _of_choice(value)


def _parsed(value: Any) -> Any:
    if isinstance(value, str) and value.lstrip().startswith(("[", "{")):
        try:
            return json.loads(value)
        except json.JSONDecodeError:
            return value
    return value


def _is_file(name: str) -> bool:
    return name.strip().lower() not in _NO_FILE


def _is_off(inputs: Mapping[str, Any], number: str) -> bool:
    """Whether a switch of this number is off; that of number "" is for the whole node or choice."""
    return any(
        value.strip().lower() in _OFF if isinstance(value, str) else value is False
        for name, value in inputs.items()
        if _number_in(name) == number and _SWITCH_WORDS & set(_words(name))
    )


def _is_zero(inputs: Mapping[str, Any], number: str) -> bool:
    """Whether the strength on the model is 0, in the inputs of this number or in those of none."""
    by_number = {
        each: [
            value
            for name, value in inputs.items()
            if _number_in(name) == each and _is_model_strength(name, _mode(inputs))
        ]
        for each in (number, "")
    }
    strengths = by_number[number] or by_number[""]
    return bool(strengths) and all(_as_number(value) == 0 for value in strengths)


def _mode(inputs: Mapping[str, Any]) -> str:
    """Returns which of its two kinds of strength a stack uses: "simple", "advanced", or ""."""
    modes = [value for name, value in inputs.items() if name in ("mode", "input_mode")]
    return next((mode for mode in modes if mode in ("simple", "advanced")), "")


def _is_model_strength(name: str, mode: str) -> bool:
    words = set(_words(name))
    if not words & _STRENGTH_WORDS or words & _OTHER_STRENGTHS:
        return False
    return mode == "" or ("model" in words) is (mode == "advanced")


def _is_count(name: str, value: Any) -> bool:
    words = set(_words(name))
    return type(value) is int and bool(words & {"lora", "loras"}) and bool(words & _COUNT_WORDS)


def _as_number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _number_in(name: str) -> str:
    digits = "".join(re.findall(r"\d+", name))
    return digits.lstrip("0") or digits


def _words(name: str) -> list[str]:
    """Returns the words of `model_strength` or `strengthTwo`, in lower case."""
    return [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)]
