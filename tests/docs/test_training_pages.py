"""The pages on training: their tables are the code's, their examples are read, commands parse."""

from __future__ import annotations

import argparse
import json
import re
import shlex
from pathlib import Path

import pytest
import torch
import yaml
from helpers import PROJECT
from helpers.doc_pages import DOCS, commands

from stdrc_core.generate.__main__ import make_parser as make_generate_parser
from stdrc_core.ltx.text import NUM_TOKENS
from stdrc_core.train import __main__ as command_line
from stdrc_core.train import arguments, references, resume
from stdrc_core.train.cache import SHARDS, Manifest, Sample
from stdrc_core.train.cache_writer import CacheWriter
from stdrc_core.train.config import ValidationSection
from stdrc_core.train.dataset_entry import VIDEO_SUFFIXES
from stdrc_core.train.folder_source import PHOTO_SUFFIXES, read_folder
from stdrc_core.train.prepare import Reason
from stdrc_core.train.sources import read_manifest_lines
from stdrc_core.train.vip import read_vip

PAGES = {path.stem: path for path in (DOCS / "train").glob("*.md")}
TEXTS = {name: path.read_text(encoding="utf-8") for name, path in PAGES.items()}
RECIPES = PROJECT / "stdrc_core" / "train" / "recipes"


def rows(page: str, heading: str) -> list[list[str]]:
    """The cells of the tables below a heading, without their first two lines."""
    part = re.split(rf"^## {heading}$", TEXTS[page], flags=re.MULTILINE)[1].split("\n## ")[0]
    found = [line.strip("|").split("|") for line in part.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in row] for row in found]
    rules = [i for i, row in enumerate(cells) if set("".join(row)) == {"-"}]
    heads = {i - 1 for i in rules}
    return [row for i, row in enumerate(cells) if i not in heads and i not in rules]


def codes(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def block(page: str, heading: str, kind: str) -> str:
    """The first block of code of a kind below a heading."""
    return TEXTS[page].split(f"## {heading}\n")[1].split(f"```{kind}\n")[1].split("```")[0]


# Commands


@pytest.mark.parametrize(
    "line",
    [
        line
        for name in PAGES
        for row in commands(PAGES[name])
        for line in row.split(" && ")
        if " -m stdrc_core." in line and "mini draw" not in line
    ],
)
def test_commands_are_parsed_by_their_own_parsers(line: str, monkeypatch: pytest.MonkeyPatch):
    """What they would do is put aside; a launcher's own words stand before `-m`."""
    _, _, rest = line.partition(" -m stdrc_core.")
    command, *words = shlex.split(rest)
    if command == "generate":
        assert make_generate_parser().parse_args(words).reference
        return
    assert command == "train"
    seen: list[argparse.Namespace] = []
    for module in ("prepare_command", "run", "export_command", "configuration_page"):
        monkeypatch.setattr(f"stdrc_core.train.{module}.main", seen.append)
    command_line.main(words)
    assert len(seen) == 1
    if recipe := getattr(seen[0], "config", None):
        assert (RECIPES / recipe.name).is_file()


@pytest.mark.parametrize(
    "name", sorted({name for text in TEXTS.values() for name in re.findall(r"\b\w+\.yaml", text)})
)
def test_the_recipes_that_are_named_are_there(name: str):
    assert name == "config.yaml" or (RECIPES / name).is_file()


# Data sets


def test_every_reason_has_its_row():
    assert [codes(row[0])[0] for row in rows("dataset", "What is set aside")] == list(Reason)


def test_every_option_of_prepare_has_its_row_and_default():
    parser = argparse.ArgumentParser()
    arguments.prepare(parser)
    told = {
        option: row[1] for row in rows("dataset", "Options of prepare") for option in codes(row[0])
    }
    actions = {each.option_strings[0]: each for each in parser._actions[1:]}
    assert told.keys() == actions.keys()
    for option, action in actions.items():
        assert (told[option] == "required") == action.required, option
        if action.default is not None and option not in ("--device", "--rank", "--world-size"):
            assert told[option] == (f"`{action.default}`" if action.default else "off"), option


def test_the_suffixes_are_those_that_are_read():
    text = TEXTS["dataset"]
    assert ", ".join(f"`{suffix}`" for suffix in VIDEO_SUFFIXES) in " ".join(text.split())
    assert ", ".join(f"`{suffix}`" for suffix in PHOTO_SUFFIXES) in " ".join(text.split())
    assert f"up to {references.MAX_OTHER_CLIPS} other clips" in text
    assert f"cut at {NUM_TOKENS} tokens" in text


def test_the_folder_is_read_as_it_is_drawn(tmp_path: Path):
    """Names are two spaces deeper than their folder's."""
    folders = [tmp_path]
    for line in block("dataset", "A folder", "text").splitlines():
        name = line.split()[0]
        depth = (len(line) - len(line.lstrip())) // 2
        path = folders[depth] / name
        folders[depth + 1 :] = [path]
        if name.endswith("/"):
            path.mkdir()
        else:
            path.write_text("a caption")
    entries = {entry.id: entry for entry in read_folder(tmp_path / "clips")}
    assert list(entries) == ["anna_reads.mp4", "ben_laughs.mp4", "more/eva_walks.mov"]
    assert all(entry.problem is None for entry in entries.values())
    photos = [entry.reference and entry.reference.name for entry in entries.values()]
    assert photos == ["anna_reads.ref.png", None, "eva_walks.jpg"]


def test_the_manifest_is_read_and_has_every_key_of_the_table(tmp_path: Path):
    lines = block("dataset", "A manifest", "json")
    path = tmp_path / "manifest.jsonl"
    path.write_text(lines)
    entries = read_manifest_lines(path)
    assert [entry.problem for entry in entries] == [None] * 4
    assert [len(entry.further) for entry in entries] == [0, 0, 0, 1]
    assert entries[1].start_s == 12.5
    keys = {key for line in lines.splitlines() for key in json.loads(line)}
    table = rows("dataset", "A manifest")
    assert {codes(row[0])[0] for row in table} == keys
    for key in [codes(row[0])[0] for row in table if row[1] == "required"]:
        line = {"video": "a.mp4", "caption": "a person"}
        path.write_text(json.dumps({name: each for name, each in line.items() if name != key}))
        assert read_manifest_lines(path)[0].problem is not None


def test_the_vip_json_is_read(tmp_path: Path):
    path, clips = tmp_path / "vip200k.json", tmp_path / "videos"
    path.write_text(block("dataset", "VIP-200K", "json"))
    clips.mkdir()
    for name in ("a1b2.mp4", "a1b2_100_400.mp4"):
        (clips / name).touch()
        (entry,) = read_vip(path, clips, window_s=2.0)
        assert (entry.problem, entry.video.name) == (None, name)
        assert len(entry.faces) == 1
    assert "vip200k.json --clips videos" in TEXTS["dataset"]


def test_a_clip_in_the_cache_has_the_size_of_the_formula(tmp_path: Path):
    """The first of the table's sizes, with LTX-2.3's prompt and the largest photo."""
    sizes = [
        row for row in rows("dataset", "Size of the cache") if re.match(r"\d+, \d+ x \d+", row[0])
    ]
    assert len(sizes) == 3
    for row in sizes:
        frames, width, height = map(int, re.findall(r"\d+", row[0]))
        latent = 256 * ((frames - 1) // 8 + 1) * (height // 32) * (width // 32)
        parts = [latent, 8_388_608, 12 * height * width]
        parts.append(sum(parts) + 57 * frames + 2048)
        assert row[1:] == [f"{part / 1e6:.1f} MB" for part in parts]
    frames, width, height = map(int, re.findall(r"\d+", sizes[0][0]))
    context = torch.zeros(NUM_TOKENS, 4096)
    manifest = Manifest(
        num_frames=frames,
        height=height,
        width=width,
        fps=24.0,
        latent_channels=128,
        context_shape=tuple(context.shape),
        checkpoint="ltx",
        checkpoint_fingerprint="",
        text_encoder="gemma",
        face_pack="buffalo_l",
    )
    sides = [each * references.MAX_OVERSIZE for each in (height, width)]
    sample = Sample(
        id="clip",
        video="clip.mp4",
        caption="",
        identity=None,
        reference_source="photo",
        latent=torch.zeros(128, (frames - 1) // 8 + 1, height // 32, width // 32),
        context=context,
        reference=torch.zeros(*sides, 3, dtype=torch.uint8),
        boxes=torch.zeros(frames, 4),
        landmarks=torch.zeros(frames, 5, 2),
        has_face=torch.zeros(frames, dtype=torch.bool),
        e_ref=torch.zeros(512),
    )
    with CacheWriter(tmp_path, manifest, context) as writer:
        writer.add(sample)
    (shard,) = (tmp_path / SHARDS).iterdir()
    # The file has a header of some hundred bytes besides.
    assert shard.stat().st_size == pytest.approx(13_800_169, rel=1e-3)


# Running


def test_the_keys_that_may_change_are_the_codes():
    table = rows("running", "Stopping and going on")
    told = [code for row in table for code in codes(row[0]) if re.match(r"[a-z]+(\.|$)", code)]
    assert sorted(told) == sorted(resume._FREE)


def test_the_exit_statuses_are_the_codes():
    statuses = {row[0] for row in rows("running", "Stopping and going on") if row[0].isdigit()}
    assert statuses == {"0", *map(str, command_line._DIVERGED.values()), "2"}


def test_running_names_the_folders_files():
    told = [code for row in rows("running", "What a run writes") for code in codes(row[0])]
    assert {"config.yaml", "log.jsonl", "validation.jsonl", "checkpoints/best.json"} <= set(told)


def test_the_validation_section_is_read():
    section = yaml.safe_load(block("running", "Validation", "yaml"))["validation"]
    assert len(ValidationSection(**section).items) == 2
