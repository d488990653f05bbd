"""A real photo of one person: NASA's portrait of an astronaut, which scikit-image brings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from skimage import data

# Eyes, nose and corners of the mouth, by eye.
LANDMARKS_PX = [(203.0, 106), (249, 105), (227, 133), (207, 152), (246, 151)]


def astronaut() -> np.ndarray:
    """`[512, 512, 3]` uint8 RGB, the caller's own."""
    return data.astronaut().copy()


def write_astronaut(path: Path) -> Path:
    Image.fromarray(astronaut()).save(path)
    return path
