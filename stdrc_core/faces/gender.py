"""Reads a face's gender by a pack's gender and age model, as InsightFace does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from torch import Tensor

from ..prompts.gender import Gender
from .detector import Face
from .pack import FaceTask, read_pack
from .provider import Provider
from .session import PackModel

# The genders in the order of the model's two scores.
_GENDERS = (Gender.WOMAN, Gender.MAN)


class GenderReader:
    """The gender and age model of a pack, of which only the gender is read.

    The model knows two genders, goes by looks alone and may be wrong. Callers have to say that it
    was used.
    """

    def __init__(self, folder: str | Path, *, provider: Provider = Provider.AUTO) -> None:
        """Loads the model of the pack in `folder`.

        Raises ValueError where the pack has no such model or a damaged one.
        """
        path = read_pack(folder).model(FaceTask.GENDERAGE)
        self._model = PackModel(path, FaceTask.GENDERAGE, provider)

    def read(self, photo: Tensor, face: Face) -> Gender:
        """Returns man or woman for a face in a photo `[h, w, 3]` uint8 RGB."""
        from insightface.app.common import Face as Record

        pixels = np.ascontiguousarray(photo.numpy()[..., ::-1])
        record = Record(bbox=face.box.numpy())
        gender, _ = self._model.run(lambda model: model.get(pixels, record))
        return _GENDERS[int(gender)]


def open_gender_reader(
    folder: str | Path, *, provider: Provider = Provider.AUTO
) -> GenderReader | None:
    """Opens the gender model of a pack, and returns None for a pack without one.

    Raises ValueError where the folder is no pack or the model is damaged.
    """
    if FaceTask.GENDERAGE not in read_pack(folder).models:
        return None
    return GenderReader(folder, provider=provider)
