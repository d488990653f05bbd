"""The face nodes in the real host: their numbers, their sessions, and what a user gets wrong."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.comfyui import Worker
from helpers.one_sentence import assert_one_clear_sentence
from torch import Tensor

from stdrc_core.experiments.scores import Case, draw_cases
from stdrc_core.faces.onnx_finder import open_onnx_pack
from stdrc_core.faces.similarity import clip_facesim, largest_embeddings
from stdrc_core.mini.shipped import FACES

pytestmark = [
    pytest.mark.host,
    pytest.mark.filterwarnings("ignore:`estimate` is deprecated:FutureWarning"),
]


@pytest.fixture(scope="module")
def case() -> Case:
    return draw_cases(1, seed=21)[0]


@pytest.fixture(scope="module")
def clip(case: Case) -> Tensor:
    return case.true_clip().float() / 255


def test_the_similarity_is_facesim_and_all_of_it_is_reported(
    host: Worker, case: Case, clip: Tensor
) -> None:
    finder = open_onnx_pack(FACES)
    (e_ref,) = largest_embeddings((case.photo * 255).round().byte(), finder)
    got = host("faces.similarity", images=clip, reference=case.photo)
    expected = clip_facesim(case.true_clip(), e_ref, finder)
    assert got["similarity"] == pytest.approx(expected, abs=1e-6)
    report = json.loads(got["report"])
    assert report["similarity"] == got["similarity"]
    assert (report["face_pack"], report["provider"]) == ("stdrc_mini", "CPUExecutionProvider")
    assert len(report["frames"]) == report["num_scored"] == 16
    assert got["plot"].shape == (1, 480, 960, 3)
    assert got["annotated"].shape == (16, *clip.shape[1:])
    assert got["plot"].min() >= 0 and got["plot"].max() <= 1
    # A box, a number and a label: most of the frame is as it was.
    chosen = clip[[each["frame"] for each in report["frames"]]]
    is_same = ((got["annotated"] - chosen).abs() < 1e-6).all(dim=-1).float().mean(dim=(1, 2))
    assert is_same.min() > 0.75 and is_same.max() < 0.97
    values = [value for value, _ in got["progress"]]
    assert values == sorted(values)
    assert got["progress"][-1] == (32, 32)


def test_several_photos_are_compared_by_their_mean_or_the_nearest(
    host: Worker, case: Case, clip: Tensor
) -> None:
    """And one photo is the published protocol, whatever is chosen."""
    others = [case.photo * 0.7, case.photo.flip(2)]
    batch = torch.cat((case.photo, *others))
    curves = {}
    for gallery in ("mean", "nearest"):
        got = host("faces.similarity", images=clip, reference=batch, frames=5, gallery=gallery)
        report = json.loads(got["report"])
        assert (report["num_photos"], report["gallery"]) == (3, gallery)
        curves[gallery] = [each["cosine"] for each in report["frames"]]
    apart, drifts = [], []
    for photo in batch.split(1):
        got = host("faces.similarity", images=clip, reference=photo, frames=5, gallery="nearest")
        report = json.loads(got["report"])
        assert report["num_photos"] == 1 and "gallery" not in report
        apart.append([each["cosine"] for each in report["frames"]])
        drifts.append((report["drift"], report["drift_error"]))
    finder = open_onnx_pack(FACES)
    e_refs = [largest_embeddings((each * 255).round().byte(), finder)[0] for each in batch.split(1)]
    length = float(torch.stack(e_refs).sum(dim=0).norm())
    means, highest = np.array(apart).sum(axis=0) / length, np.array(apart).max(axis=0)
    assert curves["mean"] == pytest.approx(means, abs=1e-5)
    assert curves["nearest"] == pytest.approx(highest, abs=1e-6)
    frames = [each["frame"] for each in report["frames"]]
    for curve, (drift, error) in zip(apart, drifts, strict=True):
        (slope, _), covariance = np.polyfit(frames, curve, 1, cov=True)
        assert drift == pytest.approx(100 * slope, abs=1e-6)
        assert error == pytest.approx(100 * covariance[0, 0] ** 0.5, abs=1e-6)


@pytest.mark.parametrize(("frames", "num_looked_at"), [(0, 17), (5, 5), (40, 17)])
def test_frames_is_how_many_are_looked_at(
    host: Worker, case: Case, clip: Tensor, frames: int, num_looked_at: int
) -> None:
    got = host("faces.similarity", images=clip, reference=case.photo, frames=frames)
    assert len(got["annotated"]) == num_looked_at


def test_a_photo_is_cut_around_its_face(host: Worker, case: Case) -> None:
    (faces,) = open_onnx_pack(FACES).find((case.photo * 255).round().byte())
    left, top, right, bottom = faces[0].face.box.tolist()
    got = host("faces.photo", image=case.photo, margin=0.25)
    grown = 0.25 * max(right - left, bottom - top)
    height, width = case.photo.shape[1:3]
    rows = slice(max(int(top - grown), 0), min(int(-(-(bottom + grown) // 1)), height))
    columns = slice(max(int(left - grown), 0), min(int(-(-(right + grown) // 1)), width))
    assert torch.equal(got["image"], case.photo[:, rows, columns])
    assert (got["x"], got["y"]) == (columns.start, rows.start)
    assert got["face"].shape == got["image"].shape[:3]
    area = (int(-(-right // 1)) - int(left)) * (int(-(-bottom // 1)) - int(top))
    assert got["face"].sum() == area
    assert "The face is small" in got["advice"]


def test_a_masks_transparency_stays_on_the_cut_and_hides_what_is_below_it(
    host: Worker, case: Case
) -> None:
    """The person is cut out: under the transparent rest lies another face, which is not seen."""
    other = draw_cases(2, seed=39)[1].photo
    height, width = case.photo.shape[1:3]
    photo = torch.cat((case.photo, other[:, :height]), dim=2)
    mask = torch.zeros(photo.shape[:3])
    mask[:, :, width:] = 1
    black = photo * (1 - mask[..., None])
    expected = host("faces.photo", image=black, margin=0.5)
    got = host("faces.photo", image=photo, mask=mask, margin=0.5)
    assert torch.equal(got["face"], expected["face"])
    for name in ("advice", "x", "y"):
        assert got[name] == expected[name]
    rows = slice(got["y"], got["y"] + got["image"].shape[1])
    columns = slice(got["x"], got["x"] + got["image"].shape[2])
    assert torch.equal(got["image"][..., :3], photo[:, rows, columns])
    assert torch.equal(got["image"][..., 3], 1 - mask[:, rows, columns])
    # An RGBA image says the same by itself, and an empty mask says nothing.
    rgba = torch.cat((photo, 1 - mask[..., None]), dim=-1)
    assert torch.equal(host("faces.photo", image=rgba, margin=0.5)["image"], got["image"])
    empty = host("faces.photo", image=case.photo, mask=torch.zeros(1, 64, 64))
    assert torch.equal(empty["image"], host("faces.photo", image=case.photo)["image"])


def test_any_of_several_faces_can_be_chosen(host: Worker) -> None:
    """Two persons side by side, the left one at half size."""
    one, other = (each.photo for each in draw_cases(2, seed=39))
    small = torch.nn.functional.interpolate(one.movedim(-1, 1), size=(64, 64)).movedim(1, -1)
    below = torch.full_like(small, 0.4)
    both = torch.cat((torch.cat((small, below), dim=1), other), dim=2)
    # The detector sees the whole in 128 pixels: enlarged, it is the same picture.
    crops = {
        name: host("faces.photo", image=both, margin=0.0, **inputs)["image"]
        for name, inputs in {
            "largest": {"choose": "largest"},
            "first": {"choose": "index", "index": 0},
            "second": {"choose": "index", "index": 1},
        }.items()
    }
    assert torch.equal(crops["largest"], crops["second"])
    assert crops["first"].shape[1] < crops["second"].shape[1]


def test_the_best_clip_and_the_best_latent_are_kept(host: Worker) -> None:
    clips = [torch.rand(2, 4, 4, 3) for _ in range(3)]
    best, index, ranking = host("faces.best", candidates=clips, similarities=[0.2, 0.7, 0.5])
    assert index == 1
    assert torch.equal(best, clips[1])
    assert json.loads(ranking) == [
        {"index": 1, "similarity": 0.7},
        {"index": 2, "similarity": 0.5},
        {"index": 0, "similarity": 0.2},
    ]
    latents = [{"samples": torch.rand(1, 128, 3, 4, 4)} for _ in range(2)]
    best, index, _ = host("faces.best", candidates=latents, similarities=[0.4, 0.4])
    assert index == 0
    assert torch.equal(best["samples"], latents[0]["samples"])


def test_nodes_share_their_sessions_and_comfyui_unloads_them(
    host: Worker, case: Case, clip: Tensor
) -> None:
    first = host("faces.similarity", images=clip, reference=case.photo)["similarity"]
    found = host("faces.unloading", images=clip, reference=case.photo)
    assert found == {
        "shared": True,
        "freed": True,
        "opened_again": True,
        "again": first,
        "listed": 1,
    }


def test_each_distinct_frame_is_searched_once(host: Worker, case: Case) -> None:
    still = case.true_clip()[:3].float() / 255
    clip = torch.cat((still, still))
    num_distinct = len(torch.unique(still, dim=0))
    # The reference besides.
    looks = host("faces.looks", images=clip, reference=case.photo)
    assert looks[0] == num_distinct + 1
    assert looks[1] == 0
    # Half as bright, the new frame may need the grey padding.
    assert looks[2] in (1, 2)


def test_an_interrupt_stops_between_frames(host: Worker, case: Case, clip: Tensor) -> None:
    kind = host("faces.interrupted", images=clip, reference=case.photo)
    assert kind == "InterruptProcessingException"


def test_packs_are_found_in_the_folder_and_in_extra_paths(host: Worker, tmp_path: Path) -> None:
    options = host("faces.options")
    assert {"buffalo_l", "stdrc_mini"} <= set(options["face_pack"])
    assert options["download"]["default"] is False
    assert "non-commercial" in options["download"]["tooltip"]
    for parent in ("models/in_models", "in_root"):
        folder = tmp_path / "shelf" / parent
        folder.mkdir(parents=True)
        (folder / "det.onnx").write_bytes(b"")
    assert not any("shelf" in each for each in host("faces.with_pack", folder="", extra=False))
    found = host("faces.with_pack", folder=str(tmp_path / "shelf"), extra=True)
    assert f"in_models {tmp_path / 'shelf' / 'models' / 'in_models'}" in found
    assert f"in_root {tmp_path / 'shelf' / 'in_root'}" in found
    assert {"in_models", "in_root"} <= set(host("faces.options")["face_pack"])


def test_a_pack_that_was_unpacked_twice_is_found(host: Worker, tmp_path: Path) -> None:
    """antelopev2's archive has a folder of its name in it; macOS leaves files behind."""
    packs = tmp_path / "unpacked [1]" / "models"
    for folder in ("twice/twice", "once", ".twice.partial/once", "hidden", "__MACOSX"):
        (packs / folder).mkdir(parents=True)
    for file in ("twice/twice/det.ONNX", "once/det.onnx", ".twice.partial/once/det.onnx"):
        (packs / file).write_bytes(b"")
    for file in ("hidden/._det.onnx", "__MACOSX/det.onnx", "twice/._det.onnx"):
        (packs / file).write_bytes(b"")
    found = host("faces.with_pack", folder=str(packs.parent), extra=True)
    ours = [each for each in found if "unpacked [1]" in each]
    assert ours == [f"once {packs / 'once'}", f"twice {packs / 'twice'}"]
    assert {"once", "twice"} <= set(host("faces.options")["face_pack"])


@pytest.mark.newest_host
def test_two_hundred_hd_frames_hold_memory_level(host: Worker, case: Case) -> None:
    """Beyond the annotated frames that it returns, a run takes little, and nothing is left."""
    found = host("faces.memory", reference=case.photo, num_frames=200, height=720, width=1280)
    assert found["first_mb"] < found["outputs_mb"] + 300
    assert found["second_mb"] < found["outputs_mb"] + 300


MESSAGES = {
    "no face in the reference": ["reference", "60 x 50", "no face", "stdrc_mini", "sharp photo"],
    "no face in the photo": ["image", "60 x 50", "no face", "sharp photo"],
    "empty clip": ["images are an empty batch"],
    "empty photo": ["image is an empty batch"],
    "photos of two persons": [
        "photo 1 of reference and photo 2 of reference seem to show two persons",
        "cosine is",
        "take one of them out",
    ],
    "no face in a further photo": ["photo 2 of reference, 128 x 128 pixels, shows no face"],
    "several photos": ["image", "3 pictures", "one photo", "ImageFromBatch"],
    "nan frames": ["images", "nan", "finite"],
    "nan reference": ["reference", "nan", "finite"],
    "thin frames": ["images", "4 x 200", "32 times"],
    "grey frames": ["images", "[2, 40, 40, 1]", "RGB"],
    "no recogniser": ["half", "no recognition model", "det_mini.onnx", "buffalo_l"],
    "damaged recogniser": ["rec_mini.onnx", "could not be read", "download or export it again"],
    "damaged detector": ["det_mini.onnx", "could not be read", "download or export it again"],
    "no pack": ["face_pack", "buffalo_l", "tick download", "by hand", "non-commercial"],
    "another pack": ["face_pack", "antelopev2", "choose one of", "stdrc_mini"],
    "no cuda": ["provider was cuda", "onnxruntime-gpu", "auto or cpu"],
    "mask of another size": ["mask is 64 x 32", "image is 128 x 128", "same size"],
    "index": ["index was 4", "1 face(s)", "left to right"],
    "fewer similarities": ["candidates are 2", "similarities 1", "Create List"],
    "nan similarity": ["similarities", "nan at index 0", "finite"],
}


@pytest.mark.parametrize("mistake", MESSAGES)
def test_one_clear_sentence(host: Worker, mistake: str) -> None:
    assert_one_clear_sentence(host, "faces.make", mistake, MESSAGES[mistake])


def test_every_mistake_is_checked(host: Worker) -> None:
    assert sorted(host("faces.names")) == sorted(MESSAGES)
