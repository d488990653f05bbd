"""Asks a server with OpenAI's interface for captions, such as llama.cpp's, vLLM's or LM Studio's.

Nobody is asked but the address that the user gives: no proxy of the environment is used, and no
redirection is followed.
"""

from __future__ import annotations

import base64
import hashlib
import io
import ipaddress
import json
import os
import threading
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import httpx
from PIL import Image

from .caption_asking import ask, shrunk
from .caption_text import INSTRUCTION, CaptionError

KEY_VARIABLE = "CAPTIONS_API_KEY"
_MAX_TOKENS = 300
# No answer of a captioner is so long.
_MOST_BYTES = 2**20
_JPEG_QUALITY = 90


class ChatCaptioner:
    """A `Captioner` that is a server."""

    def __init__(self, address: str, model: str | None, timeout_s: float) -> None:
        """`address` is that of the interface, for example http://127.0.0.1:8080/v1; without a
        `model` the first one is taken that the server names."""
        try:
            parts = urlsplit(address)
            # A number that is no port is found when it is asked for.
            host, _ = parts.hostname, parts.port
            httpx.URL(address)
        except (ValueError, httpx.InvalidURL) as error:
            raise ValueError(
                f"captions was {address!r}, which is no address ({error}); needs one such as "
                "http://127.0.0.1:8080/v1: check it."
            ) from error
        if not host:
            raise ValueError(f"captions was {address!r}; needs an address with a host: check it.")
        # Servers on one's own machine print their address without the interface's path.
        self.address = address.rstrip("/") + ("" if parts.path.strip("/") else "/v1")
        self.host = host
        self.timeout_s = timeout_s
        key = os.environ.get(KEY_VARIABLE)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._client = httpx.Client(timeout=timeout_s, trust_env=False, headers=headers)
        self._asked, self._lock = model, threading.Lock()
        digest = hashlib.blake2b(INSTRUCTION.encode(), digest_size=4).hexdigest()
        self.name = f"{self.address} {model or ''} {digest}"

    @property
    def is_local(self) -> bool:
        """Whether the server is on this machine."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def caption(self, frames: Sequence[Image.Image]) -> str:
        images = [
            {"type": "image_url", "image_url": {"url": _data_url(shrunk(frame))}}
            for frame in frames
        ]

        def answer(instruction: str) -> str:
            content = [{"type": "text", "text": instruction}, *images]
            body = {
                "model": self._model(),
                "messages": [{"role": "user", "content": content}],
                "max_tokens": _MAX_TOKENS,
                "temperature": 0,
            }
            said = self._sent("POST", "/chat/completions", body)
            try:
                text = said["choices"][0]["message"]["content"]
            except (KeyError, IndexError, TypeError):
                text = None
            if not isinstance(text, str):
                raise CaptionError(f"the captioner's answer held no text ({str(said)[:80]})")
            return text

        return ask(answer)

    def _model(self) -> str:
        with self._lock:
            if self._asked is None:
                said = self._sent("GET", "/models", None)
                try:
                    self._asked = str(said["data"][0]["id"])
                except (KeyError, IndexError, TypeError):
                    raise CaptionError(
                        "the captioner names no model; name one by --caption-model"
                    ) from None
            return self._asked

    def _sent(self, method: str, path: str, body: dict[str, Any] | None) -> Any:
        """What the server answers; one that answers drop by drop is not waited for any longer."""
        give_up_at = time.monotonic() + self.timeout_s
        where = f"the captioner {self.address}"
        answer = b""
        try:
            with self._client.stream(method, self.address + path, json=body) as response:
                for part in response.iter_bytes():
                    answer += part
                    if time.monotonic() > give_up_at:
                        raise httpx.ReadTimeout("slow")
                    if len(answer) > _MOST_BYTES:
                        raise CaptionError(f"{where} answered without end")
        except httpx.TimeoutException as error:
            raise ConnectionError(f"{where} did not answer in {self.timeout_s:g} s") from error
        except httpx.HTTPError as error:
            raise ConnectionError(f"{where} could not be asked ({error})") from error
        if response.status_code != httpx.codes.OK:
            told = answer.decode(errors="replace")[:80]
            raise ConnectionError(f"{where} answered with {response.status_code} ({told})")
        try:
            return json.loads(answer)
        except ValueError as error:
            raise CaptionError(f"{where} answered what is no JSON ({answer[:60]!r})") from error


def _data_url(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=_JPEG_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
