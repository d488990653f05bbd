"""The face nodes with the miniature's pack, in the host."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import comfy.model_management
import comfy.utils
import folder_paths
import nodes
import psutil
import torch
from scenarios import world
from torch import Tensor

MINIATURE = "stdrc_mini"
SIMILARITY = "STDRCArcFaceSimilarity"
PHOTO = "STDRCPrepareReferencePhoto"
BEST = "STDRCKeepBestIdentity"


def similarity(**inputs: Any) -> dict[str, Any]:
    """ArcFace Similarity's outputs by name, and what its progress bar was told."""
    told: list[tuple[int, int]] = []
    comfy.utils.set_progress_bar_global_hook(
        lambda value, total, *_, **__: told.append((value, total))
    )
    try:
        outputs = world.node(SIMILARITY, **{"face_pack": MINIATURE} | inputs)
    finally:
        comfy.utils.set_progress_bar_global_hook(None)
    names = ("similarity", "plot", "annotated", "report")
    return dict(zip(names, outputs, strict=True)) | {"progress": told}


def photo(**inputs: Any) -> dict[str, Any]:
    """Prepare Reference Photo's outputs by name."""
    outputs = world.node(PHOTO, **{"face_pack": MINIATURE} | inputs)
    return dict(zip(("image", "face", "advice", "x", "y"), outputs, strict=True))


def best(candidates: list[Any], similarities: list[float]) -> list[Any]:
    return list(world.node(BEST, candidates=candidates, similarities=similarities))


def options() -> dict[str, Any]:
    """What the nodes' face_pack and download inputs offer."""
    inputs = nodes.NODE_CLASS_MAPPINGS[SIMILARITY].INPUT_TYPES()["required"]
    return {"face_pack": inputs["face_pack"][1]["options"], "download": inputs["download"][1]}


def with_pack(folder: str, extra: bool) -> list[str]:
    """The packs on offer when `folder` is an InsightFace root of the user's."""
    if extra:
        folder_paths.add_model_folder_path("insightface", folder)
    found = world.pack("nodes.face_packs").pack_folders()
    return [f"{name} {path}" for name, path in found.items()]


def unloading(images: Tensor, reference: Tensor) -> dict[str, Any]:
    """Whether two nodes share their sessions, and what is left after ComfyUI unloads."""
    opened: list[Any] = []
    faces = world.pack("nodes.face_packs")
    finders = []
    for run in (
        lambda: similarity(images=images, reference=reference),
        lambda: photo(image=reference),
    ):
        run()
        (pack,) = _loaded()
        finders.append(pack.finder)
    comfy.model_management.unload_all_models()
    after = [pack.finder for pack in _packs(faces)]
    again = similarity(images=images, reference=reference)["similarity"]
    opened = [pack.finder for pack in _packs(faces)]
    return {
        "shared": finders[0] is finders[1],
        "freed": after == [None],
        "opened_again": opened != [None] and opened[0] is not finders[0],
        "again": again,
        "listed": len(_loaded()),
    }


def _loaded() -> list[Any]:
    models = [patcher.model for patcher in comfy.model_management.loaded_models()]
    return [model for model in models if type(model).__name__ == "InsightFacePack"]


def _packs(faces: Any) -> list[Any]:
    name, provider = MINIATURE, faces.Provider.AUTO
    return [faces._patcher(name, faces.FACES, provider).model]


def looks(images: Tensor, reference: Tensor) -> list[int]:
    """How many frames each run really searches: a first, the same again, one with a new frame."""
    comfy.model_management.unload_all_models()
    pack = world.pack("nodes.face_packs").open_pack(
        MINIATURE, world.pack("nodes.face_packs").Provider.AUTO, download=False
    )
    inner = pack.finder._finder
    counts: list[int] = []
    detect = inner.detector.detect_pixels

    def counted(pixels: Any) -> Any:
        counts[-1] += 1
        return detect(pixels)

    inner.detector.detect_pixels = counted
    try:
        for clip in (images, images, torch.cat((images, images[:1] * 0.5))):
            counts.append(0)
            similarity(images=clip, reference=reference, frames=0)
    finally:
        del inner.detector.detect_pixels
    return counts


def interrupted(images: Tensor, reference: Tensor) -> str:
    """The kind of what is raised when the user stops while frames are looked at."""
    comfy.model_management.interrupt_current_processing()
    try:
        similarity(images=images, reference=reference)
    except BaseException as error:  # noqa: BLE001 (what the host interrupts with is none)
        return type(error).__name__
    return "nothing"


def memory(reference: Tensor, num_frames: int, height: int, width: int) -> dict[str, float]:
    """Megabytes beyond what was there before, at the most, in two runs over a long clip of the
    person; and of the outputs."""
    clip = torch.nn.functional.interpolate(
        reference.movedim(-1, 1), size=(height, width), mode="bilinear"
    ).movedim(1, -1)
    clip = clip.repeat(num_frames, 1, 1, 1)
    # No two frames are alike.
    clip[:, 0, :, 0] = torch.linspace(0, 1, num_frames)[:, None]
    small = {"images": clip[:4], "reference": reference, "frames": 0}
    similarity(**small)
    peaks = []
    for _ in range(2):
        comfy.model_management.unload_all_models()
        before = _resident_mb()
        peaks.append(
            _peak_mb(lambda: similarity(images=clip, reference=reference, frames=0)) - before
        )
    return {
        "outputs_mb": clip.numel() * clip.element_size() / 2**20,
        "first_mb": peaks[0],
        "second_mb": peaks[1],
    }


def _resident_mb() -> float:
    return psutil.Process(os.getpid()).memory_info().rss / 2**20


def _peak_mb(run: Callable[[], object]) -> float:
    peak, is_done = [0.0], threading.Event()

    def watch() -> None:
        while not is_done.is_set():
            peak[0] = max(peak[0], _resident_mb())
            time.sleep(0.02)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        run()
    finally:
        is_done.set()
        watcher.join()
    return peak[0]


def _clip() -> Tensor:
    return torch.rand(3, 40, 40, 3)


def _with_nan(images: Tensor) -> Tensor:
    images[1, 2, 3] = float("nan")
    return images


def _damaged(name: str) -> str:
    """A pack with one file cut short, in ComfyUI's own folder."""
    source = world.pack("stdrc_core.mini.shipped").FACES
    target = Path(folder_paths.models_dir) / "insightface" / "models" / f"damaged_{name}"
    target.mkdir(parents=True, exist_ok=True)
    for file in source.glob("*.onnx"):
        content = file.read_bytes()
        cut = file.stem == name
        (target / file.name).write_bytes(content[: len(content) // 3] if cut else content)
    return target.name


def _without_recogniser() -> str:
    source = world.pack("stdrc_core.mini.shipped").FACES / "det_mini.onnx"
    target = Path(folder_paths.models_dir) / "insightface" / "models" / "half"
    target.mkdir(parents=True, exist_ok=True)
    (target / source.name).write_bytes(source.read_bytes())
    return target.name


def _strangers() -> Tensor:
    """Two drawn persons whose faces are unlike each other."""
    return torch.cat([world.character(seed) for seed in (3, 8)])


def _grey() -> Tensor:
    return torch.full((1, 50, 60, 3), 0.5)


MISTAKES: dict[str, Callable[[], object]] = {
    "no face in the reference": lambda: similarity(images=_clip(), reference=_grey()),
    "no face in the photo": lambda: photo(image=_grey()),
    "empty clip": lambda: similarity(images=_clip()[:0], reference=_grey()),
    "empty photo": lambda: photo(image=_grey()[:0]),
    "photos of two persons": lambda: similarity(images=_clip(), reference=_strangers()),
    "no face in a further photo": lambda: similarity(
        images=_clip(), reference=torch.cat((world.character(3), world.character(3) * 0 + 0.5))
    ),
    "several photos": lambda: photo(image=_clip()),
    "nan frames": lambda: similarity(images=_with_nan(_clip()), reference=world.character(3)),
    "nan reference": lambda: similarity(images=_clip(), reference=_grey() / 0 * 0),
    "thin frames": lambda: similarity(
        images=torch.rand(2, 4, 200, 3), reference=world.character(3)
    ),
    "grey frames": lambda: similarity(
        images=torch.rand(2, 40, 40, 1), reference=world.character(3)
    ),
    "no recogniser": lambda: similarity(
        images=_clip(), reference=_grey(), face_pack=_without_recogniser()
    ),
    "damaged recogniser": lambda: similarity(
        images=_clip(), reference=_grey(), face_pack=_damaged("rec_mini")
    ),
    "damaged detector": lambda: photo(image=_grey(), face_pack=_damaged("det_mini")),
    "no pack": lambda: similarity(images=_clip(), reference=_grey(), face_pack="buffalo_l"),
    "another pack": lambda: photo(image=_grey(), face_pack="antelopev2"),
    "no cuda": lambda: similarity(images=_clip(), reference=_grey(), provider="cuda"),
    "mask of another size": lambda: photo(image=world.character(3), mask=torch.ones(1, 64, 32)),
    "index": lambda: photo(image=world.character(3), choose="index", index=4),
    "fewer similarities": lambda: best([torch.rand(1), torch.rand(1)], [0.5]),
    "nan similarity": lambda: best([torch.rand(1)], [float("nan")]),
}


def make(name: str) -> None:
    MISTAKES[name]()


def names() -> list[str]:
    return list(MISTAKES)
