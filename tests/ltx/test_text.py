"""Captions through the real Gemma 3 class and LTX-2's connector, against diffusers' pipeline."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from diffusers import LTX2Pipeline
from diffusers.pipelines.ltx2.connectors import LTX2TextConnectors
from helpers import tiny_text_encoders
from safetensors.torch import load_file, save_file
from torch import Tensor

from stdrc_core.ltx.checkpoint import write_checkpoint
from stdrc_core.ltx.connector import load_connector
from stdrc_core.ltx.int8 import Int8
from stdrc_core.ltx.text import NUM_TOKENS, load_gemma
from stdrc_core.mini import config
from stdrc_core.mini.text import MiniatureText

pytest.importorskip("transformers", reason="reads Gemma with transformers: pip install it")

CPU = torch.device("cpu")
LONG = " ".join(tiny_text_encoders.WORDS[i % 5] for i in range(NUM_TOKENS + 50))


@pytest.fixture(scope="module")
def gemma(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_text_encoders.write_gemma(tmp_path_factory.mktemp("gemma"))


@pytest.fixture(scope="module", params=["2.0", "2.3"])
def ltx(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, LTX2TextConnectors]:
    """A single file of each version, and diffusers' connectors with the same weights."""
    connectors = tiny_text_encoders.build_connectors(request.param)
    path = tmp_path_factory.mktemp("ltx") / "ltx.safetensors"
    return tiny_text_encoders.write_connectors(path, request.param, connectors), connectors


def by_diffusers(gemma: Path, connectors: LTX2TextConnectors, caption: str) -> tuple[Tensor, ...]:
    """The video's and the audio's embedding by LTX2Pipeline's own text path."""
    from transformers import AutoTokenizer, Gemma3ForConditionalGeneration

    absent = ("scheduler", "vae", "audio_vae", "transformer", "vocoder")
    pipeline = LTX2Pipeline(
        **dict.fromkeys(absent),
        text_encoder=Gemma3ForConditionalGeneration.from_pretrained(gemma, dtype=torch.float32),
        tokenizer=AutoTokenizer.from_pretrained(gemma),
        connectors=connectors,
    )
    with torch.no_grad():
        hidden, mask = pipeline._get_gemma_prompt_embeds(caption, device=CPU)
        return connectors(hidden, mask)[:2]


@pytest.mark.parametrize("caption", [" a red car turns left\n", "", LONG], ids=len)
def test_an_embedding_is_that_of_diffusers_pipeline(
    gemma: Path, ltx: tuple[Path, LTX2TextConnectors], caption: str
):
    path, connectors = ltx
    ours = load_gemma(gemma, path, CPU, torch.float32).encode(caption)
    video, audio = by_diffusers(gemma, connectors, caption)
    assert ours.shape == (NUM_TOKENS, video.shape[-1])
    torch.testing.assert_close(ours, video[0], atol=1e-5, rtol=1e-5)
    assert audio.shape != video.shape or not torch.allclose(ours, audio[0], atol=1e-2)


def test_gemma_reads_the_captions_own_tokens_alone(
    gemma: Path, ltx: tuple[Path, LTX2TextConnectors]
):
    encoder = load_gemma(gemma, ltx[0], CPU, torch.float32)
    seen: list[tuple[int, ...]] = []
    encoder.model.layers[0].register_forward_pre_hook(
        lambda _, inputs: seen.append(tuple(inputs[0].shape[:2]))
    )
    for caption in ("a red car", "", LONG):
        encoder.encode(caption)
    # A word is a token, and there is one for the beginning.
    assert seen == [(1, 4), (1, 1), (1, NUM_TOKENS)]


def test_the_language_model_alone_is_loaded(
    gemma: Path, ltx: tuple[Path, LTX2TextConnectors], tmp_path: Path
):
    loaded = load_gemma(gemma, ltx[0], CPU, torch.float32).model
    stored = load_file(gemma / "model.safetensors")
    language = {k: v for k, v in stored.items() if "vision" not in k and "projector" not in k}
    assert len(language) < len(stored)
    assert sum(p.numel() for p in loaded.parameters()) == sum(v.numel() for v in language.values())
    # A file of the language model alone, as it is saved by itself, is the same.
    shutil.copytree(gemma, tmp_path / "text", ignore=shutil.ignore_patterns("*.safetensors"))
    names = {key.split("language_model.")[-1].removeprefix("model."): key for key in language}
    file = tmp_path / "text" / "model.safetensors"
    save_file({f"model.{name}": stored[key] for name, key in names.items()}, file)
    alone = load_gemma(tmp_path / "text", ltx[0], CPU, torch.float32)
    whole = load_gemma(gemma, ltx[0], CPU, torch.float32)
    assert torch.equal(alone.encode("a red car"), whole.encode("a red car"))


def test_gemma_in_8_bits_is_near_gemma(gemma: Path, ltx: tuple[Path, LTX2TextConnectors]):
    pytest.importorskip("torchao", reason="rounds weights with torchao: pip install torchao")
    int8 = Int8("text-quantization")
    plain = load_gemma(gemma, ltx[0], CPU, torch.float32)
    rounded = load_gemma(gemma, ltx[0], CPU, torch.float32, int8=int8)
    layers = [each for each in rounded.model.modules() if isinstance(each, torch.nn.Linear)]
    assert len(layers) == 7 * tiny_text_encoders.GEMMA_LAYERS
    assert all(map(int8.holds, layers))
    assert rounded.name != plain.name, "a cache of one is not gone on with by the other"
    one, other = (each.encode("a red car turns left") for each in (plain, rounded))
    assert torch.nn.functional.cosine_similarity(one, other).min() > 0.99
    assert not torch.equal(one, other)


def test_captions_differ_from_one_another(gemma: Path, ltx: tuple[Path, LTX2TextConnectors]):
    encoder = load_gemma(gemma, ltx[0], CPU, torch.float32)
    told, turned = encoder.encode("a red car"), encoder.encode("car a red")
    assert (told - turned).norm() / told.norm() > 1e-2


def test_gemma_may_lie_as_in_a_diffusers_folder(
    gemma: Path, ltx: tuple[Path, LTX2TextConnectors], tmp_path: Path
):
    tokenizer = {"tokenizer.json", "tokenizer_config.json"}
    for file in gemma.iterdir():
        part = tmp_path / ("tokenizer" if file.name in tokenizer else "text_encoder")
        part.mkdir(exist_ok=True)
        shutil.copy(file, part)
    apart = load_gemma(tmp_path, ltx[0], CPU, torch.float32).encode("a red car")
    together = load_gemma(gemma, ltx[0], CPU, torch.float32).encode("a red car")
    assert torch.equal(apart, together)


def test_the_published_weights_names_are_read(
    gemma: Path, ltx: tuple[Path, LTX2TextConnectors], tmp_path: Path
):
    """Google's file says language_model.model.layers, which transformers has renamed since."""
    shutil.copytree(gemma, tmp_path / "old")
    file = tmp_path / "old" / "model.safetensors"
    tensors = {
        key.replace("model.language_model.", "language_model.model.")
        .replace("model.vision_tower.", "vision_tower.vision_model.")
        .replace("vision_model.vision_model.", "vision_model.")
        .replace("model.multi_modal", "multi_modal"): value
        for key, value in load_file(file).items()
    }
    assert any(key.startswith("language_model.model.layers.0") for key in tensors)
    save_file(tensors, file, metadata={"format": "pt"})
    old = load_gemma(tmp_path / "old", ltx[0], CPU, torch.float32).encode("a red car")
    new = load_gemma(gemma, ltx[0], CPU, torch.float32).encode("a red car")
    assert torch.equal(old, new)


def test_the_miniature_takes_the_videos_part():
    embedding = MiniatureText().encode("a red car")
    assert embedding.shape == (32, config.VIDEO_DIM)
    assert not torch.equal(embedding, MiniatureText().encode(""))


def test_a_checkpoint_without_a_connector_is_refused(mini_checkpoint: Path, tmp_path: Path):
    with pytest.raises(ValueError, match="has no text_embedding_projection"):
        load_connector(mini_checkpoint)
    with pytest.raises(ValueError, match="does not exist; needs"):
        load_connector(tmp_path / "none.safetensors")


def test_a_checkpoint_with_a_damaged_connector_is_refused(
    ltx: tuple[Path, LTX2TextConnectors], tmp_path: Path
):
    tensors, path = load_file(ltx[0]), tmp_path / "ltx.safetensors"
    registers = "model.diffusion_model.video_embeddings_connector.learnable_registers"
    settings = {"transformer": tiny_text_encoders.SETTINGS["2.0"]}
    write_checkpoint(path, tensors | {registers: torch.zeros(64, 12)}, settings)
    with pytest.raises(ValueError, match=r"learnable_registers of shape \[64, 12\]; its own"):
        load_connector(path)
    del tensors[registers]
    write_checkpoint(path, tensors, settings)
    with pytest.raises(ValueError, match=f"tensors of the connector, the first {registers}"):
        load_connector(path)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        ("missing", "is no folder; needs Gemma 3 12B"),
        ("no config", "could not be read .*needs Gemma 3 12B in transformers' layout"),
        ("no tokenizer", r"has no tokenizer \(tokenizer\.json or tokenizer\.model\); needs"),
        ("no weights", "could not be read .*needs Gemma 3 12B in transformers' layout"),
        ("cut weights", "could not be read .*needs a whole .safetensors file"),
        ("lost tensor", r"lacks 1 of Gemma's tensors, among them .*layers\.2\.mlp\.up_proj"),
        ("other model", "is of type t5; needs Gemma 3 12B"),
        ("smaller Gemma", "gives 3 x 48 = 144 channels; checkpoint .* needs 336: use"),
    ],
)
def test_what_is_wrong_with_a_gemma_is_told_in_one_sentence(
    gemma: Path, ltx: tuple[Path, LTX2TextConnectors], tmp_path: Path, damage: str, sentence: str
):
    folder = tmp_path / "gemma"
    shutil.copytree(gemma, folder)
    weights, settings = folder / "model.safetensors", folder / "config.json"
    match damage:
        case "missing":
            shutil.rmtree(folder)
        case "no config":
            settings.unlink()
        case "no tokenizer":
            (folder / "tokenizer.json").unlink()
            (folder / "tokenizer_config.json").unlink()
        case "no weights":
            weights.unlink()
        case "cut weights":
            weights.write_bytes(weights.read_bytes()[:5000])
        case "lost tensor":
            tensors = load_file(weights)
            del tensors[next(key for key in tensors if "layers.2.mlp.up_proj" in key)]
            save_file(tensors, weights, metadata={"format": "pt"})
        case "other model":
            settings.write_text(json.dumps({"model_type": "t5"}))
        case "smaller Gemma":
            values = json.loads(settings.read_text())
            values["text_config"]["num_hidden_layers"] = 2
            values["text_config"]["layer_types"] = ["full_attention"] * 2
            settings.write_text(json.dumps(values))
    with pytest.raises(ValueError, match=sentence) as raised:
        load_gemma(folder, ltx[0], CPU)
    assert "\n" not in str(raised.value)
    assert str(folder) in str(raised.value)
