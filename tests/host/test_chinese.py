"""The nodes in Chinese: every name and tooltip, in the form that the host's page reads."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import requests
from helpers import PROJECT
from helpers.comfyui import PACK_NAME
from helpers.comfyui_page import open_page
from helpers.comfyui_server import Server

pytestmark = pytest.mark.host

WORDS = json.loads((PROJECT / "locales" / "zh" / "nodeDefs.json").read_text(encoding="utf-8"))
CHINESE = re.compile(r"[\u4e00-\u9fff]")
# A page in Chinese, before it is opened.
IN_CHINESE = {"Comfy.Locale": "zh"}


@pytest.fixture(scope="module")
def nodes(server: Server) -> dict[str, Any]:
    return {k: v for k, v in server.object_info().items() if k.startswith("STDRC")}


def declared_inputs(node: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Name -> options, of the required inputs and the optional ones."""
    return {
        name: spec[1] if len(spec) > 1 else {}
        for part in ("required", "optional")
        for name, spec in node["input"].get(part, {}).items()
    }


def test_every_node_is_there_and_no_other(nodes: dict[str, Any]) -> None:
    assert set(WORDS) == set(nodes)
    for node_id, words in WORDS.items():
        assert CHINESE.search(words["display_name"]), node_id
        assert CHINESE.search(words["description"]), node_id
    names = [words["display_name"] for words in WORDS.values()]
    assert len(set(names)) == len(names)


def test_every_input_and_output_has_its_name_and_its_tooltip(nodes: dict[str, Any]) -> None:
    for node_id, node in nodes.items():
        inputs = declared_inputs(node)
        assert set(WORDS[node_id]["inputs"]) == set(inputs), node_id
        for name, options in inputs.items():
            words = WORDS[node_id]["inputs"][name]
            assert words["name"], (node_id, name)
            assert ("tooltip" in words) == bool(options.get("tooltip")), (node_id, name)
            assert CHINESE.search(words.get("tooltip", "提示")), (node_id, name)

        outputs = WORDS[node_id]["outputs"]
        # The page looks an output up by its place.
        assert list(outputs) == [str(place) for place in range(len(node["output"]))], node_id
        for place, tooltip in enumerate(node["output_tooltips"] or [None] * len(outputs)):
            words = outputs[str(place)]
            assert words["name"], (node_id, place)
            assert ("tooltip" in words) == bool(tooltip), (node_id, place)


def test_no_word_has_a_character_that_the_page_would_read_as_a_command() -> None:
    # Its message format takes @ for a link, braces for a place to fill, | for a plural.
    text = (PROJECT / "locales" / "zh" / "nodeDefs.json").read_text(encoding="utf-8")
    for value in re.findall(r'": "((?:[^"\\]|\\.)*)"', text):
        assert not set(value) & set("@{}|"), value


def test_the_host_hands_the_words_to_its_page(server: Server) -> None:
    told = requests.get(f"{server.url}/i18n", timeout=60).json()["zh"]
    assert told["nodeDefs"] == WORDS
    assert set(told["nodeCategories"]) == {"ST-DRC", "miniature"}


@pytest.mark.browser
def test_a_page_in_chinese_shows_the_nodes_and_their_help_in_chinese(server: Server) -> None:
    settings = requests.get(f"{server.url}/api/settings", timeout=60).json()
    requests.post(f"{server.url}/api/settings", json=IN_CHINESE, timeout=60).raise_for_status()
    try:
        with open_page(server) as page:
            seen = page.evaluate(
                """() => {
                    const node = LiteGraph.createNode('STDRCThreeStreamCFGGuider');
                    app.graph.add(node);
                    return {
                        title: node.title,
                        inputs: Object.fromEntries(
                            node.inputs.map((input) => [input.name, input.localized_name])),
                        outputs: node.outputs.map((output) => output.localized_name),
                    };
                }"""
            )
    finally:
        back = {key: settings.get(key, "en") for key in IN_CHINESE}
        requests.post(f"{server.url}/api/settings", json=back, timeout=60).raise_for_status()
    words = WORDS["STDRCThreeStreamCFGGuider"]
    assert seen["title"] == words["display_name"]
    assert seen["outputs"] == [words["outputs"]["0"]["name"]]
    assert seen["inputs"] == {name: each["name"] for name, each in words["inputs"].items()}


def test_the_help_pages_are_where_the_page_looks(server: Server) -> None:
    """First by the language, then, where there is none, the English one."""
    docs = f"{server.url}/extensions/{PACK_NAME}/docs"
    for node_id, words in WORDS.items():
        page = requests.get(f"{docs}/{node_id}/zh.md", timeout=60)
        assert page.ok, node_id
        page.encoding = "utf-8"
        assert page.text.startswith(f"# {words['display_name']}\n")
        assert not requests.get(f"{docs}/{node_id}/fr.md", timeout=60).ok
        assert requests.get(f"{docs}/{node_id}.md", timeout=60).ok
