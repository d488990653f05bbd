"""Turns captions into the embeddings that LTX-2's video blocks read: Gemma, then a connector.

LTX-2.0 and LTX-2.3 have Gemma 3, LTX-2.5 has Gemma 4 (gemma4).

The embeddings of a training set are made once and stored, so that a training run needs no Gemma.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError
from torch import Tensor

from ..folders import listed
from .checkpoint_files import FULL_PRECISION, stored_dtypes
from .connector import VideoConnector, load_connector
from .file_versions import require_right_gemma
from .gemma4 import is_gemma_4, load_gemma_4
from .int8 import Int8

NUM_TOKENS = 1024
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model")
_GEMMA_3 = ("gemma3", "gemma3_text")
# The language model's tensors are named otherwise in Google's file, in files that newer versions of
# transformers wrote, and in those of the language model alone.
_LANGUAGE_NAMES = {
    r"^(model\.)?language_model\.(model\.)?": "",
    r"^model\.(?=layers\.|embed_tokens\.|norm\.)": "",
}
_NOT_LANGUAGE = (r"vision_tower", r"multi_modal_projector", r"lm_head")


class TextEncoder(Protocol):
    """What embeds captions for the video blocks."""

    name: str
    """The encoder's name, which the manifest of a training cache records."""

    def encode(self, text: str) -> Tensor:
        """Returns the embedding `[L, D]` of one caption."""
        ...


class GemmaText:
    """The `TextEncoder` of LTX-2: a tokenizer, Gemma without its head, and the video connector."""

    def __init__(self, name: str, tokenizer: Any, model: Any, connector: VideoConnector) -> None:
        """`tokenizer` and `model` are those of transformers; the tokenizer's padding is changed."""
        self.name, self.tokenizer, self.model, self.connector = name, tokenizer, model, connector
        # LTX's own pipeline pads on the left too, so that the caption stands at the end.
        tokenizer.padding_side = "left"
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token

    @torch.no_grad()
    def encode(self, text: str) -> Tensor:
        """Returns the embedding `[1024, D]` of a caption, float32 on the CPU.

        What goes beyond 1024 tokens is cut off. Gemma reads the caption's own tokens alone, in the
        places where they stand behind the padding: no token looks at padding, and most captions
        are a tenth of 1024 tokens.
        """
        tokens = self.tokenizer(
            [text.strip()],
            padding="max_length",
            max_length=NUM_TOKENS,
            truncation=True,
            add_special_tokens=True,
            return_tensors="pt",
        )
        mask = tokens["attention_mask"]
        own = slice(NUM_TOKENS - max(1, int(mask.sum())), NUM_TOKENS)
        device = self.connector.weight.device
        mask = mask.to(device)
        output = self.model(
            input_ids=tokens["input_ids"][:, own].to(device),
            attention_mask=mask[:, own],
            position_ids=torch.arange(NUM_TOKENS, device=device)[None, own],
            output_hidden_states=True,
            use_cache=False,
        )
        hidden = torch.stack(output.hidden_states, dim=-1)
        return self.connector(hidden, mask)[0].float().cpu()


def open_text_encoder(
    name: str,
    checkpoint: Path,
    device: torch.device,
    stand_ins: Mapping[str, TextEncoder],
    *,
    int8: Int8 | None = None,
) -> TextEncoder:
    """Opens the stand-in called `name`, or else Gemma from the folder `name`.

    `stand_ins` (`mini.text.STAND_INS`) are encoders that need no folder. Gemma gets the connector
    of `checkpoint`. `int8` is as in `load_gemma`, and errors are too.
    """
    return stand_ins.get(name) or load_gemma(name, checkpoint, device, int8=int8)


def load_gemma(
    folder: str | Path,
    checkpoint: str | Path,
    device: torch.device,
    dtype: torch.dtype = torch.bfloat16,
    *,
    int8: Int8 | None = None,
) -> GemmaText:
    """Loads Gemma 3 from a local folder in transformers' layout, with an LTX-2 file's connector.

    LTX-2.5's Gemma 4 is loaded by its folder, or by its one file.

    `folder` holds the model and the tokenizer together, or in two folders `text_encoder` and
    `tokenizer`, as a diffusers folder of LTX-2 does. Nothing is downloaded. Of Gemma the language
    model alone is loaded, without its vision tower and its head.

    `int8` keeps the weights of Gemma's layers in 8 bits, which halves its memory on `device`.

    Raises ValueError where the folder is missing or holds no whole Gemma 3, where transformers is
    not installed, and where the checkpoint has no connector, one for a Gemma of another size, or is
    of the version of LTX that has the other Gemma.
    """
    folder = Path(folder)
    if is_gemma_4(folder):
        name = folder.name if int8 is None else f"{folder.name} in {int8.name}"
        return GemmaText(name, *load_gemma_4(folder, checkpoint, device, dtype, int8=int8))
    if not folder.is_dir():
        raise ValueError(
            f"text encoder {folder} is no folder; needs Gemma 3 12B in transformers' layout: "
            "download it first and name its folder."
        )
    try:
        from transformers import AutoConfig, AutoTokenizer, Gemma3TextModel
    except ImportError as error:
        raise ValueError(
            f"text encoder {folder} needs the package transformers, which could not be imported "
            f"({error}): install it."
        ) from error
    model_folder = folder / "text_encoder" if (folder / "text_encoder").is_dir() else folder
    tokenizer_folder = folder / "tokenizer" if (folder / "tokenizer").is_dir() else folder
    if (model_folder / "config.json").is_file():
        require_right_gemma(checkpoint, folder, has_gemma_4=False)
    connector = load_connector(checkpoint)
    # Where there is no tokenizer, transformers makes one without words instead of failing.
    if not any((tokenizer_folder / name).is_file() for name in _TOKENIZER_FILES):
        raise ValueError(
            f"text encoder {folder} has no tokenizer ({' or '.join(_TOKENIZER_FILES)}); needs that "
            "of Gemma 3 beside the model: download it too."
        )
    config = _read(AutoConfig, model_folder)
    _require_whole_weights(folder, model_folder, config)
    _check_fits(folder, config, checkpoint, connector)
    tokenizer = _read(AutoTokenizer, tokenizer_folder)

    class LanguageModel(Gemma3TextModel):
        """Gemma's language model out of a file that holds more."""

        _keys_to_ignore_on_load_unexpected = _NOT_LANGUAGE

    model, report = _read(
        LanguageModel,
        model_folder,
        config=config.get_text_config(),
        key_mapping=_LANGUAGE_NAMES,
        dtype=dtype,
        output_loading_info=True,
    )
    if report["missing_keys"]:
        raise ValueError(
            f"text encoder {folder} lacks {len(report['missing_keys'])} of Gemma's tensors, among "
            f"them {min(report['missing_keys'])}; needs Gemma 3 12B in transformers' layout: "
            "download it again."
        )
    name = folder.name
    if int8 is not None:
        int8.layers(model, device)
        name += f" in {int8.name}"
    model = model.to(device).eval().requires_grad_(False)
    return GemmaText(name, tokenizer, model, connector.to(device=device, dtype=dtype))


def _read(auto_class: Any, folder: Path, **options: Any) -> Any:
    """Lets transformers read from a folder, and turns all its kinds of errors into one sentence."""
    try:
        return auto_class.from_pretrained(folder, local_files_only=True, **options)
    except (OSError, ValueError, SafetensorError) as error:
        reason = str(error).strip().split("\n")[0]
        raise ValueError(
            f"text encoder {folder} could not be read ({reason}); needs Gemma 3 12B in "
            "transformers' layout, model and tokenizer: download it again."
        ) from error


def _require_whole_weights(folder: Path, model_folder: Path, config: Any) -> None:
    """Raises ValueError for a Gemma in less than 16 bits: transformers would leave its scales out.

    It looks at the headers of the safetensors files alone.
    """
    packed = getattr(config, "quantization_config", None)
    how = None
    if packed is not None:
        method = packed.get("quant_method") if isinstance(packed, dict) else packed
        how = f"quantised weights ({method})"
    for file in listed(model_folder, (".safetensors",)):
        for name, dtype in stored_dtypes(file).items():
            if name.endswith(".weight") and dtype not in FULL_PRECISION and how is None:
                how = f"{dtype} weights ({name})"
    if how is not None:
        raise ValueError(
            f"text encoder {folder} holds {how}, which would be read without their scales; needs "
            "Gemma 3 12B in bfloat16: take google/gemma-3-12b-it (prepare has "
            "--text-quantization int8 for less memory)."
        )


def _check_fits(
    folder: Path, config: Any, checkpoint: str | Path, connector: VideoConnector
) -> None:
    """Raises ValueError unless the model is Gemma 3, of the size that the projection needs.

    It looks at the config alone, before Gemma's 24 GB are read.
    """
    if config.model_type not in _GEMMA_3:
        raise ValueError(
            f"text encoder {folder} is of type {config.model_type}; needs Gemma 3 12B: name its "
            "folder."
        )
    text = config.get_text_config()
    # The token embedding counts as a hidden layer too.
    has = text.hidden_size * (text.num_hidden_layers + 1)
    needs = connector.weight.shape[1]
    if has != needs:
        raise ValueError(
            f"text encoder {folder} gives {text.num_hidden_layers + 1} x {text.hidden_size} "
            f"= {has} channels; checkpoint {checkpoint} needs {needs}: use the Gemma 3 12B that it "
            "was trained with."
        )
