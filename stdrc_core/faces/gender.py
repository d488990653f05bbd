"""A face's gender by a pack's attribute model, as InsightFace reads it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from torch import Tensor

from ..prompts.gender import Gender
from .detector import Face
from .pack import FaceTask, read_pack
from .provider import Provider
from .session import open_model

# The model's two scores, in its own order.
_GENDERS = (Gender.WOMAN, Gender.MAN)


class GenderReader:
    """The gender and age model of a pack; only what it says of gender is read.

    It knows two, goes by looks alone, and may be wrong: who uses it says that it was used.
    """

    def __init__(self, folder: str | Path, *, provider: Provider = Provider.AUTO) -> None:
        """Raises ValueError when the pack in `folder` has no such model or a damaged one."""
        path = read_pack(folder).model(FaceTask.GENDERAGE)
        self._model = open_model(path, FaceTask.GENDERAGE, provider)

    def read(self, photo: Tensor, face: Face) -> Gender:
        """Man or woman, of a face in a photo `[h, w, 3]` uint8 RGB."""
        from insightface.app.common import Face as Record

        pixels = np.ascontiguousarray(photo.numpy()[..., ::-1])
        gender, _ = self._model.get(pixels, Record(bbox=face.box.numpy()))
        return _GENDERS[int(gender)]


def open_gender_reader(
    folder: str | Path, *, provider: Provider = Provider.AUTO
) -> GenderReader | None:
    """The reader of a pack; None for a pack without a gender model. ValueError as there."""
    if FaceTask.GENDERAGE not in read_pack(folder).models:
        return None
    return GenderReader(folder, provider=provider)
