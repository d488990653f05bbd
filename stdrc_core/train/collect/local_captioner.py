"""Asks a vision-language model for captions that lies in a folder, by transformers."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image

from .caption_asking import ask, shrunk
from .caption_text import INSTRUCTION

_MAX_TOKENS = 200


class LocalCaptioner:
    """A `Captioner` that is a model of transformers; nothing is downloaded."""

    def __init__(self, folder: Path) -> None:
        """Loads the model. Raises ValueError where the folder holds none that sees pictures."""
        from transformers import AutoModelForImageTextToText, AutoProcessor

        try:
            self._processor = AutoProcessor.from_pretrained(folder, local_files_only=True)
            self._model = AutoModelForImageTextToText.from_pretrained(
                folder, local_files_only=True, dtype="auto"
            )
        except (OSError, ValueError, KeyError) as error:
            reason = " ".join(str(error).split())[:160]
            raise ValueError(
                f"captions {folder} could not be opened ({reason}); needs the folder of a "
                "vision-language model of transformers: download it again."
            ) from error
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self._model = self._model.to(device).eval()
        self._lock = threading.Lock()
        digest = hashlib.blake2b(INSTRUCTION.encode(), digest_size=4).hexdigest()
        self.name = f"{folder.name} {digest}"

    def caption(self, frames: Sequence[Image.Image]) -> str:
        pictures = [{"type": "image", "image": shrunk(frame)} for frame in frames]

        def answer(instruction: str) -> str:
            content = [*pictures, {"type": "text", "text": instruction}]
            inputs = self._processor.apply_chat_template(
                [{"role": "user", "content": content}],
                add_generation_prompt=True,
                tokenize=True,
                return_dict=True,
                return_tensors="pt",
            ).to(self._model.device)
            with torch.no_grad():
                made = self._model.generate(**inputs, max_new_tokens=_MAX_TOKENS, do_sample=False)
            own = made[:, inputs["input_ids"].shape[1] :]
            return self._processor.batch_decode(own, skip_special_tokens=True)[0]

        # One clip at a time, whatever the number of files in work.
        with self._lock:
            return ask(answer)
