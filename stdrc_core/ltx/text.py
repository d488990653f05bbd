"""Captions to the embeddings that LTX-2's video blocks read: Gemma 3, then LTX's own connector.

That is done once for each caption, so a training run needs no Gemma.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError
from torch import Tensor

from .connector import VideoConnector, load_connector

NUM_TOKENS = 1024
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model")
_GEMMA_3 = ("gemma3", "gemma3_text")


class TextEncoder(Protocol):
    """Embeds one caption for the video blocks: `[L, D]`; `name` goes to the cache's manifest."""

    name: str

    def encode(self, text: str) -> Tensor: ...


class GemmaText:
    """`TextEncoder` of LTX-2: a tokenizer, Gemma without its head, and the video connector."""

    def __init__(self, name: str, tokenizer: Any, model: Any, connector: VideoConnector) -> None:
        self.name, self.tokenizer, self.model, self.connector = name, tokenizer, model, connector
        # As LTX's pipeline does: captions stand at the end.
        tokenizer.padding_side = "left"
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token

    @torch.no_grad()
    def encode(self, text: str) -> Tensor:
        """`[1024, D]` float32 on the CPU; what goes beyond 1024 tokens is cut off."""
        tokens = self.tokenizer(
            [text.strip()],
            padding="max_length",
            max_length=NUM_TOKENS,
            truncation=True,
            add_special_tokens=True,
            return_tensors="pt",
        )
        device = self.connector.weight.device
        ids, mask = tokens["input_ids"].to(device), tokens["attention_mask"].to(device)
        output = self.model(input_ids=ids, attention_mask=mask, output_hidden_states=True)
        hidden = torch.stack(output.hidden_states, dim=-1)
        return self.connector(hidden, mask)[0].float().cpu()


def open_text_encoder(
    name: str, checkpoint: Path, device: torch.device, stand_ins: Mapping[str, TextEncoder]
) -> TextEncoder:
    """The stand-in called `name`, else Gemma of that folder with the checkpoint's connector.

    `stand_ins` (`mini.text.STAND_INS`) are encoders that need no folder. Raises ValueError for what
    is not there.
    """
    return stand_ins.get(name) or load_gemma(name, checkpoint, device)


def load_gemma(
    folder: str | Path,
    checkpoint: str | Path,
    device: torch.device,
    dtype: torch.dtype = torch.bfloat16,
) -> GemmaText:
    """Gemma 3 from a local folder in transformers' layout, connectors from an LTX-2 file.

    `folder` holds model and tokenizer, or a folder `text_encoder` and one `tokenizer`, as a
    diffusers folder of LTX-2 does. Nothing is downloaded. Raises ValueError when the folder is
    missing or holds no whole Gemma 3, transformers is not installed, or the checkpoint has no
    connector or one for a Gemma of another size.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(
            f"text encoder {folder} is no folder; needs Gemma 3 12B in transformers' layout: "
            "download it first and name its folder."
        )
    try:
        from transformers import AutoConfig, AutoModel, AutoTokenizer
    except ImportError as error:
        raise ValueError(
            f"text encoder {folder} needs the package transformers, which could not be imported "
            f"({error}): install it."
        ) from error
    model_folder = folder / "text_encoder" if (folder / "text_encoder").is_dir() else folder
    tokenizer_folder = folder / "tokenizer" if (folder / "tokenizer").is_dir() else folder
    connector = load_connector(checkpoint)
    # transformers makes up a tokenizer without words where there is none.
    if not any((tokenizer_folder / name).is_file() for name in _TOKENIZER_FILES):
        raise ValueError(
            f"text encoder {folder} has no tokenizer ({' or '.join(_TOKENIZER_FILES)}); needs that "
            "of Gemma 3 beside the model: download it too."
        )
    config = _read(AutoConfig, model_folder)
    _check_fits(folder, config, checkpoint, connector)
    tokenizer = _read(AutoTokenizer, tokenizer_folder)
    # Without the head, whose logits for 1024 tokens would take half a gigabyte.
    model, report = _read(AutoModel, model_folder, dtype=dtype, output_loading_info=True)
    if report["missing_keys"]:
        raise ValueError(
            f"text encoder {folder} lacks {len(report['missing_keys'])} of Gemma's tensors, among "
            f"them {min(report['missing_keys'])}; needs Gemma 3 12B in transformers' layout: "
            "download it again."
        )
    return GemmaText(
        folder.name, tokenizer, model.to(device).eval(), connector.to(device=device, dtype=dtype)
    )


def _read(auto_class: Any, folder: Path, **options: Any) -> Any:
    """What transformers reads from a folder, its many kinds of errors as one sentence."""
    try:
        return auto_class.from_pretrained(folder, local_files_only=True, **options)
    except (OSError, ValueError, SafetensorError) as error:
        reason = str(error).strip().split("\n")[0]
        raise ValueError(
            f"text encoder {folder} could not be read ({reason}); needs Gemma 3 12B in "
            "transformers' layout, model and tokenizer: download it again."
        ) from error


def _check_fits(
    folder: Path, config: Any, checkpoint: str | Path, connector: VideoConnector
) -> None:
    """Before Gemma's 24 GB are read: whether it is Gemma 3, of the size that the projection has."""
    if config.model_type not in _GEMMA_3:
        raise ValueError(
            f"text encoder {folder} is of type {config.model_type}; needs Gemma 3 12B: name its "
            "folder."
        )
    text = config.get_text_config()
    # The embedding is a layer too.
    has = text.hidden_size * (text.num_hidden_layers + 1)
    needs = connector.weight.shape[1]
    if has != needs:
        raise ValueError(
            f"text encoder {folder} gives {text.num_hidden_layers + 1} x {text.hidden_size} "
            f"= {has} channels; checkpoint {checkpoint} needs {needs}: use the Gemma 3 12B that it "
            "was trained with."
        )
