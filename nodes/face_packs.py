"""InsightFace's packs in ComfyUI: where they are found, and sessions that all face nodes share.

ComfyUI keeps a list of the models that it has loaded, and unloads some of them if memory is short
or the user asks for it (Unload Models, `/free`). Packs stand in that list like any model, so that
their ONNX sessions are closed too: a patcher's callbacks open and close them.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import comfy.model_management
import comfy.utils
import folder_paths
import torch
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import CallbacksMP
from comfy_api.latest import io
from torch import Tensor

from ..stdrc_core.faces.caching_finder import CachingFinder
from ..stdrc_core.faces.download import BUFFALO_L, LICENCE, by_hand, download_pack
from ..stdrc_core.faces.finder import FaceFinder
from ..stdrc_core.faces.gender import GenderReader, open_gender_reader
from ..stdrc_core.faces.onnx_finder import OnnxFinder, open_onnx_pack
from ..stdrc_core.faces.pack import find_packs, read_pack
from ..stdrc_core.faces.provider import Provider
from ..stdrc_core.mini.shipped import FACES

# The pack of the miniature's drawn faces, which ships with this node pack.
MINIATURE = "stdrc_mini"
# Packs are folders in models/insightface/models.
_FOLDER_NAME = "insightface"
_PACKS_NAME = "models"


class InsightFacePack(torch.nn.Module):
    """A face pack as ComfyUI's list of models holds it: a module without weights of torch.

    `folder` has the pack's ONNX files; `finder` finds and embeds faces while the pack is open.
    """

    def __init__(self, name: str, folder: Path, provider: Provider) -> None:
        super().__init__()
        self.name, self.folder, self.asked = name, folder, provider
        self.finder: FaceFinder | None = None
        self._gender_reader: GenderReader | None = None
        self._opened: OnnxFinder | None = None

    @property
    def provider(self) -> str:
        """The execution provider in use, as ONNX Runtime calls it; "" while the pack is closed."""
        return "" if self._opened is None else self._opened.provider

    def open(self) -> None:
        """Opens the sessions if they are not open. Raises ValueError if a library is missing."""
        if self.finder is not None:
            return
        try:
            opened = open_onnx_pack(self.folder, provider=self.asked)
        except ImportError as error:
            raise ValueError(
                f"face_pack {self.name} cannot be opened without InsightFace and ONNX Runtime "
                f"({error}); needs this node pack's requirements: with ComfyUI's Python run pip "
                "install -r requirements.txt and python install.py in its folder."
            ) from error
        self._opened, self.finder = opened, CachingFinder(opened)

    def gender_reader(self) -> GenderReader | None:
        """Returns the pack's gender model, opened at the first call, or None if it has none."""
        if self._gender_reader is None:
            self._gender_reader = open_gender_reader(self.folder, provider=self.asked)
        return self._gender_reader

    def close(self) -> None:
        """Drops the sessions, and the faces that the finder remembers."""
        self.finder = self._opened = self._gender_reader = None


def offer_pack_folder() -> None:
    """Makes models/insightface one of ComfyUI's folders, so that users may add paths to it."""
    folder = Path(folder_paths.models_dir) / _FOLDER_NAME
    folder_paths.add_model_folder_path(_FOLDER_NAME, str(folder))


def pack_folders() -> dict[str, Path]:
    """Returns the folder of each pack that is there, by the pack's name; the miniature's is last.

    A pack is a folder with ONNX files, or with one folder that has them, in `models` of an
    insightface folder, which is InsightFace's own layout, or in the insightface folder itself. Of
    packs with one name the first counts.
    """
    found: dict[str, Path] = {}
    for parent in _pack_parents():
        for name, folder in find_packs(parent).items():
            found.setdefault(name, folder)
    # insightface/models with loose ONNX files in it is no pack.
    found.pop(_PACKS_NAME, None)
    return found | {MINIATURE: FACES}


def pack_inputs() -> list[io.Input]:
    """Returns the inputs by which a face node is told its pack, and whether to download it."""
    names = sorted({BUFFALO_L.name, *pack_folders()})
    megabytes = BUFFALO_L.num_bytes // 10**6
    return [
        io.Combo.Input(
            "face_pack",
            options=names,
            default=BUFFALO_L.name,
            tooltip=(
                "InsightFace pack, a folder in models/insightface/models. buffalo_l is for real "
                f"faces, {LICENCE}; {MINIATURE} knows the miniature's drawn characters only."
            ),
        ),
        io.Boolean.Input(
            "download",
            default=False,
            tooltip=(
                f"Downloads buffalo_l ({megabytes} MB) from InsightFace's release where it is "
                f"missing, checks it, and unpacks it. It is {LICENCE}."
            ),
            advanced=True,
        ),
    ]


def open_pack(name: str, provider: Provider, *, download: bool) -> InsightFacePack:
    """Returns the pack called `name` with its sessions open; all nodes get the same one.

    Raises ValueError if it is not there, is damaged, or cannot run on `provider`.
    """
    folder = pack_folders().get(name)
    if folder is None:
        folder = _download(name) if download else None
    if folder is None:
        raise ValueError(_missing(name))
    patcher = _patcher(name, folder, provider)
    comfy.model_management.load_model_gpu(patcher)
    return patcher.model


def no_face(photo: Tensor, name: str, pack: InsightFacePack) -> ValueError:
    """Returns the error for a photo `[1, h, w, C]` without a face; `name` is the input's name."""
    height, width = photo.shape[1:3]
    return ValueError(
        f"{name}, {width} x {height} pixels, shows no face that {pack.name} finds; needs a clear "
        "one: take a sharp photo from the front in which the face is large but whole, or choose a "
        "face_pack for this kind of face."
    )


@cache
def _patcher(name: str, folder: Path, provider: Provider) -> ModelPatcher:
    pack = InsightFacePack(name, folder, provider)
    device = comfy.model_management.get_torch_device()
    on_gpu = provider is not Provider.CPU and device.type == "cuda"
    # ComfyUI counts the GPU's memory, of which sessions on the CPU take nothing.
    size = sum(file.stat().st_size for file in read_pack(folder).files) if on_gpu else 0
    patcher = ModelPatcher(pack, device, torch.device("cpu"), size=size)
    patcher.add_callback(CallbacksMP.ON_LOAD, _on_load)
    patcher.add_callback(CallbacksMP.ON_DETACH, _on_detach)
    return patcher


def _on_load(patcher: ModelPatcher, *_: Any) -> None:
    patcher.model.open()


def _on_detach(patcher: ModelPatcher, unpatch_all: bool) -> None:
    # ComfyUI also detaches a model that it is about to load again, and asks then to leave it as it
    # is.
    if unpatch_all:
        patcher.model.close()


def _pack_parents() -> list[Path]:
    roots = [Path(root) for root in folder_paths.get_folder_paths(_FOLDER_NAME)]
    return [parent for root in roots for parent in (root / _PACKS_NAME, root)]


def _download(name: str) -> Path | None:
    if name != BUFFALO_L.name:
        return None
    bar = comfy.utils.ProgressBar(BUFFALO_L.num_bytes)

    def on_bytes(num_bytes: int) -> None:
        comfy.model_management.throw_exception_if_processing_interrupted()
        bar.update(num_bytes)

    return download_pack(BUFFALO_L, _pack_parents()[0], on_bytes)


def _missing(name: str) -> str:
    packs = _pack_parents()[0]
    told = f"face_pack was {name}, which is not in {packs}; needs a pack that is there"
    there = f"choose one of {', '.join(pack_folders())}"
    if name != BUFFALO_L.name:
        return f"{told}: {there}."
    return f"{told}: tick download, or {by_hand(BUFFALO_L, packs)} ({LICENCE}), or {there}."
