"""Text as people save it: every reader of captions, JSON lines and recipes takes it alike."""

from __future__ import annotations

import codecs
import json
import os
import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.generate_command import words

from stdrc_core.evaluate.pairs import read_pairs
from stdrc_core.generate.arguments import make_parser
from stdrc_core.generate.jobs import read_jobs
from stdrc_core.ltx.reference_layout import LayoutChoice
from stdrc_core.train.config import load_config
from stdrc_core.train.sources import read_sources

PROJECT = Path(__file__).parents[1]
PROMPT = "a person in a café nods slowly, 慢慢点头 🙂"


def from_caption(folder: Path, write: Callable[[Path, str], None], prompt: str) -> str:
    (folder / "a.mp4").touch()
    write(folder / "a.txt", prompt + "\r\n")
    (entry,) = read_sources(folder, window_s=1)
    if entry.problem:
        raise ValueError(entry.problem)
    return entry.caption


def from_manifest(folder: Path, write: Callable[[Path, str], None], prompt: str) -> str:
    line = json.dumps({"video": "a.mp4", "caption": prompt}, ensure_ascii=False)
    write(folder / "data.jsonl", f"{line}\r\n\r\n{line}\r\n")
    first, *others = read_sources(folder / "data.jsonl", window_s=1)
    if first.problem:
        raise ValueError(first.problem)
    assert [each.caption for each in others] == [first.caption]
    return first.caption


def from_batch(folder: Path, write: Callable[[Path, str], None], prompt: str) -> str:
    lines = [
        json.dumps({"reference": "p.png", "prompt": prompt, "name": name}, ensure_ascii=False)
        for name in "ab"
    ]
    write(folder / "jobs.jsonl", "\r\n".join(lines) + "\r\n")
    given = words(folder / "none.safetensors", folder, "--batch", folder / "jobs.jsonl")
    args: Namespace = make_parser().parse_args(given)
    first, second = read_jobs(args, LayoutChoice().decide([], {}))
    assert second.prompt == first.prompt
    return first.prompt


def from_pairs(folder: Path, write: Callable[[Path, str], None], prompt: str) -> str:
    lines = [
        json.dumps({"video": f"{name}.mp4", "prompt": prompt}, ensure_ascii=False) for name in "ab"
    ]
    for name in "ab":
        (folder / f"{name}.mp4").touch()
    write(folder / "pairs.jsonl", "\r\n".join(lines) + "\r\n")
    first, second = read_pairs(folder / "pairs.jsonl", folder, {"prompt"})
    assert second.prompt == first.prompt
    return first.prompt


def from_recipe(folder: Path, write: Callable[[Path, str], None], prompt: str) -> str:
    items = f"  every: 5\n  items:\n  - prompt: {prompt}\n    photo: p.png\n    seed: 3\n"
    head = "model: {checkpoint: a}\ndata: {cache: c}\nrun: {out: o}\n"
    head += "objective: {lambda_id: 0, lambda_tic: 0}\nvalidation:\n"
    text = f"{head}  text_encoder: miniature\n{items}"
    write(folder / "run.yaml", text.replace("\n", "\r\n"))
    (item,) = load_config(folder / "run.yaml").validation.items
    assert item.seed == 3
    return item.prompt


READERS = [from_caption, from_manifest, from_batch, from_pairs, from_recipe]
ENCODINGS = {
    "utf8": ("utf-8", b""),
    "utf8 with mark": ("utf-8", codecs.BOM_UTF8),
    "utf16 of Windows": ("utf-16-le", codecs.BOM_UTF16_LE),
    "utf16 of old Macs": ("utf-16-be", codecs.BOM_UTF16_BE),
    "utf32": ("utf-32-le", codecs.BOM_UTF32_LE),
    "utf32 big endian": ("utf-32-be", codecs.BOM_UTF32_BE),
    "utf8 with its mark twice": ("utf-8", 2 * codecs.BOM_UTF8),
}
# Characters that Python's splitlines, or YAML, takes for the end of a line.
WITHIN_A_LINE = {
    "line separator": "\u2028",
    "paragraph separator": "\u2029",
    "next line": "\x85",
    "vertical tab": "\x0b",
    "form feed": "\x0c",
    "file separator": "\x1c",
    "group separator": "\x1d",
    "record separator": "\x1e",
}
OTHERS = {
    "cp1252": (PROMPT[:30], "cp1252"),
    "latin 1": ("un café", "latin-1"),
    "gbk": ("一个人慢慢点头", "gbk"),
    "shift jis": ("人がうなずく", "shift-jis"),
    "big5": ("一個人慢慢點頭", "big5"),
    "cyrillic": ("человек кивает", "cp1251"),
    "mac roman": ("un café", "mac-roman"),
    "utf16 without a mark": ("a person", "utf-16-le"),
    "utf16 big endian without a mark": ("a person", "utf-16-be"),
    "utf32 without a mark": ("a person", "utf-32-le"),
    "euc kr": ("사람이 고개를", "euc-kr"),
    "koi8": ("человек кивает", "koi8-r"),
    "a console of Windows": ("un café", "cp850"),
    "thai": ("คนพยักหน้า", "cp874"),
    "greek": ("ένα άτομο", "cp1253"),
    "jis of a mail": ("人がうなずく", "iso-2022-jp"),
    "korean of a mail": ("사람이", "iso-2022-kr"),
}


def writer(encoding: str, mark: bytes = b"") -> Callable[[Path, str], None]:
    return lambda path, text: path.write_bytes(mark + text.encode(encoding)) and None


@pytest.mark.parametrize("read", READERS, ids=lambda read: read.__name__)
@pytest.mark.parametrize("name", ENCODINGS)
def test_text_is_read_by_its_mark(tmp_path: Path, read: Callable, name: str):
    assert read(tmp_path, writer(*ENCODINGS[name]), PROMPT) == PROMPT


@pytest.mark.parametrize("read", READERS, ids=lambda read: read.__name__)
@pytest.mark.parametrize("name", WITHIN_A_LINE)
def test_a_line_ends_at_a_line_feed_alone(tmp_path: Path, read: Callable, name: str):
    # JSON writes control characters below a space as escapes, but for U+0085 and beyond.
    prompt = f"a person{WITHIN_A_LINE[name]}nods"
    assert read(tmp_path, writer("utf-8"), prompt) == prompt


@pytest.mark.parametrize("read", READERS, ids=lambda read: read.__name__)
@pytest.mark.parametrize("name", OTHERS)
def test_other_encodings_are_named_and_not_guessed(tmp_path: Path, read: Callable, name: str):
    prompt, encoding = OTHERS[name]
    with pytest.raises(ValueError, match=r"is not UTF-8 \(.*: save it as UTF-8") as refused:
        read(tmp_path, writer(encoding), prompt)
    assert "\n" not in str(refused.value)
    assert str(tmp_path) in str(refused.value)


@pytest.mark.parametrize("read", READERS, ids=lambda read: read.__name__)
@pytest.mark.parametrize(
    ("content", "form"),
    [
        (b"{\\rtf1\\ansi\\ansicpg1252\\cocoartf2761\n\\f0 a person nods}", "rich text (RTF)"),
        (b"\n<!DOCTYPE html>\n<html><body>Log in</body></html>", "a web page (HTML)"),
        (b"<HTML lang='en'><body>404</body></HTML>", "a web page (HTML)"),
    ],
)
def test_what_is_no_plain_text_is_named(tmp_path: Path, read: Callable, content: bytes, form: str):
    """TextEdit saves rich text, and a download without a login is a page."""
    with pytest.raises(ValueError) as refused:
        read(tmp_path, lambda path, _: path.write_bytes(content), "a person")
    assert f"is {form}, no plain text: save it as UTF-8" in str(refused.value)


@pytest.mark.parametrize("read", [from_batch, from_pairs, from_manifest], ids=lambda r: r.__name__)
def test_half_a_character_is_refused(tmp_path: Path, read: Callable):
    # Only as JSON's escape can a file in UTF-8 hold it.
    def write(path: Path, text: str) -> None:
        path.write_text(text.replace("HALF", "\\ud83d"), encoding="utf-8")

    with pytest.raises(ValueError, match="holds half a character"):
        read(tmp_path, write, "a HALF smile")


@pytest.mark.parametrize("around", ["\u200b{}\u200b", "\u3000{}\u00a0\r\n", "\ufeff{}\r\n\x1a"])
def test_what_is_not_seen_around_a_caption_is_left_out(tmp_path: Path, around: str):
    def write(path: Path, text: str) -> None:
        path.write_bytes(around.format(text).encode())

    assert from_caption(tmp_path, write, PROMPT) == PROMPT


def test_files_that_were_put_together_have_a_mark_in_the_middle(tmp_path: Path):
    line = json.dumps({"video": "a.mp4", "caption": PROMPT}).encode() + b"\n"
    path = tmp_path / "data.jsonl"
    path.write_bytes(2 * (codecs.BOM_UTF8 + line))
    assert [entry.problem for entry in read_sources(path, window_s=1)] == [None, None]


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"\xef\xbb\xbf", b"\xff\xfe", b" \r\n\t\n", b"\xef\xbb\xbf\n", b"\x1a"),
        *("\u200b \u2060".encode(), "\u3000\u00a0\n".encode(), "\ufeff\u200b".encode("utf-16")),
    ],
)
def test_a_caption_of_nothing_is_empty(tmp_path: Path, content: bytes):
    (tmp_path / "a.mp4").touch()
    (tmp_path / "a.txt").write_bytes(content)
    (entry,) = read_sources(tmp_path, window_s=1)
    assert entry.problem == f"caption {tmp_path / 'a.txt'} is empty"


def test_a_torn_utf16_is_named(tmp_path: Path):
    (tmp_path / "a.mp4").touch()
    (tmp_path / "a.txt").write_bytes("a person".encode("utf-16")[:-1])
    (entry,) = read_sources(tmp_path, window_s=1)
    assert "begins with the mark of UTF-16, but is not UTF-16" in entry.problem


@pytest.mark.parametrize("locale", ["C", "de_DE.ISO-8859-1"])
def test_the_locale_does_not_count(tmp_path: Path, locale: str):
    """As on Windows, where Python reads files in another encoding by default."""
    (tmp_path / "jobs.jsonl").write_text(
        json.dumps({"reference": "p.png", "prompt": PROMPT}, ensure_ascii=False), encoding="utf-8"
    )
    script = (
        "import locale, sys\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "from pathlib import Path\n"
        "from stdrc_core.text_files import read_lines\n"
        "from stdrc_core.files import write_text\n"
        "write_text(sys.argv[3], '\\n'.join(read_lines(sys.argv[2])) + '\\n')\n"
    )
    environment = os.environ | {
        "LC_ALL": locale,
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
    }
    copy = tmp_path / "copy.jsonl"
    files = [str(PROJECT), str(tmp_path / "jobs.jsonl"), str(copy)]
    subprocess.run([sys.executable, "-c", script, *files], env=environment, check=True)
    assert json.loads(copy.read_bytes())["prompt"] == PROMPT
    assert b"\r" not in copy.read_bytes()
