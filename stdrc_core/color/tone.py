"""Turns the pixels of HDR and wide-gamut video into BT.709 as players show it on an SDR screen.

The signal becomes light in nits: PQ and HLG as ITU-R BT.2100-2 defines them, HLG for its nominal
screen of 1000 nits; SDR with the gamma of BT.1886. The light goes from its primaries to BT.709's,
where a colour that BT.709 does not have loses what is below 0. Light of HDR is then rolled off by
the curve of ITU-R BT.2390 (5.4.1), so that the 203 nits that BT.2408 gives to white are the
brightest that is left, and is encoded with the inverse of BT.1886.

The curve looks at the largest of red, green and blue, and all three are scaled alike, which keeps
the hue. It does not change what is darker than 88 nits, as faces mostly are. Which peak the
material was mastered for is not read: the curve is that for 1000 nits, and what is brighter is
clipped.
"""

from __future__ import annotations

import math
from enum import StrEnum
from functools import cache

import torch
from torch import Tensor

# BT.2408: the white of a page or of a shirt in HDR.
WHITE_NITS = 203.0
# The brightest light that the curve makes room for.
PEAK_NITS = 1000.0
_SDR_GAMMA = 2.4
# BT.2100, table 4 (PQ) and table 5 (HLG).
_M1, _M2 = 2610 / 16384, 2523 / 4096 * 128
_C1, _C2, _C3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
_PQ_NITS = 10000.0
_A = 0.17883277
_B, _C = 1 - 4 * _A, 0.5 - _A * math.log(4 * _A)
_HLG_GAMMA = 1.2
_CODES = 65536


class Transfer(StrEnum):
    """How a signal stands for light."""

    SDR = "SDR"
    PQ = "PQ"
    HLG = "HLG"


class Primaries(StrEnum):
    """Which red, green and blue a signal mixes."""

    BT709 = "BT.709"
    BT2020 = "BT.2020"
    P3 = "Display P3"


# (x, y) of red, green, blue, by H.273; the white of all is D65.
_CHROMATICITIES = {
    Primaries.BT709: ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060)),
    Primaries.BT2020: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    Primaries.P3: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
}
_D65 = (0.3127, 0.3290)


def to_bt709(codes: Tensor, transfer: Transfer, primaries: Primaries) -> Tensor:
    """Returns a picture `[h, w, 3]` as BT.709 with the gamma of SDR, uint8.

    `codes` is its signal, `[h, w, 3]` int32 from 0 to 65535 for 0 to 1, red first.
    """
    light = _light_of_codes(transfer)[codes]
    if transfer is Transfer.HLG:
        light = hlg_screen(light, luminance_weights(primaries))
    light = (light @ to_bt709_matrix(primaries).T).clamp_(min=0)
    if transfer is not Transfer.SDR:
        brightest = light.amax(dim=-1, keepdim=True).clamp(min=1e-4)
        light = light * (rolled_off(brightest) / brightest)
    signal = (light / WHITE_NITS).clamp_(0, 1).pow_(1 / _SDR_GAMMA)
    return signal.mul_(255).round_().to(torch.uint8)


def pq_light(signal: Tensor) -> Tensor:
    """Returns the light in nits of a PQ signal in [0, 1] (its EOTF)."""
    root = signal.pow(1 / _M2)
    return _PQ_NITS * ((root - _C1).clamp(min=0) / (_C2 - _C3 * root)).pow(1 / _M1)


def pq_signal(nits: Tensor) -> Tensor:
    """Returns the PQ signal in [0, 1] of light in nits: the inverse of `pq_light`."""
    power = (nits / _PQ_NITS).pow(_M1)
    return ((_C1 + _C2 * power) / (1 + _C3 * power)).pow(_M2)


def hlg_scene(signal: Tensor) -> Tensor:
    """Returns the scene's light in [0, 1] of an HLG signal in [0, 1] (its inverse OETF)."""
    dark = signal.square() / 3
    return torch.where(signal <= 0.5, dark, (((signal - _C) / _A).exp() + _B) / 12)


def hlg_screen(scene: Tensor, weights: Tensor) -> Tensor:
    """Returns the light in nits of HLG's nominal screen (its OOTF).

    `scene` is `[..., 3]` light in [0, 1], and `weights` `[3]` are those of its luminance.
    """
    luminance = (scene @ weights).unsqueeze(-1)
    return PEAK_NITS * luminance.pow(_HLG_GAMMA - 1) * scene


def rolled_off(nits: Tensor) -> Tensor:
    """Returns light from 0 to 1000 nits as light up to 203 nits, by BT.2390's curve.

    It is the identity up to its knee, and then Hermite's spline in PQ.
    """
    peak, white = pq_signal(torch.tensor([PEAK_NITS, WHITE_NITS], dtype=nits.dtype))
    level, most = (pq_signal(nits) / peak).clamp(max=1), white / peak
    knee = 1.5 * most - 0.5
    t = ((level - knee) / (1 - knee)).clamp(min=0)
    bent = (
        (2 * t**3 - 3 * t**2 + 1) * knee
        + (t**3 - 2 * t**2 + t) * (1 - knee)
        + (-2 * t**3 + 3 * t**2) * most
    )
    return torch.where(level < knee, nits, pq_light(bent * peak))


def luminance_weights(primaries: Primaries) -> Tensor:
    """Returns how much red, green and blue weigh in luminance, `[3]`; they sum to 1."""
    return _to_xyz(primaries)[1].float()


@cache
def to_bt709_matrix(primaries: Primaries) -> Tensor:
    """Returns the matrix `[3, 3]` from light of these primaries to light of BT.709's."""
    return (torch.linalg.inv(_to_xyz(Primaries.BT709)) @ _to_xyz(primaries)).float()


@cache
def _to_xyz(primaries: Primaries) -> Tensor:
    """Returns the matrix `[3, 3]` from RGB to XYZ, where white has the luminance 1."""
    columns = torch.tensor([_xyz(*each) for each in _CHROMATICITIES[primaries]]).double().T
    white = torch.tensor(_xyz(*_D65)).double()
    return columns * torch.linalg.solve(columns, white)


def _xyz(x: float, y: float) -> tuple[float, float, float]:
    return x / y, 1.0, (1 - x - y) / y


@cache
def _light_of_codes(transfer: Transfer) -> Tensor:
    """Returns the light `[65536]` of every code: nits, and the scene's light for HLG."""
    signal = torch.linspace(0, 1, _CODES, dtype=torch.float64)
    if transfer is Transfer.PQ:
        return pq_light(signal).float()
    if transfer is Transfer.HLG:
        return hlg_scene(signal).float()
    return (WHITE_NITS * signal.pow(_SDR_GAMMA)).float()
