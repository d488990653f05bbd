"""FaceSim-Arc and TIC, against InsightFace's own API on the same frames."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.clips import decode
from helpers.drawn_persons import DrawnPersons, Evaluate, read_picture
from insightface.app import FaceAnalysis
from PIL import Image

from stdrc_core.evaluate.verification import PersonFaces, area_under_curve, verify
from stdrc_core.mini.shipped import FACES
from stdrc_core.video import write_clip

GREY = 128


@pytest.fixture(scope="module")
def app() -> FaceAnalysis:
    app = FaceAnalysis(
        name=str(FACES),
        allowed_modules=["detection", "recognition"],
        providers=["CPUExecutionProvider"],
    )
    app.prepare(0)
    return app


def embedding(app: FaceAnalysis, bgr: np.ndarray) -> np.ndarray | None:
    """ConsisID's protocol in its own words: the largest box, else once more on 25 % of grey."""
    height, width = bgr.shape[:2]
    padded = np.full((height + 2 * (height // 4), width + 2 * (width // 4), 3), GREY, np.uint8)
    padded[height // 4 : height // 4 + height, width // 4 : width // 4 + width] = bgr
    for image in (bgr, padded):
        faces = app.get(np.ascontiguousarray(image))
        if faces:
            boxes = [face.bbox for face in faces]
            areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in boxes]
            return faces[int(np.argmax(areas))].normed_embedding
    return None


def photo_embedding(app: FaceAnalysis, path: Path) -> np.ndarray:
    return embedding(app, read_picture(path)[..., ::-1])


def cosines(app: FaceAnalysis, video: Path, photo: Path) -> list[float | None]:
    frames = decode(video)[..., ::-1]
    e_ref = photo_embedding(app, photo)
    found = [embedding(app, frames[i]) for i in np.linspace(0, len(frames) - 1, 16).astype(int)]
    return [None if each is None else float(each @ e_ref) for each in found]


def results(out: Path) -> dict[str, dict]:
    return {
        each["video"]: each for each in json.loads((out / "metrics.json").read_text())["results"]
    }


def test_scores_are_those_of_insightface_itself(
    world: DrawnPersons, evaluated: Path, app: FaceAnalysis
):
    scored = results(evaluated)
    for pair in world.pairs[::3]:
        expected = cosines(app, world.folder / pair["video"], world.folder / pair["reference"])
        ours = scored[pair["video"]]["scores"]["facesim_arc"]
        assert ours["curve"] == pytest.approx(expected, abs=1e-6)
        assert ours["value"] == pytest.approx(np.maximum(expected, 0).mean(), abs=1e-6)
        assert ours["frames"] == np.linspace(0, 16, 16).astype(int).tolist()


def test_temporal_identity_is_equation_10(world: DrawnPersons, evaluated: Path, app: FaceAnalysis):
    pair = world.pairs[2]
    frames = decode(world.folder / pair["video"])[..., ::-1]
    indices = np.linspace(0, len(frames) - 1, 16).astype(int)
    faces = np.stack([embedding(app, frames[i]) for i in indices])
    mean = faces.mean(axis=0)
    expected = (faces @ mean / np.linalg.norm(mean)).mean()
    ours = results(evaluated)[pair["video"]]["scores"]["tic"]["value"]
    assert ours == pytest.approx(expected, abs=1e-6)


def test_one_person_is_told_from_others(world: DrawnPersons, evaluated: Path, app: FaceAnalysis):
    """Each clip with each photo, as InsightFace scores them: the report's distributions and AUC."""
    photos = {pair["reference"]: None for pair in world.pairs}
    photos = {name: photo_embedding(app, world.folder / name) for name in photos}
    same, different = [], []
    for pair in world.pairs:
        frames = decode(world.folder / pair["video"])[..., ::-1]
        chosen = [frames[i] for i in np.linspace(0, len(frames) - 1, 16).astype(int)]
        faces = [face for face in (embedding(app, frame) for frame in chosen) if face is not None]
        for name, e_ref in photos.items():
            score = float(np.mean([max(0.0, face @ e_ref) for face in faces]))
            (same if name == pair["reference"] else different).append(score)
    wins = [(a > b) + (a == b) / 2 for a, b in product(same, different)]
    report = json.loads((evaluated / "metrics.json").read_text())["verification"]
    assert (report["num_same"], report["num_different"]) == (12, 60)
    assert report["auc"] == pytest.approx(np.mean(wins), abs=1e-9)
    assert report["mean_same"] == pytest.approx(np.mean(same), abs=1e-6)
    assert report["mean_different"] == pytest.approx(np.mean(different), abs=1e-6)
    assert sum(report["histogram_same"]) == 12
    assert report["auc"] > 0.95
    assert report["mean_same"] > report["mean_different"] + 0.4


def test_two_clips_of_one_person_are_more_alike_than_of_two(world: DrawnPersons, evaluated: Path):
    """Clip against clip, by the embeddings that the evaluation keeps."""
    from stdrc_core.evaluate.results import Store

    store = Store(out=evaluated)
    means = {}
    for pair in world.pairs:
        _, frames = store.read_faces(pair["video"])
        means[pair["video"]] = torch.nn.functional.normalize(frames.mean(dim=0), dim=0)
    same, different = [], []
    for a, b in product(means, means):
        if a < b:
            (same if a[0] == b[0] else different).append(float(means[a] @ means[b]))
    assert (len(same), len(different)) == (6, 60)
    assert area_under_curve(torch.tensor(same), torch.tensor(different)) > 0.95
    assert np.mean(same) > np.mean(different) + 0.4


def test_area_under_the_curve_counts_ties_half():
    same, different = torch.tensor([1.0, 2, 2]), torch.tensor([0.0, 2, 3, 1])
    wins = [(a > b) + (a == b) / 2 for a, b in product(same.tolist(), different.tolist())]
    assert area_under_curve(same, different) == pytest.approx(np.mean(wins))


def test_one_person_alone_is_verified_with_nobody():
    face = torch.nn.functional.normalize(torch.ones(4), dim=0)
    clip = PersonFaces(person="a", photo=face, frames=face[None])
    assert verify([clip, clip]) is None


def composed(world: DrawnPersons, *, faceless: slice, beside: bool = False) -> torch.Tensor:
    """24 frames 128 x 256: a person at full size, another at half, and frames of nobody."""
    large = decode(world.folder / world.pairs[0]["video"])
    small = decode(world.folder / world.pairs[4]["video"])
    frames = torch.full((24, 128, 256, 3), 60, dtype=torch.uint8)
    for i in range(24):
        if i not in range(24)[faceless]:
            frames[i, :, :128] = torch.from_numpy(large[i % 17].copy())
            if beside:
                shrunk = Image.fromarray(small[i % 17]).resize((80, 80))
                frames[i, :80, 160:240] = torch.from_numpy(np.array(shrunk))
    return frames


def test_the_largest_face_counts_and_frames_without_one_do_not(
    world: DrawnPersons, tmp_path: Path, evaluate: Evaluate, app: FaceAnalysis
):
    frames = composed(world, faceless=slice(8, 14), beside=True)
    write_clip(tmp_path / "two.mp4", frames, 24)
    two = decode(tmp_path / "two.mp4")[..., ::-1]
    assert len(app.get(np.ascontiguousarray(two[0]))) == 2, "the test shows one face only"
    photo = world.pairs[0]["reference"]
    report = evaluate([{"video": "two.mp4", "reference": photo}], videos=tmp_path)
    (result,) = report["results"]
    expected = cosines(app, tmp_path / "two.mp4", world.folder / photo)
    ours = result["scores"]["facesim_arc"]
    assert None in expected
    assert ours["curve"] == pytest.approx(expected, abs=1e-6)
    assert ours["value"] == pytest.approx(
        np.mean([max(0, each) for each in expected if each is not None]), abs=1e-6
    )
    # The other face would have said something else.
    faces = sorted(app.get(np.ascontiguousarray(two[0])), key=lambda face: np.ptp(face.bbox[::2]))
    e_ref = photo_embedding(app, world.folder / photo)
    assert abs(faces[0].normed_embedding @ e_ref - expected[0]) > 0.05


def close_cuts(app: FaceAnalysis, path: Path) -> Iterator[np.ndarray]:
    """The first frame's face ever closer, BGR."""
    frame = np.ascontiguousarray(decode(path)[0, ..., ::-1])
    box = app.get(frame)[0].bbox.astype(int)
    for inset in range(0, 30, 2):
        left, top, right, bottom = box + np.array([inset, inset, -inset, -inset])
        cut = Image.fromarray(frame[top:bottom, left:right])
        yield np.array(cut.resize((128, 128)))


def test_a_face_that_fills_the_frame_is_found_on_the_padded_frame(
    world: DrawnPersons, tmp_path: Path, evaluate: Evaluate, app: FaceAnalysis
):
    close = (cut for pair in world.pairs for cut in close_cuts(app, world.folder / pair["video"]))
    cut = next(cut for cut in close if not app.get(cut) and embedding(app, cut) is not None)
    path = tmp_path / "close.mp4"
    write_clip(path, torch.from_numpy(cut[..., ::-1].copy()).repeat(4, 1, 1, 1), 24)
    photo = world.pairs[0]["reference"]
    (result,) = evaluate([{"video": path.name, "reference": photo}], videos=tmp_path)["results"]
    expected = cosines(app, path, world.folder / photo)
    assert result["scores"]["facesim_arc"]["curve"] == pytest.approx(expected, abs=1e-6)


def test_no_face_at_all_is_no_likeness(world: DrawnPersons, tmp_path: Path, evaluate: Evaluate):
    write_clip(tmp_path / "nobody.mp4", torch.full((9, 128, 128, 3), 70, dtype=torch.uint8), 24)
    pair = {"video": "nobody.mp4", "reference": world.pairs[0]["reference"]}
    report = evaluate([pair], videos=tmp_path)
    (result,) = report["results"]
    assert result["scores"]["facesim_arc"]["value"] == 0
    assert result["scores"]["facesim_arc"]["curve"] == [None] * 16
    assert "none of the 16 frames looked at shows a face" in result["problems"]["tic"]
    assert report["metrics"].keys() == {"facesim_arc"}


def test_strangers_are_clamped_at_nothing(
    world: DrawnPersons, evaluate: Evaluate, app: FaceAnalysis
):
    """Among all strangers some cosines are below 0, and count as 0."""
    pairs, expected = [], {}
    for i, pair in enumerate(world.pairs[::2]):
        photo = world.pairs[(2 * i + 6) % 12]["reference"]
        pairs.append({"video": pair["video"], "reference": photo})
        found = cosines(app, world.folder / pair["video"], world.folder / photo)
        expected[pair["video"]] = [each for each in found if each is not None]
    assert min(min(each) for each in expected.values()) < 0, "no stranger is unlike enough"
    for result in evaluate(pairs)["results"]:
        value = np.maximum(expected[result["video"]], 0).mean()
        assert result["scores"]["facesim_arc"]["value"] == pytest.approx(value, abs=1e-6)


def test_all_frames_when_asked(world: DrawnPersons, evaluate: Evaluate):
    (result,) = evaluate(world.pairs[:1], frames=0)["results"]
    assert result["scores"]["facesim_arc"]["frames"] == list(range(17))
