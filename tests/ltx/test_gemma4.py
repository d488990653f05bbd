"""LTX-2.5's captions: the real Gemma 4 class in each of its forms, against diffusers' pipeline."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import LTX2Pipeline
from diffusers.pipelines.ltx2.connectors import LTX2TextConnectors
from helpers import tiny_gemma4, tiny_ltx, tiny_text_encoders
from safetensors.torch import load_file, save_file
from torch import Tensor

from stdrc_core.ltx.checkpoint import write_checkpoint
from stdrc_core.ltx.int8 import Int8
from stdrc_core.ltx.text import NUM_TOKENS, load_gemma

pytest.importorskip("transformers", reason="reads Gemma with transformers: pip install it")

CPU = torch.device("cpu")
LONG = " ".join(tiny_text_encoders.WORDS[i % 5] for i in range(NUM_TOKENS + 50))


@pytest.fixture(scope="module")
def gemma() -> Any:
    return tiny_gemma4.build()


@pytest.fixture(scope="module")
def connectors() -> LTX2TextConnectors:
    return tiny_gemma4.build_connectors()


@pytest.fixture(scope="module")
def files(gemma: Any, connectors: LTX2TextConnectors, tmp_path_factory: Any) -> dict[str, Path]:
    """The split files of LTX-2.5, its diffusers folder, and Lightricks' folder of Gemma."""
    folder = tmp_path_factory.mktemp("ltx25")
    pipeline = folder / "pipeline"
    tiny_ltx.build_tiny(tiny_gemma4.SETTINGS).save_pretrained(pipeline / "transformer")
    connectors.save_pretrained(pipeline / "connectors")
    gemma.save_pretrained(pipeline / "text_encoder")
    (pipeline / "tokenizer").mkdir()
    (pipeline / "tokenizer" / "tokenizer.json").write_text(tiny_gemma4.tokenizer_json())
    (pipeline / "model_index.json").write_text("{}")
    return {
        "transformer": tiny_gemma4.write_transformer(
            folder / "transformer.safetensors", connectors
        ),
        "packed": tiny_gemma4.write_packed(folder / "gemma4.safetensors", gemma, connectors),
        "folder": tiny_gemma4.write_folder(folder / "gemma4", gemma),
        "pipeline": pipeline,
    }


def by_diffusers(gemma: Any, connectors: LTX2TextConnectors, caption: str) -> Tensor:
    """The video's embedding by LTX2Pipeline's own text path."""
    from tokenizers import Tokenizer
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer.from_str(tiny_gemma4.tokenizer_json())
    words.post_processor = TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 2)])
    absent = ("scheduler", "vae", "audio_vae", "transformer", "vocoder")
    pipeline = LTX2Pipeline(
        **dict.fromkeys(absent),
        text_encoder=gemma,
        tokenizer=PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>"),
        connectors=connectors,
    )
    with torch.no_grad():
        hidden, mask = pipeline._get_gemma_prompt_embeds(caption, device=CPU)
        return connectors(hidden, mask)[0][0]


@pytest.mark.parametrize("caption", [" a red car turns left\n", "", LONG], ids=len)
def test_an_embedding_of_the_split_files_is_that_of_diffusers_pipeline(
    files: dict[str, Path], gemma: Any, connectors: LTX2TextConnectors, caption: str
):
    ours = load_gemma(files["packed"], files["transformer"], CPU, torch.float32).encode(caption)
    expected = by_diffusers(gemma, connectors, caption)
    assert ours.shape == (NUM_TOKENS, expected.shape[-1])
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)


def test_all_forms_give_the_same_embedding(files: dict[str, Path], tmp_path: Path):
    """One file; a folder with the projections in the transformer's file; diffusers' folder."""
    whole = load_file(files["transformer"])
    whole |= {k: v for k, v in load_file(files["packed"]).items() if k.startswith("text_emb")}
    single = tmp_path / "single.safetensors"
    write_checkpoint(single, whole, {"transformer": tiny_gemma4.SETTINGS})
    expected = load_gemma(files["packed"], files["transformer"], CPU, torch.float32).encode("a car")
    pairs = [
        (files["folder"], single),
        (files["packed"], single),
        (files["pipeline"], files["pipeline"]),
        (files["packed"], files["pipeline"] / "transformer"),
    ]
    for text_encoder, checkpoint in pairs:
        ours = load_gemma(text_encoder, checkpoint, CPU, torch.float32).encode("a car")
        torch.testing.assert_close(ours, expected, atol=1e-6, rtol=1e-6)


def test_the_other_names_of_a_packed_file_are_read(files: dict[str, Path], tmp_path: Path):
    """Lightricks' first files kept transformers' names, and some have the tokenizer as int8."""
    tensors = {
        name.replace("model.", "model.language_model.", 1) if name.startswith("model.") else name: v
        for name, v in load_file(files["packed"]).items()
    }
    tensors["tokenizer_json"] = tensors["tokenizer_json"].to(torch.int8)
    save_file(tensors, tmp_path / "old.safetensors", metadata=tiny_gemma4.metadata())
    old, new = (
        load_gemma(path, files["transformer"], CPU, torch.float32).encode("a red car")
        for path in (tmp_path / "old.safetensors", files["packed"])
    )
    assert torch.equal(old, new)


def test_gemma_4_in_8_bits_is_near_gemma_4(files: dict[str, Path]):
    pytest.importorskip("torchao", reason="rounds weights with torchao: pip install torchao")
    int8, rest = Int8("text-quantization"), (files["transformer"], CPU, torch.float32)
    plain, rounded = (load_gemma(files["packed"], *rest, int8=each) for each in (None, int8))
    layers = [each for each in rounded.model.modules() if isinstance(each, torch.nn.Linear)]
    assert layers
    assert all(map(int8.holds, layers))
    assert rounded.name != plain.name, "a cache of one is not gone on with by the other"
    one, other = (each.encode("a red car turns left") for each in (plain, rounded))
    assert torch.nn.functional.cosine_similarity(one, other).min() > 0.99
    assert not torch.equal(one, other)


def test_only_the_language_model_is_in_memory(files: dict[str, Path]):
    model = load_gemma(files["folder"], files["pipeline"], CPU, torch.bfloat16).model
    names = [name for name, _ in model.named_parameters()]
    assert not any("vision" in name or "audio" in name for name in names)
    assert all(value.device.type == "cpu" for value in model.state_dict().values())


MIXTURES = {
    "gemma 3 for 2.5": ("gemma 3", "transformer", "is no Gemma 4, checkpoint .* is LTX-2.5; needs"),
    "gemma 4 for 2.3": ("packed", "2.3", "is a Gemma 4, that of LTX-2.5, checkpoint .* LTX-2.3; n"),
    "gemma 4 for 2.0": ("packed", "2.0", "is a Gemma 4, that of LTX-2.5, checkpoint .* LTX-2.0; n"),
    "google's in one file": ("stock", "transformer", "is a Gemma 4 as Google publishes it, which"),
    "google's folder": ("stock folder", "transformer", "is a Gemma 4 as Google publishes it, whi"),
    "another gemma 4": ("dense", "transformer", "is of type gemma4; needs the Gemma 4 12B"),
    "gemma 3 in one file": ("gemma 3 file", "transformer", "is a Gemma 3 in one file, as ComfyUI"),
    "a transformer": ("transformer", "transformer", "looks like another model"),
    "no projection": ("folder", "transformer", "is in the file of its text encoder, and the one"),
    "no tokenizer": ("no tokenizer", "transformer", "has no tokenizer_json in it; needs the Ge"),
    "damaged config": ("damaged config", "transformer", "has a damaged gemma_config in its meta"),
    "lost layer": ("lost layer", "transformer", "lacks 1 of the model's"),
    "other width": ("packed", "wider", "projects captions to 96 channels, the connector of .* 48"),
    "nothing there": ("nothing.safetensors", "transformer", "is no folder; needs Gemma 3 12B"),
}


@pytest.mark.parametrize("name", MIXTURES)
def test_files_that_do_not_go_together_are_one_sentence(
    files: dict[str, Path], tmp_path: Path, name: str
):
    text_encoder, checkpoint, sentence = MIXTURES[name]
    with pytest.raises(ValueError, match=sentence) as raised:
        load_gemma(
            text_encoder_of(text_encoder, files, tmp_path),
            checkpoint_of(checkpoint, files, tmp_path),
            CPU,
        )
    message = str(raised.value)
    assert "\n" not in message
    assert message.endswith(".")


def checkpoint_of(name: str, files: dict[str, Path], folder: Path) -> Path:
    if name in ("2.0", "2.3"):
        connectors = tiny_text_encoders.build_connectors(name)
        return tiny_text_encoders.write_connectors(folder / "a.safetensors", name, connectors)
    if name == "wider":
        settings = tiny_gemma4.SETTINGS | {"connector_attention_head_dim": 12}
        path = folder / "wider.safetensors"
        tensors = load_file(files["transformer"])
        for key in [key for key in tensors if "video_embeddings_connector" in key]:
            own = tensors.pop(key)
            tensors[key] = own[tuple(slice(s // 2 if s in (96, 384) else s) for s in own.shape)]
        return write_checkpoint(path, tensors, {"transformer": settings})
    return files[name]


def text_encoder_of(name: str, files: dict[str, Path], folder: Path) -> Path:
    path = folder / "encoder.safetensors"
    if name in files:
        return files[name]
    tensors, metadata = load_file(files["packed"]), tiny_gemma4.metadata()
    match name:
        case "gemma 3":
            return tiny_text_encoders.write_gemma(folder / "gemma3")
        case "gemma 3 file":
            tensors = {k: v for k, v in tensors.items() if "layer_scalar" not in k}
        case "stock":
            tensors = {k: v for k, v in tensors.items() if not k.startswith("text_embedding")}
        case "stock folder" | "dense":
            tiny_gemma4.write_folder(folder / "google", tiny_gemma4.build())
            settings = json.loads((folder / "google" / "config.json").read_text())
            if name == "dense":
                settings["model_type"] = "gemma4"
            else:
                del settings["gemma_version"]
            (folder / "google" / "config.json").write_text(json.dumps(settings))
            return folder / "google"
        case "no tokenizer":
            del tensors["tokenizer_json"]
        case "damaged config":
            metadata = {"gemma_config": "{}"}
        case "lost layer":
            del tensors["model.layers.3.mlp.up_proj.weight"]
        case _:
            return folder / name
    save_file(tensors, path, metadata=metadata)
    return path
