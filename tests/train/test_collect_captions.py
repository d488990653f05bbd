"""Captions: what is asked, what is taken for an answer, and captioners that fail."""

from __future__ import annotations

import base64
import io
import time
from pathlib import Path

import pytest
from helpers.chat_server import BROKEN, DRIPPING, HANGING, chat_server
from helpers.tiny_vlm import write_tiny_vlm
from PIL import Image

from stdrc_core.train.collect.caption_asking import ask
from stdrc_core.train.collect.caption_text import (
    INSTRUCTION,
    CaptionError,
    cleaned,
    looks_in,
    problem_of,
    without_looks,
)
from stdrc_core.train.collect.captioners import open_captioner
from stdrc_core.train.collect.chat_captioner import ChatCaptioner

GOOD = "A woman in a red coat walks through a market while the camera follows her."
FRAMES = [Image.new("RGB", (1920, 1080), (10 * i, 90, 160)) for i in range(4)]


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        ("", "empty"),
        ("...", "empty"),
        ("A man.", "2 words"),
        ("word " * 400, "400 words"),
        ("I'm sorry, but I cannot help with pictures of persons.", "refused"),
        ('{"a": 1, "b": [2, 3], "c": {"d": "x y z w"}} 123 456 789 000 111', "no prose"),
        ("walk walk walk walk walk walk walk walk walk a man walk walk walk", "repeated"),
    ],
)
def test_what_is_no_caption_is_told(answer: str, word: str):
    assert word in problem_of(cleaned(answer))


def test_a_caption_is_taken_without_what_models_put_around_it():
    said = f'<think>Let me look.</think>\n Caption: "{GOOD}"\n'
    assert cleaned(said) == GOOD
    assert problem_of(GOOD) is None
    assert looks_in(GOOD) is None


@pytest.mark.parametrize(
    "phrase",
    [
        "blue eyes",
        "a grey beard",
        "blonde hair",
        "pale skin",
        "a pretty face",
        "brown-haired",
        "an asian man",
    ],
)
def test_the_looks_of_a_face_are_found_and_cut_out(phrase: str):
    text = f"A person with {phrase}, in a red coat, walks through a market. The camera follows."
    assert looks_in(text)
    rest = without_looks(text)
    assert looks_in(rest) is None
    assert rest == "in a red coat, walks through a market. The camera follows."


def test_a_captioner_that_tells_of_the_face_is_asked_again():
    answers = iter(["A man with a black beard walks slowly along a street.", GOOD])
    asked: list[str] = []

    def answer(instruction: str) -> str:
        asked.append(instruction)
        return next(answers)

    assert ask(answer) == GOOD
    assert asked[0] == INSTRUCTION
    assert "beard" in asked[1]


def test_one_that_goes_on_telling_loses_that_part():
    said = "A man stands in a kitchen, his brown hair short, and cuts bread on a board."
    assert ask(lambda _: said) == "A man stands in a kitchen, and cuts bread on a board."


def test_nonsense_is_given_up():
    with pytest.raises(CaptionError, match="of no use 3 times; the last: it had 1 words"):
        ask(lambda _: "lorem")


def test_frames_are_sent_small_and_in_their_order_with_the_instruction():
    with chat_server(lambda _: GOOD) as server:
        assert ChatCaptioner(server.address, None, 5).caption(FRAMES) == GOOD
        (body,) = server.asked
    assert body["model"] == "drawn-vlm"
    text, *images = body["messages"][0]["content"]
    assert "Never describe the looks" in text["text"]
    reds = []
    for each in images:
        kind, _, data = each["image_url"]["url"].partition(",")
        assert kind == "data:image/jpeg;base64"
        picture = Image.open(io.BytesIO(base64.b64decode(data)))
        assert max(picture.size) == 512
        reds.append(picture.getpixel((9, 9))[0])
    assert reds == sorted(reds)
    assert len(reds) == 4


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (500, ConnectionError, "answered with 500"),
        (307, ConnectionError, "answered with 307"),
        (HANGING, ConnectionError, "did not answer in 0.5 s"),
        (DRIPPING, ConnectionError, "did not answer in 0.5 s"),
        (BROKEN, CaptionError, "no JSON"),
    ],
)
def test_a_server_that_fails_is_named_in_time(answer: str | int, error: type, words: str):
    with chat_server(lambda _: answer) as server:
        began = time.monotonic()
        with pytest.raises(error, match=words):
            ChatCaptioner(server.address, "m", 0.5).caption(FRAMES)
        assert time.monotonic() - began < 2.5


def test_nobody_at_the_address_is_told():
    with pytest.raises(ConnectionError, match="could not be asked"):
        ChatCaptioner("http://127.0.0.1:9", "m", 2).caption(FRAMES)


def test_a_proxy_of_the_environment_gets_no_frames(monkeypatch: pytest.MonkeyPatch):
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with chat_server(lambda _: GOOD) as server:
        assert ChatCaptioner(server.address, "m", 5).caption(FRAMES) == GOOD


@pytest.mark.parametrize(
    ("address", "is_local"),
    [
        ("http://localhost:8080", True),
        ("http://127.0.0.1:1234/v1", True),
        ("http://[::1]:80/v1", True),
        ("http://192.168.1.9:8000/v1", False),
        ("https://captions.example/v1", False),
        ("http://localhost.example/v1", False),
    ],
)
def test_it_is_known_whether_frames_leave_the_machine(address: str, is_local: bool):
    captioner = open_captioner(address, None, 5)
    assert captioner.is_local is is_local
    assert captioner.address.endswith("/v1")


def test_what_is_no_captioner_is_one_sentence(tmp_path: Path):
    assert open_captioner(None, None, 5) is None
    assert open_captioner("sidecar", None, 5) is None
    for given, words in (
        ("ftp://x", "captions was 'ftp://x'; needs 'sidecar'"),
        (str(tmp_path / "no"), "needs 'sidecar' for texts"),
        (str(tmp_path), "could not be opened"),
        ("http://", "needs an address with a host"),
        ("http://127.0.0.1:99999/v1", "is no address"),
        ("http://[::1/v1", "is no address"),
    ):
        with pytest.raises(ValueError, match=words):
            open_captioner(given, None, 5)


def test_a_local_model_is_asked_with_the_frames(tmp_path: Path):
    said = "A person in red walks through the market while camera follows."
    captioner = open_captioner(str(write_tiny_vlm(tmp_path / "vlm", said)), None, 5)
    assert captioner.caption(FRAMES) == said
    nothing = open_captioner(str(write_tiny_vlm(tmp_path / "mute", "Person.")), None, 5)
    with pytest.raises(CaptionError, match="it had 1 words"):
        nothing.caption(FRAMES)
