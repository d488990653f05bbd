"""LTX-2.5 by the commands: what it makes, and every mixture of its files with LTX-2.3's."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers import commands, tiny_ltx, tiny_ltx25, tiny_text_encoders
from helpers.cached_samples import EMPTY, MANIFEST, make_sample
from helpers.drawn_faces import RED, SIDE, write_pack, write_photo
from helpers.one_sentence import assert_one_sentence
from helpers.tiny_ltx25 import CAPTION, NUM_FRAMES, Files
from helpers.told_weights import trained_for
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from stdrc_core.generate.arguments import make_parser
from stdrc_core.generate.models import decide_layout
from stdrc_core.generate.run import run as generate
from stdrc_core.ltx.checkpoint import write_tensors
from stdrc_core.ltx.vae import load_vae
from stdrc_core.train import arguments, prepare_command, run
from stdrc_core.train.cache import Cache, fingerprint
from stdrc_core.train.cache_writer import CacheWriter
from stdrc_core.video import read_clip

pytest.importorskip("transformers", reason="reads Gemma with transformers: pip install it")


@pytest.fixture(scope="module")
def files(mini_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Files:
    return tiny_ltx25.write_files(tmp_path_factory.mktemp("ltx25"), mini_checkpoint)


def test_prepare_by_either_vae_train_and_generate(files: Files, tmp_path: Path):
    """The encoder of both VAEs would be one in published files; here they are two."""
    lora = tiny_ltx25.trained(tmp_path, files, num_steps=2)
    cache = Cache(tmp_path / "cache")
    made = cache.manifest
    assert (made.base_version, made.text_encoder) == ("2.5", files.text_encoder.name)
    assert made.checkpoint_fingerprint == fingerprint(files.transformer)
    assert "base_version" in json.loads((tmp_path / "cache" / "manifest.json").read_text())
    weights = load_file(lora)
    assert any("lora_B" in name and value.any() for name, value in weights.items())
    (other := tmp_path / "other").mkdir()
    pack = tmp_path / "pack"
    tiny_ltx25.prepare(other, files, files.diffusion_vae, tmp_path / "clips", pack)
    assert Cache(other / "cache")[0].latent.shape == cache[0].latent.shape
    photo = write_photo(tmp_path / "photo.png", RED)
    for vae in (files.vae, files.diffusion_vae):
        commands.run(
            *("-m", "stdrc_core.generate", "--checkpoint", files.transformer, "--vae", vae),
            *("--text-encoder", files.text_encoder, "--lora", lora, "--reference", photo),
            *("--prompt", CAPTION, "--frames", NUM_FRAMES, "--height", SIDE, "--width", SIDE),
            *("--steps", 2, "--out", tmp_path / "clips_made", "--name", vae.stem),
        )
        clip = read_clip(
            tmp_path / "clips_made" / f"{vae.stem}.mp4",
            num_frames=NUM_FRAMES,
            fps=24.0,
            height=SIDE,
            width=SIDE,
        )
        assert clip.float().std() > 1


# Mixtures


@pytest.fixture(scope="module")
def of_2_3(mini_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The files of a tiny LTX-2.3."""
    folder = tmp_path_factory.mktemp("ltx23")
    connectors = tiny_text_encoders.build_connectors("2.3")
    return {
        "transformer": tiny_text_encoders.write_connectors(
            folder / "ltx23.safetensors", "2.3", connectors
        ),
        "text_encoder": tiny_text_encoders.write_gemma(folder / "gemma3"),
        "vae": tiny_ltx25.write_conv_vae(folder / "vae23.safetensors", mini_checkpoint, "2.3.0"),
    }


PARTS = ("transformer", "text_encoder", "vae")


@pytest.mark.parametrize(
    ("older", "sentence"),
    [
        (("vae",), "is of LTX-2.3, checkpoint"),
        (("text_encoder",), "is no Gemma 4, checkpoint"),
        (("text_encoder", "vae"), "is of LTX-2.3, checkpoint"),
        (("transformer",), "is of LTX-2.5, checkpoint"),
        (("transformer", "vae"), "is a Gemma 4, that of LTX-2.5, checkpoint"),
        (("transformer", "text_encoder"), "is of LTX-2.5, checkpoint"),
    ],
    ids=str,
)
def test_prepare_refuses_every_mixture(
    files: Files, of_2_3: dict[str, Path], tmp_path: Path, older: tuple[str, ...], sentence: str
):
    paths = {part: of_2_3[part] if part in older else getattr(files, part) for part in PARTS}
    parser = argparse.ArgumentParser()
    arguments.prepare(parser)
    (tmp_path / "clips").mkdir()
    clips = tiny_ltx25.write_clips(tmp_path / "clips")
    words = {
        "data": clips,
        "out": tmp_path / "cache",
        "checkpoint": paths["transformer"],
        "vae": paths["vae"],
        "text-encoder": paths["text_encoder"],
        "faces": write_pack(tmp_path / "pack"),
        "num-frames": NUM_FRAMES,
        "height": SIDE,
        "width": SIDE,
    }
    line = [str(word) for name, value in words.items() for word in (f"--{name}", value)]
    with pytest.raises(ValueError, match=sentence) as raised:
        prepare_command.main(parser.parse_args(line))
    assert_one_sentence(raised.value)
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("made_for", ["2.3", "2.5", None])
@pytest.mark.parametrize("version", ["2.3", "2.5"])
def test_a_cache_of_another_version_is_refused_both_ways(
    tmp_path: Path, made_for: str | None, version: str
):
    with CacheWriter(tmp_path, replace(MANIFEST, base_version=made_for), EMPTY) as writer:
        writer.add(make_sample("clip"))
    sizes = {
        "context_dim": MANIFEST.context_shape[1],
        "latent_channels": MANIFEST.latent_channels,
    }
    cache = Cache(tmp_path)
    if made_for == version or (made_for is None and version == "2.3"):
        cache.require(**sizes, base_version=version)
        return
    with pytest.raises(ValueError, match=f"model.checkpoint is LTX-{version}; needs") as raised:
        cache.require(**sizes, base_version=version)
    assert_one_sentence(raised.value)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"checkpoint": "2.3"}, "is of LTX-2.5, checkpoint"),
        ({"vae": "2.3"}, "is of LTX-2.3, checkpoint"),
        ({"vae": "diffusion"}, "whose decoder is a one-step diffusion model; the identity losses"),
        ({"checkpoint": "2.3", "vae": "2.3"}, "was made for LTX-2.5, by"),
        ({"validation": "gemma 3"}, "is no Gemma 4, checkpoint"),
    ],
    ids=str,
)
def test_a_run_refuses_what_does_not_go_together(
    files: Files,
    of_2_3: dict[str, Path],
    tmp_path: Path,
    changes: dict[str, str],
    sentence: str,
):
    pack, cache = write_pack(tmp_path / "pack"), tmp_path / "cache"
    made = replace(MANIFEST, base_version="2.5", context_shape=(EMPTY.shape[0], 96))
    empty = EMPTY.new_zeros(EMPTY.shape[0], 96)
    with CacheWriter(cache, made, empty) as writer:
        writer.add(replace(make_sample("clip"), context=empty))
    recipe = tiny_ltx25.recipe(tmp_path, files, cache, pack, num_steps=1)
    new = {"2.3": of_2_3, "diffusion": {"vae": files.diffusion_vae}}
    words = ["run", str(recipe)]
    if "checkpoint" in changes:
        words += ["--set", f"model.checkpoint={of_2_3['transformer']}"]
    if "vae" in changes:
        words += ["--set", f"model.vae={new[changes['vae']]['vae']}"]
    if "validation" in changes:
        photo = write_photo(tmp_path / "photo.png", RED)
        words += ["--set", "validation.every=1"]
        words += ["--set", f"validation.text_encoder={of_2_3['text_encoder']}"]
        words += ["--set", f"validation.items=[{{prompt: a man, photo: {photo}}}]"]
    parser = argparse.ArgumentParser()
    arguments.run(parser)
    with pytest.raises(ValueError, match=sentence) as raised:
        run.main(parser.parse_args(words[1:]))
    assert_one_sentence(raised.value)


@pytest.mark.parametrize("older", ["transformer", "vae"])
def test_generate_refuses_a_vae_of_another_version(
    files: Files, of_2_3: dict[str, Path], older: str
):
    paths = {part: of_2_3[part] if part == older else getattr(files, part) for part in PARTS}
    line = ["--checkpoint", paths["transformer"], "--vae", paths["vae"]]
    with pytest.raises(ValueError, match="needs a VAE of LTX-2") as raised:
        decide_layout(make_parser().parse_args([str(word) for word in line]))
    assert_one_sentence(raised.value)


@pytest.mark.parametrize("describes", [False, True])
@pytest.mark.parametrize("command", ["run", "prepare", "generate"])
def test_a_transformer_without_a_vae_is_refused_before_anything_is_loaded(
    command: str,
    describes: bool,
    files: Files,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    """Also where its metadata describe one, as those of a whole file that was split may."""
    transformer = files.transformer
    if describes:
        with safe_open(files.vae, "pt") as whole, safe_open(transformer, "pt") as split:
            config = json.loads(split.metadata()["config"])
            config |= {"vae": json.loads(whole.metadata()["config"])["vae"]}
            metadata = split.metadata() | {"config": json.dumps(config)}
        transformer = tmp_path / "described.safetensors"
        save_file(load_file(files.transformer), transformer, metadata)

    def load(*_: object, **__: object) -> None:
        raise AssertionError("it was loaded")

    pack = write_pack(tmp_path / "pack")
    if command == "run":
        monkeypatch.setattr("stdrc_core.train.assemble.load_trainable_backbone", load)
        recipe = tiny_ltx25.recipe(tmp_path, files, tmp_path / "cache", pack, num_steps=1)
        parser = argparse.ArgumentParser()
        arguments.run(parser)
        changes = (f"model.checkpoint={transformer}", "model.vae=null")
        line = [str(recipe), *(word for each in changes for word in ("--set", each))]
        main, args = run.main, parser.parse_args(line)
    elif command == "prepare":
        monkeypatch.setattr(prepare_command, "open_text_encoder", load)
        parser = argparse.ArgumentParser()
        arguments.prepare(parser)
        (tmp_path / "clips").mkdir()
        clips = tiny_ltx25.write_clips(tmp_path / "clips")
        line = ["--data", clips, "--out", tmp_path / "cache", "--checkpoint", transformer]
        line += ["--faces", pack, "--text-encoder", files.text_encoder]
        main, args = prepare_command.main, parser.parse_args([str(word) for word in line])
    else:
        monkeypatch.setattr("stdrc_core.generate.run.open_text_encoder", load)
        line = ["--checkpoint", transformer, "--text-encoder", files.text_encoder]
        line += ["--reference", write_photo(tmp_path / "photo.png", RED), "--prompt", CAPTION]
        main, args = generate, make_parser().parse_args([str(word) for word in line])
    with pytest.raises(ValueError, match=r"VAE.*ltx-2\.5-video-vae-conv-bf16") as raised:
        main(args)
    assert_one_sentence(raised.value)


@pytest.mark.parametrize(
    ("older", "sentence"),
    [
        (("text_encoder",), "is no Gemma 4, checkpoint .* is LTX-2.5; needs the Gemma 4"),
        (("transformer", "vae"), "is a Gemma 4, that of LTX-2.5, checkpoint .* is LTX-2.3; needs"),
    ],
    ids=str,
)
def test_generate_refuses_a_text_encoder_of_another_version(
    files: Files,
    of_2_3: dict[str, Path],
    tmp_path: Path,
    older: tuple[str, ...],
    sentence: str,
):
    paths = {part: of_2_3[part] if part in older else getattr(files, part) for part in PARTS}
    line = [
        *("--checkpoint", paths["transformer"], "--vae", paths["vae"]),
        *("--text-encoder", paths["text_encoder"], "--out", tmp_path / "out", "--prompt", CAPTION),
        *("--reference", write_photo(tmp_path / "photo.png", RED), "--device", "cpu"),
        *("--frames", NUM_FRAMES, "--height", SIDE, "--width", SIDE),
    ]
    with pytest.raises(ValueError, match=sentence) as raised:
        generate(make_parser().parse_args([str(word) for word in line]))
    assert_one_sentence(raised.value)
    assert not (tmp_path / "out").exists()


def test_generate_tells_of_a_lora_of_another_version(
    files: Files, of_2_3: dict[str, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    """It is a warning, since it loads and may do something: the nodes tell of it too."""
    weights = {"diffusion_model.transformer_blocks.0.attn1.to_q.lora_A.weight": torch.zeros(1, 96)}
    made = trained_for(base_model=files.transformer.name, base_version="2.5")
    lora = write_tensors(tmp_path / "lora.safetensors", weights, made.lora_metadata())
    line = ["--checkpoint", of_2_3["transformer"], "--vae", of_2_3["vae"], "--lora", lora]
    decide_layout(make_parser().parse_args([str(word) for word in line]))
    (told,) = [each.getMessage() for each in caplog.records if "LTX-2.5" in each.getMessage()]
    assert "The model is LTX-2.3, and" in told and "load LTX-2.5, or weights for LTX-2.3." in told


def test_a_transformer_without_a_vae_names_the_file_to_take(files: Files):
    with pytest.raises(ValueError, match=r"ltx-2\.5-video-vae-conv-bf16") as raised:
        load_vae(files.transformer)
    assert_one_sentence(raised.value)


def test_a_folder_has_a_fingerprint(tmp_path: Path):
    tiny_ltx.build_tiny(tiny_ltx.LTX_2_5).save_pretrained(tmp_path / "a", max_shard_size="1MB")
    first = fingerprint(tmp_path)
    assert first == fingerprint(tmp_path)
    shard = sorted((tmp_path / "a").glob("*.safetensors"))[-1]
    shard.write_bytes(shard.read_bytes()[:-1] + b"x")
    assert fingerprint(tmp_path) != first
