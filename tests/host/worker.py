"""Runs in ComfyUI's Python: loads the host and this pack as the host does, then takes calls."""

from __future__ import annotations

import argparse
import asyncio
import importlib
import io
import logging
import os
import sys
import traceback
from multiprocessing.connection import Connection
from pathlib import Path

# The files of ComfyUI's own nodes that the scenarios use.
CORE_NODES = (
    "lt",
    "custom_sampler",
    "edit_model",
    "context_windows",
    "model_advanced",
    "easycache",
    "torch_compile",
)


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("comfyui", "pack", "base-directory", "connection"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--cpu", action="store_true")
    args = parser.parse_args()
    # The host's modules (it has a top-level `nodes` too) come first, and it reads sys.argv itself.
    sys.path[0] = args.comfyui
    sys.path.append(str(Path(__file__).parent))
    sys.argv = ["main.py", "--base-directory", args.base_directory]
    if args.cpu:
        sys.argv.append("--cpu")
    logging.basicConfig(level=logging.INFO)

    import comfy.options

    comfy.options.enable_args_parsing()
    # As main.py does: `nodes` puts a folder first on the path whose `utils` is another module.
    importlib.import_module("utils.install_util")
    import nodes

    for extra in CORE_NODES:
        asyncio.run(
            nodes.load_custom_node(
                os.path.join(args.comfyui, "comfy_extras", f"nodes_{extra}.py"),
                module_parent="comfy_extras",
            )
        )
    if not asyncio.run(nodes.load_custom_node(args.pack)):
        raise RuntimeError("ComfyUI did not load the pack")
    serve(Connection(int(args.connection)))


def serve(connection: Connection) -> None:
    import torch

    while True:
        try:
            request = connection.recv_bytes()
        except EOFError:
            return
        scenario, arguments = torch.load(io.BytesIO(request), weights_only=True)
        module, function = scenario.rsplit(".", 1)
        try:
            run = getattr(importlib.import_module(f"scenarios.{module}"), function)
            # As the host runs its nodes.
            with torch.inference_mode():
                answer = ["ok", run(**arguments)]
        # Every failure of a scenario, an interrupt's BaseException too, is for the test that asked.
        except BaseException as error:  # noqa: BLE001
            answer = ["error", [type(error).__name__, str(error), traceback.format_exc()]]
        buffer = io.BytesIO()
        torch.save(answer, buffer)
        connection.send_bytes(buffer.getvalue())


if __name__ == "__main__":
    main()
