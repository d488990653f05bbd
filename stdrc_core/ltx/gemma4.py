"""LTX-2.5's text encoder: the Gemma 4 12B that Lightricks tuned, in one file or as a folder.

The file, which ComfyUI reads too, has all in it: the language model, its sizes as `gemma_config` in
the metadata, the tokenizer as a tensor `tokenizer_json`, and LTX's projections of the hidden
states. The folder is transformers' own. Only the language model is read: captions show no pictures.

Google's own Gemma 4 has the same sizes and other weights. It is told from Lightricks' by what it
lacks: the projections in a file, the setting `gemma_version` in a folder.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from ..text_files import read_text
from .checkpoint import TEXT_PREFIX
from .checkpoint_files import Checkpoint, first_few, load_into, open_checkpoint
from .connector import VideoConnector, load_connector
from .file_versions import TEXT_ENCODER_2_5, require_right_gemma
from .int8 import Int8

_CONFIG_KEY, _TOKENIZER_KEY = "gemma_config", "tokenizer_json"
_UNIFIED = "gemma4_unified"
_VERSION_SETTING = "gemma_version"
# A tensor of the first layer of every Gemma since the third, and one that came with the fourth.
_FIRST_LAYER, _OF_GEMMA_4 = "layers.0.input_layernorm.weight", "layers.0.layer_scalar"
# The sizes of Gemma 4 12B, for a file whose metadata do not say them, as ComfyUI takes them.
_PUBLISHED: dict[str, Any] = {
    "hidden_size": 3840,
    "intermediate_size": 15360,
    "num_hidden_layers": 48,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "num_global_key_value_heads": 1,
    "head_dim": 256,
    "global_head_dim": 512,
    "attention_k_eq_v": True,
    "sliding_window": 1024,
}
_NEEDED = (
    "needs the Gemma 4 12B that Lightricks tuned for LTX-2.5, in one file or as a folder: name "
    f"{TEXT_ENCODER_2_5}"
)


def is_gemma_4(path: str | Path) -> bool:
    """Returns whether a path is a text encoder in one file, or a folder with a Gemma 4.

    Raises ValueError for a file that is another model, or a Gemma of ComfyUI's before LTX-2.5.
    """
    path = Path(path)
    if path.is_dir():
        config = _model_folder(path) / "config.json"
        try:
            kind = json.loads(config.read_bytes()).get("model_type", "")
        # Of a config that is missing or damaged, the reader of folders tells.
        except (OSError, ValueError, AttributeError):
            return False
        return str(kind).startswith("gemma4")
    if not path.is_file():
        return False
    names = open_checkpoint(path).tensors
    if any(name.endswith(_OF_GEMMA_4) for name in names):
        return True
    if any(name.endswith(_FIRST_LAYER) for name in names):
        raise ValueError(
            f"text encoder {path} is a Gemma 3 in one file, as ComfyUI alone reads it; needs Gemma "
            "3 12B in transformers' layout: name its folder, or for LTX-2.5 "
            f"{TEXT_ENCODER_2_5}."
        )
    raise ValueError(
        f"text encoder {path} looks like another model (its tensors: {first_few(list(names))}); "
        f"{_NEEDED}."
    )


def load_gemma_4(
    path: str | Path,
    checkpoint: str | Path,
    device: torch.device,
    dtype: torch.dtype,
    *,
    int8: Int8 | None = None,
) -> tuple[Any, Any, VideoConnector]:
    """Loads tokenizer, language model and connector: a file or folder `path` and LTX-2.5's own.

    The tokenizer puts `<bos>` before every text. `checkpoint` is the transformer's file or the
    diffusers folder; the connector is its, and so is the projection where `path` has none. `int8`
    keeps the weights of Gemma's layers in 8 bits, which halves its memory on `device`.

    Raises ValueError for files that cannot be read or that do not go together, for Google's own
    Gemma 4, and for a transformers that does not know it yet.
    """
    path = Path(path)
    require_right_gemma(checkpoint, path, has_gemma_4=True)
    try:
        from transformers import Gemma4UnifiedConfig, Gemma4UnifiedTextModel
    except ImportError as error:
        raise ValueError(
            f"text encoder {path} is a Gemma 4, which the installed transformers does not know "
            f"({error}); needs transformers 5.12 or newer: pip install -U transformers."
        ) from error
    from accelerate import init_empty_weights

    encoder = open_checkpoint(_model_folder(path))
    settings = _settings(path, encoder, checkpoint)
    text_config = Gemma4UnifiedConfig.from_dict(settings).text_config
    connector = load_connector(checkpoint, encoder, dtype=dtype)
    _check_size(path, text_config, checkpoint, connector)
    tokenizer = _tokenizer(path, encoder, text_config)
    # What is no parameter, such as the RoPE's frequencies, is not in the file and has to be made.
    with init_empty_weights(include_buffers=False):
        model = Gemma4UnifiedTextModel(text_config)
    prefix = _prefix(path, encoder)
    names = [prefix + key for key in model.state_dict()]
    encoder.require_readable(
        [name for name in names if name in encoder.tensors], f"{TEXT_ENCODER_2_5}"
    )
    at = device if int8 is None else torch.device("cpu")
    load_into(model, encoder, lambda key: prefix + key, dtype=dtype, device=at)
    if int8 is not None:
        int8.layers(model, device)
    return tokenizer, model.to(device).eval(), connector.to(device=device, dtype=dtype)


def _model_folder(path: Path) -> Path:
    inner = path / "text_encoder"
    return inner if inner.is_dir() else path


def _settings(path: Path, encoder: Checkpoint, checkpoint: str | Path) -> dict[str, Any]:
    """Returns Gemma's config. Raises ValueError for another Gemma 4 than Lightricks' 12B."""
    if encoder.is_diffusers:
        settings = dict(encoder.config)
        # diffusers' own folder of LTX-2.5 holds Lightricks' Gemma, whatever its config says.
        is_pipeline = (path / "model_index.json").is_file()
        is_tuned = settings.get(_VERSION_SETTING) is not None or is_pipeline
    else:
        settings = _parse(path, encoder.metadata.get(_CONFIG_KEY))
        is_tuned = any(name.startswith(TEXT_PREFIX) for name in encoder.tensors)
    kind = settings.get("model_type", _UNIFIED)
    if kind != _UNIFIED:
        raise ValueError(f"text encoder {path} is of type {kind}; {_NEEDED}.")
    if not is_tuned:
        raise ValueError(
            f"text encoder {path} is a Gemma 4 as Google publishes it, which LTX-2.5 was not "
            f"trained with; {_NEEDED}."
        )
    return settings


def _parse(path: Path, text: str | None) -> dict[str, Any]:
    if text is None:
        return {"model_type": _UNIFIED, "text_config": dict(_PUBLISHED)}
    try:
        settings = json.loads(text)
        settings["text_config"]["hidden_size"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"text encoder {path} has a damaged {_CONFIG_KEY} in its metadata ({error}); {_NEEDED}."
        ) from error
    return settings


def _prefix(path: Path, encoder: Checkpoint) -> str:
    """Returns what stands before the language model's names: ComfyUI and transformers differ."""
    first = (name for name in encoder.tensors if name.endswith(_FIRST_LAYER))
    found = min(first, key=len, default=None)
    if found is None:
        raise ValueError(f"text encoder {path} has no layers of a Gemma 4; {_NEEDED}.")
    return found.removesuffix(_FIRST_LAYER)


def _check_size(
    path: Path, text_config: Any, checkpoint: str | Path, connector: VideoConnector
) -> None:
    # The token embedding counts as a hidden layer too.
    has = text_config.hidden_size * (text_config.num_hidden_layers + 1)
    needs = connector.weight.shape[1]
    if has != needs:
        raise ValueError(
            f"text encoder {path} gives {text_config.num_hidden_layers + 1} x "
            f"{text_config.hidden_size} = {has} channels; its projection to checkpoint "
            f"{checkpoint} needs {needs}; {_NEEDED}."
        )


def _tokenizer(path: Path, encoder: Checkpoint, text_config: Any) -> Any:
    """Returns transformers' tokenizer of the file or folder; it begins every text with `<bos>`.

    Gemma 4's own does not; ComfyUI and Lightricks put it there, as LTX-2.5 was trained.
    """
    from tokenizers import Tokenizer
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    try:
        tokenizer = Tokenizer.from_str(_tokenizer_json(path, encoder))
    # tokenizers raises plain exceptions for a text that is no tokenizer.
    except Exception as error:
        raise ValueError(
            f"text encoder {path} has a damaged tokenizer ({error}); {_NEEDED}."
        ) from error
    ids = {"bos": text_config.bos_token_id, "pad": text_config.pad_token_id}
    names = {f"{kind}_token": tokenizer.id_to_token(number) for kind, number in ids.items()}
    bos = names["bos_token"]
    tokenizer.post_processor = TemplateProcessing(
        single=f"{bos} $A", special_tokens=[(bos, text_config.bos_token_id)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)


def _tokenizer_json(path: Path, encoder: Checkpoint) -> str:
    if not encoder.is_diffusers:
        if _TOKENIZER_KEY not in encoder.tensors:
            raise ValueError(f"text encoder {path} has no {_TOKENIZER_KEY} in it; {_NEEDED}.")
        ((_, stored),) = encoder.read([_TOKENIZER_KEY], dtype=None, device="cpu")
        # Some files have the bytes as signed integers.
        return bytes(stored.to(torch.uint8).tolist()).decode()
    folders = (path / "tokenizer", path, encoder.path)
    found = next(
        (each / "tokenizer.json" for each in folders if (each / "tokenizer.json").is_file()), None
    )
    if found is None:
        raise ValueError(
            f"text encoder {path} has no tokenizer (tokenizer.json); needs that of Gemma 4 beside "
            "the model: download it too."
        )
    return read_text(found, "tokenizer")
