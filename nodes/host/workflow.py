"""What the workflow tells about a node's model, read off the prompt that the host queued."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .lora_choices import chosen_loras, is_link, resolved

Graph = Mapping[str, Mapping[str, Any]]


def lora_files_before(graph: Graph, node_id: str) -> tuple[str, ...]:
    """Returns the file names of the LoRAs on the model that comes into `node_id`, nearest first.

    `graph` is the host's prompt: `{id: {"inputs": {name: value or [id, output]}}}`. Of several
    LoRAs of one node the one that it applies last comes first. LoRAs that are switched off, or have
    strength 0 on the model, are not on it (`lora_choices`). The chain is followed by the inputs
    named `model`, and from a node to the stacks of LoRAs that are linked to it; so loaders that are
    chained otherwise are not found.
    """
    return tuple(_names(graph, node_id))


def _names(graph: Graph, node_id: str) -> Iterator[str]:
    seen: set[str] = set()
    while node_id in graph and node_id not in seen:
        seen.add(node_id)
        yield from reversed(_applied(graph, node_id, set()))
        link = graph[node_id].get("inputs", {}).get("model")
        if not isinstance(link, list) or not link:
            return
        node_id = str(link[0])


def _applied(graph: Graph, node_id: str, seen: set[str]) -> list[str]:
    """Returns the LoRAs of a node in the order in which it applies them: linked stacks first."""
    if node_id not in graph or node_id in seen:
        return []
    seen.add(node_id)
    inputs = graph[node_id].get("inputs", {})
    values = {name: resolved(value, graph) for name, value in inputs.items()}
    before = [
        each
        for name, value in values.items()
        if "lora" in name.lower() and is_link(value)
        for each in _applied(graph, value[0], seen)
    ]
    return [*before, *chosen_loras(values)]
