"""A headless ComfyUI server with this pack in it, and the calls a client makes to its queue."""

from __future__ import annotations

import json
import socket
import subprocess
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests
import websocket

from helpers.comfyui import ComfyUI

START_TIMEOUT_S = 180
RUN_TIMEOUT_S = 180


class Server:
    """`main.py --cpu` on a free port and a base directory of its own."""

    def __init__(self, comfyui: ComfyUI, base: Path) -> None:
        self.base = base
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._log_path = base / "server.log"
        with self._log_path.open("w") as log:
            self._process = subprocess.Popen(
                [
                    comfyui.python,
                    comfyui.path / "main.py",
                    *("--cpu", "--disable-auto-launch", "--port", str(self.port)),
                    *("--base-directory", base, "--database-url", "sqlite:///:memory:"),
                ],
                env=comfyui.environment,
                cwd=base,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._wait_until_up()

    def _wait_until_up(self) -> None:
        give_up_at = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < give_up_at:
            if self._process.poll() is not None:
                break
            try:
                requests.get(f"{self.url}/system_stats", timeout=5).raise_for_status()
            except requests.ConnectionError:
                time.sleep(0.5)
            else:
                return
        self.close()
        raise RuntimeError(f"the ComfyUI server did not come up:\n{self.log()}")

    def log(self) -> str:
        return self._log_path.read_text(errors="replace")

    def object_info(self) -> dict[str, Any]:
        return requests.get(f"{self.url}/object_info", timeout=60).json()

    def upload(self, photo: Path) -> str:
        """Puts a photo into ComfyUI's input folder as a browser does; returns its name there."""
        with photo.open("rb") as file:
            answer = requests.post(
                f"{self.url}/upload/image", files={"image": (photo.name, file)}, timeout=60
            )
        answer.raise_for_status()
        return answer.json()["name"]

    def run(
        self, prompt: dict[str, Any], on_message: Callable[[dict[str, Any]], object] | None = None
    ) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """Queues an API workflow; returns its history entry and the websocket's messages.

        `on_message` is called with each message as it comes.
        """
        client_id = uuid.uuid4().hex
        messages = []
        ws = websocket.create_connection(
            f"ws://127.0.0.1:{self.port}/ws?clientId={client_id}", timeout=RUN_TIMEOUT_S
        )
        try:
            answer = requests.post(
                f"{self.url}/prompt", json={"prompt": prompt, "client_id": client_id}, timeout=60
            )
            if not answer.ok:
                raise RuntimeError(f"the queue refused the workflow: {answer.text}")
            prompt_id = answer.json()["prompt_id"]
            while not messages or not _is_end(messages[-1], prompt_id):
                message = ws.recv()
                # Binary messages are preview pictures.
                if isinstance(message, str):
                    messages.append(json.loads(message))
                    if on_message is not None:
                        on_message(messages[-1])
        finally:
            ws.close()
        history = requests.get(f"{self.url}/history/{prompt_id}", timeout=60).json()
        return history[prompt_id], messages

    def complete(self, prompt: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """As `run`, of a workflow that ends well."""
        history, messages = self.run(prompt)
        assert history["status"]["status_str"] == "success", history["status"]
        return history, messages

    def interrupt(self) -> None:
        """Stops the job that runs."""
        requests.post(f"{self.url}/interrupt", timeout=60).raise_for_status()

    def forget(self) -> None:
        """Empties the cache of node outputs, so that the same workflow runs again."""
        body = {"unload_models": True, "free_memory": True}
        requests.post(f"{self.url}/free", json=body, timeout=60).raise_for_status()

    def close(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()


def _is_end(message: dict[str, Any], prompt_id: str) -> bool:
    """The host says "executing nothing" when a job has ended, however, and is in the history."""
    data = message["data"]
    return (
        message["type"] == "executing" and data["node"] is None and data["prompt_id"] == prompt_id
    )
