"""A server with OpenAI's interface that answers as a test wishes, good or bad."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[[dict[str, Any]], str | int]
DRIPPING, HANGING, BROKEN = "dripping", "hanging", "broken"


class ChatServer(ThreadingHTTPServer):
    """`answer` gets what was asked and returns a text, a status, or one of the ways to fail."""

    daemon_threads = True

    def __init__(self, answer: Answer) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer, self.asked = answer, []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class _Handler(BaseHTTPRequestHandler):
    server: ChatServer

    def do_GET(self) -> None:
        self._send(200, {"data": [{"id": "drawn-vlm"}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append(body)
        said = self.server.answer(body)
        if said == HANGING:
            time.sleep(3)
        elif said == DRIPPING:
            self.send_response(200)
            self.end_headers()
            for _ in range(40):
                self.wfile.write(b" ")
                self.wfile.flush()
                time.sleep(0.1)
        elif said == BROKEN:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>Bad gateway")
        elif isinstance(said, int):
            self._send(said, {"error": "out of memory"})
        else:
            self._send(200, {"choices": [{"message": {"content": said}}]})

    def _send(self, status: int, value: dict[str, Any]) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        if status in (301, 302, 307):
            self.send_header("Location", "http://127.0.0.1:9/elsewhere")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def chat_server(answer: Answer) -> Iterator[ChatServer]:
    """Runs the server while the block runs."""
    server = ChatServer(answer)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
