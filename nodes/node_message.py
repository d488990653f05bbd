"""Messages that a node shows on itself."""

from __future__ import annotations

from comfy_api.latest import io


def show_on_node(node: type[io.ComfyNode], sentence: str) -> None:
    """Shows `sentence` on the running node, whose schema has to ask for `io.Hidden.unique_id`.

    An empty one is not shown.
    """
    # A script that calls the node has no graph to show it in and no server.
    if sentence and node.hidden is not None and node.hidden.unique_id:
        from server import PromptServer

        PromptServer.instance.send_progress_text(sentence, node.hidden.unique_id)
