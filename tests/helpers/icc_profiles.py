"""ICC profiles as phones, cameras and scanners embed them, written here byte by byte (ICC.1:2010).

Primaries are adapted to the D50 of profiles by Bradford's matrix, as the specification has it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

D65, D50 = (0.3127, 0.3290), (0.9642, 1.0, 0.8249)
_BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)
SRGB_CURVE = -1.0


@dataclass(frozen=True)
class Space:
    """An RGB space: (x, y) of red, green and blue, and its gamma, or `SRGB_CURVE`."""

    primaries: tuple[tuple[float, float], ...]
    gamma: float
    white: tuple[float, float] = D65

    def to_xyz(self) -> np.ndarray:
        """The matrix from its light to XYZ as profiles have it, for D50."""
        columns = np.array([[x / y, 1, (1 - x - y) / y] for x, y in self.primaries]).T
        x, y = self.white
        white = np.array([x / y, 1, (1 - x - y) / y])
        here = columns * np.linalg.solve(columns, white)
        scale = np.diag((_BRADFORD @ np.array(D50)) / (_BRADFORD @ white))
        return np.linalg.inv(_BRADFORD) @ scale @ _BRADFORD @ here

    def light(self, signal: np.ndarray) -> np.ndarray:
        if self.gamma != SRGB_CURVE:
            return signal**self.gamma
        return np.where(signal <= 0.04045, signal / 12.92, ((signal + 0.055) / 1.055) ** 2.4)

    def signal(self, light: np.ndarray) -> np.ndarray:
        light = np.clip(light, 0, 1)
        if self.gamma != SRGB_CURVE:
            return light ** (1 / self.gamma)
        return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)

    def of_srgb(self, rgb: np.ndarray) -> np.ndarray:
        """The signal in [0, 1] by which this space shows sRGB's `rgb` in [0, 1]."""
        xyz = SRGB.to_xyz() @ SRGB.light(rgb)
        return self.signal(np.linalg.inv(self.to_xyz()) @ xyz)


SRGB = Space(((0.64, 0.33), (0.30, 0.60), (0.15, 0.06)), SRGB_CURVE)
DISPLAY_P3 = Space(((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)), SRGB_CURVE)
ADOBE_RGB = Space(((0.64, 0.33), (0.21, 0.71), (0.15, 0.06)), 2.19921875)
BT2020 = Space(((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)), 2.4)
PROPHOTO = Space(
    ((0.7347, 0.2653), (0.1596, 0.8404), (0.0366, 0.0001)), 1.8, white=(0.3457, 0.3585)
)
APPLE_RGB = Space(((0.625, 0.340), (0.280, 0.595), (0.155, 0.070)), 1.8)


def rgb_profile(space: Space) -> bytes:
    """A matrix profile of a display or a camera."""
    matrix = space.to_xyz()
    tags = {f"{name}XYZ": _xyz(matrix[:, i]) for i, name in enumerate("rgb")}
    tags |= {f"{name}TRC": _curve(space.gamma) for name in "rgb"}
    return _profile("RGB ", "mntr", tags)


def grey_profile(gamma: float) -> bytes:
    """A profile of grey with a gamma."""
    return _profile("GRAY", "mntr", {"kTRC": _curve(gamma)})


def cmyk_profile(paper: float) -> bytes:
    """A profile of ink on a paper whose white has the lightness `paper`: each ink takes from it.

    Lab by a table of two steps an ink, of 8 bits, between which all is linear.
    """
    grid = np.stack(np.meshgrid(*[[0.0, 1.0]] * 4, indexing="ij"), axis=-1).reshape(-1, 4)
    left = 1 - grid[:, 3]
    lightness = paper * left * (1 - 0.25 * grid[:, 0] - 0.35 * grid[:, 1] - 0.1 * grid[:, 2])
    a = left * (-40 * grid[:, 0] + 70 * grid[:, 1])
    b = left * (-45 * grid[:, 0] + 85 * grid[:, 2])
    lab = np.stack((lightness * 255 / 100, a + 128, b + 128), axis=-1)
    table = np.clip(lab.round(), 0, 255).astype(np.uint8).tobytes()
    ramp = bytes(range(256))
    unit = struct.pack(">9i", *(65536 if i % 4 == 0 else 0 for i in range(9)))
    lut = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + unit + ramp * 4 + table + ramp * 3
    return _profile("CMYK", "prtr", {"A2B0": lut}, "Lab ")


def _profile(space: str, kind: str, tags: dict[str, bytes], connection: str = "XYZ ") -> bytes:
    tags = tags | {
        "desc": b"desc" + bytes(4) + struct.pack(">I", 5) + b"test\0" + bytes(78),
        "cprt": b"text" + bytes(4) + b"none\0",
        "wtpt": _xyz(D50),
    }
    offset, table, body = 128 + 4 + 12 * len(tags), b"", b""
    for name, data in tags.items():
        data += bytes(-len(data) % 4)
        table += name.encode() + struct.pack(">II", offset + len(body), len(data))
        body += data
    size = offset + len(body)
    head = struct.pack(
        ">I4sI4s4s4s", size, b"", 0x02400000, *(each.encode() for each in (kind, space, connection))
    )
    head += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28)
    head += struct.pack(">3i", *(round(value * 65536) for value in D50))
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def _xyz(values) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(float(v) * 65536) for v in values))


def _curve(gamma: float) -> bytes:
    if gamma != SRGB_CURVE:
        return b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256))
    levels = SRGB.light(np.linspace(0, 1, 1024))
    return b"curv" + bytes(4) + struct.pack(">I1024H", 1024, *(round(v * 65535) for v in levels))
