"""Shows a data set's page in the browser, and takes what is unticked there."""

from __future__ import annotations

import logging
import mimetypes
import webbrowser
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

from ...files import write_text
from .by_hand import EXCLUDE
from .clips import CLIPS, STRIPS
from .page import PAGE

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
_MOST_BYTES = 2**22


def serve(out: Path, *, opens_browser: bool = True) -> None:
    """Serves the page of a data set to this machine alone, until Ctrl-C.

    Raises ValueError where there is no page.
    """
    with make_server(out) as server:
        address = f"http://{HOST}:{server.server_port}/"
        log.info("%s shows the data set, to this machine alone; Ctrl-C ends it.", address)
        if opens_browser:
            webbrowser.open(address)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            log.info("ended.")


def make_server(out: Path) -> ThreadingHTTPServer:
    """A server of the page of a data set, on a free port."""
    if not (out / PAGE).is_file():
        raise ValueError(f"out {out} has no {PAGE}; needs a data set that collect has finished.")
    return ThreadingHTTPServer((HOST, 0), partial(_Handler, out))


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, out: Path, *arguments: object) -> None:
        self.out = out
        super().__init__(*arguments)

    def do_GET(self) -> None:
        if self.path == "/favicon.ico":
            # Browsers ask for it by themselves.
            self._answer(HTTPStatus.NO_CONTENT, "")
            return
        name = unquote(urlsplit(self.path).path).lstrip("/") or PAGE
        path = (self.out / name).resolve()
        folders = [(self.out / folder).resolve() for folder in (CLIPS, STRIPS)]
        is_ours = name == PAGE or any(path.is_relative_to(folder) for folder in folders)
        if not (self._is_asked_here() and is_ours and path.is_file()):
            self._answer(HTTPStatus.NOT_FOUND, "not here")
            return
        kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        self._answer(HTTPStatus.OK, path.read_bytes(), kind)

    def do_PUT(self) -> None:
        size = int(self.headers.get("Content-Length") or 0)
        if not self._is_asked_here() or self.path != f"/{EXCLUDE}" or size > _MOST_BYTES:
            self._answer(HTTPStatus.FORBIDDEN, "not allowed")
            return
        text = self.rfile.read(size).decode("utf-8", errors="replace")
        try:
            write_text(self.out / EXCLUDE, text)
        except OSError as error:
            self._answer(HTTPStatus.INSUFFICIENT_STORAGE, str(error))
            return
        self._answer(HTTPStatus.OK, "saved")

    def _is_asked_here(self) -> bool:
        """Whether the page itself asks: another page may send requests to this machine too."""
        own = {f"{host}:{self.server.server_port}" for host in (HOST, "localhost")}
        origin = self.headers.get("Origin")
        from_own = origin is None or urlsplit(origin).netloc in own
        return self.headers.get("Host") in own and from_own

    def _answer(self, status: HTTPStatus, body: str | bytes, kind: str = "text/plain") -> None:
        data = body.encode() if isinstance(body, str) else body
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Says nothing of each request."""
