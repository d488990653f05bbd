"""ComfyUI's page in Chromium: opens it, and reads its graph."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from helpers.chromium import open_chromium
from helpers.comfyui_server import Server
from helpers.shipped_workflows import SUBGRAPHS, WORKFLOWS, make_placeholders

CHROMIUM_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
# What the page says of its graph and of the subgraphs in it: unknown node types, nodes in error,
# links that did not survive, and the values of each subgraph's box.
INSPECT = """() => {
    const graphs = [app.graph, ...app.graph.subgraphs.values()];
    const nodes = graphs.flatMap((graph) => graph.nodes);
    const boxes = app.graph.nodes.filter((node) => node.isSubgraphNode?.());
    return {
        nodes: nodes.map((node) => node.type),
        unknown: nodes.map((n) => n.type).filter((t) => !LiteGraph.registered_node_types[t]),
        red: nodes.filter((node) => node.has_errors).map((node) => node.type),
        links: graphs
            .map((graph) => graph.links.size ?? Object.keys(graph.links).length)
            .reduce((sum, each) => sum + each),
        errors: app.lastNodeErrors,
        boxes: boxes.map((box) => ({
            title: box.title,
            inputs: box.inputs.map((input) => input.name),
            outputs: box.outputs.map((output) => output.name),
            values: box.widgets.map((widget) => widget.value),
        })),
    };
}"""


@contextmanager
def open_page(server: Server) -> Iterator[Any]:
    """ComfyUI's page, its greeting dialogs closed, with names in place of model files."""
    for path in (*WORKFLOWS.glob("*.json"), *SUBGRAPHS.glob("*.json")):
        make_placeholders(json.loads(path.read_text()), server.base)
    with open_chromium(CHROMIUM_FLAGS) as browser:
        page = browser.new_page(viewport={"width": 2600, "height": 1100})
        page.goto(server.url, wait_until="domcontentloaded")
        page.wait_for_function(
            "window.app?.graph && Object.keys(LiteGraph.registered_node_types).length > 500",
            timeout=120_000,
        )
        page.wait_for_timeout(3000)
        close_dialogs(page)
        yield page


def visible_dialogs(page: Any) -> list[str]:
    return [d.inner_text() for d in page.query_selector_all("[role=dialog]") if d.is_visible()]


def close_dialogs(page: Any) -> None:
    for _ in range(5):
        if not visible_dialogs(page):
            return
        page.keyboard.press("Escape")
        page.wait_for_timeout(500)


def load(page: Any, graph: dict[str, Any]) -> dict[str, Any]:
    """Opens a graph in the page's form; returns what the page says of it."""
    page.evaluate("(graph) => app.loadGraphData(graph)", graph)
    page.wait_for_timeout(1500)
    return page.evaluate(INSPECT)


def queue_form(page: Any) -> dict[str, Any]:
    """What the page would queue."""
    prompt = page.evaluate("async () => (await app.graphToPrompt()).output")
    return {key: node for key, node in prompt.items() if "Note" not in node["class_type"]}


def press_run(page: Any) -> None:
    (run,) = [
        button
        for button in page.query_selector_all("button")
        if button.is_visible() and button.inner_text().strip() == "Run"
    ]
    run.click()
