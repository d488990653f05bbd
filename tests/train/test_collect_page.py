"""The page of a collected data set in a real browser: it shows, ticks, scrolls and saves."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import torch
from helpers.chromium import open_chromium
from PIL import Image

from stdrc_core.train.collect.collect import WORK
from stdrc_core.train.collect.face_looks import Looks
from stdrc_core.train.collect.left_out import LeftOut, Reason
from stdrc_core.train.collect.look import make_server
from stdrc_core.train.collect.options import CollectConfig
from stdrc_core.train.collect.page import ShownClip, render_page
from stdrc_core.train.collect.plan import Plan, PlannedClip
from stdrc_core.train.collect.tracks import Track
from stdrc_core.train.collect.windows import Window

NUM_CLIPS, NUM_PERSONS = 2000, 60


def clip(number: int) -> ShownClip:
    looks = Looks(
        yaw_deg=float(number % 60 - 30),
        pitch=0,
        roll_deg=0,
        sharpness=0.7,
        burnt=0,
        dark=0,
        light=(90, 90, 90),
        clothes=(9, 9, 9),
    )
    track = Track(
        key=f"v-{number}#0",
        shot=0,
        start_s=0,
        end_s=5,
        time_s=torch.tensor([1.0], dtype=torch.float64),
        box=torch.tensor([[0.0, 0, 100 + number % 90, 200]]),
        landmarks=torch.zeros(1, 5, 2),
        embedding=torch.zeros(1, 4),
        looks=(looks,),
    )
    window = Window(footage=f"v-{number}", shot=0, start_s=0, end_s=5, tracks=(track,))
    made = {
        "video": f"clips/v-{number}/00000000.mp4",
        "copied": bool(number % 3),
        "references": [["references/v/1.png"]],
        "strip": f"page/{number % 7}.jpg",
        "strip_px": (480, 88),
    }
    planned = PlannedClip(window=window, persons=(f"p{number % NUM_PERSONS:04d}",), references=())
    return ShownClip(clip=planned, made=made, caption="a person <turns>", is_in=number != 5)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of 2000 clips, of which one is out, with pictures but without videos."""
    folder = tmp_path_factory.mktemp("set")
    left_out = [
        LeftOut(reason=Reason.BLURRED, file="a.mp4", detail="0.1", start_s=float(i), end_s=i + 1.0)
        for i in range(90)
    ]
    plan = Plan(clips=(), excluded=(), left_out=(), same_person=0.4, facts={})
    clips = [clip(i) for i in range(NUM_CLIPS)]
    names = {f"v-{i}": f"films/{i}.mp4" for i in range(NUM_CLIPS)}
    page = render_page(clips, left_out, names, plan, CollectConfig())
    (folder / "report.html").write_text(page, encoding="utf-8")
    (folder / "page").mkdir()
    for i in range(7):
        Image.new("RGB", (480, 88), (30 * i, 90, 160)).save(folder / "page" / f"{i}.jpg")
    (folder / "work").mkdir()
    (folder / "work" / "secret.json").write_text("{}")
    return folder


@pytest.fixture(scope="module")
def address(out: Path) -> Iterator[str]:
    with make_server(out) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_the_server_answers_this_page_alone(address: str, out: Path):
    assert requests.get(f"{address}/", timeout=9).text.startswith("<!doctype html>")
    assert requests.get(f"{address}/page/1.jpg", timeout=9).ok
    for before in ("", "/page/..", "/page/%2e%2e"):
        path = f"{before}/{WORK}/secret.json"
        assert requests.get(address + path, timeout=9).status_code == 404
    for headers in ({"Origin": "http://evil.example"}, {"Host": "evil.example"}):
        answer = requests.put(f"{address}/exclude.txt", "p1", headers=headers, timeout=9)
        assert answer.status_code == 403
    assert requests.put(f"{address}/settings.json", "p1", timeout=9).status_code == 403
    assert not (out / "exclude.txt").exists()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with open_chromium() as browser:
        yield browser


@pytest.mark.browser
def test_two_thousand_clips_are_ticked_scrolled_and_saved(address: str, out: Path, browser: Any):
    page = browser.new_page(viewport={"width": 1300, "height": 900})
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: said.append(request.url))
    page.goto(f"{address}/")
    assert page.locator("figure").count() == NUM_CLIPS
    assert page.locator("figure.out").count() == 1
    assert "1 clip is unticked" in page.locator("#told").inner_text()
    # Pictures far below are not fetched until they are scrolled to.
    assert sum(".jpg" in url for url in said) < 8
    page.locator("nav a", has_text="Left out").click()
    page.wait_for_function(
        "document.getElementById('left-out').getBoundingClientRect().top < innerHeight"
    )
    assert page.locator("summary", has_text="face blurred").bounding_box()["y"] < 900
    page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
    page.wait_for_timeout(300)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.locator("input[data-name='p0007']").uncheck()
    page.locator("input[data-name='clips/v-9/00000000.mp4']").uncheck()
    person = page.locator("input[data-name='p0009']")
    assert person.evaluate("box => [box.checked, box.indeterminate]") == [True, True]
    page.locator("#save").click()
    page.wait_for_function("document.getElementById('told').textContent.startsWith('Saved')")
    assert sorted((out / "exclude.txt").read_text().split()) == [
        *("clips/v-5/00000000.mp4", "clips/v-9/00000000.mp4", "p0007"),
    ]
    assert all(url.startswith((address, "data:")) for url in said), said[-3:]
    page.close()


@pytest.mark.browser
def test_opened_as_a_file_it_offers_a_download(out: Path, browser: Any):
    page = browser.new_page()
    page.goto(f"file://{out / 'report.html'}")
    with page.expect_download() as offered:
        page.locator("#save").click()
    assert offered.value.suggested_filename == "exclude.txt"
    assert Path(offered.value.path()).read_text() == "clips/v-5/00000000.mp4\n"
    page.close()


def test_the_page_says_why_and_hides_nothing(out: Path):
    text = (out / "report.html").read_text()
    assert "face blurred" in text
    assert "and 50 more in report.jsonl" in text
    assert "a person &lt;turns&gt;" in text
    assert "films/3.mp4, 0:00.00" in text
    assert text.count("<svg") == 2
