"""What the workflow tells about a node's model, read off the prompt that the host queued."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Graph = Mapping[str, Mapping[str, Any]]


def lora_files_before(graph: Graph, node_id: str) -> tuple[str, ...]:
    """Returns the file names of the LoRAs on the model that comes into `node_id`, nearest first.

    `graph` is the host's prompt: `{id: {"inputs": {name: value or [id, output]}}}`. A node counts
    as a LoRA loader if one of its inputs has "lora" in its name. The chain is followed by the
    inputs named `model` alone, so loaders that are chained otherwise are not found.
    """
    return tuple(_names(graph, node_id))


def _names(graph: Graph, node_id: str) -> Iterator[str]:
    seen = set()
    while node_id in graph and node_id not in seen:
        seen.add(node_id)
        inputs = graph[node_id].get("inputs", {})
        for name, value in inputs.items():
            if "lora" in name.lower() and isinstance(value, str):
                yield value
        link = inputs.get("model")
        if not isinstance(link, list) or not link:
            return
        node_id = str(link[0])
