"""HDR and wide-gamut clips on an SDR screen: against the recommendations' own numbers and forms.

The clips are coded here from light in nits, by the inverse formulas in plain numbers.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.tagged_clips import UNSPECIFIED, Look, write_solid

from stdrc_core.color.tone import (
    PEAK_NITS,
    WHITE_NITS,
    Primaries,
    hlg_scene,
    hlg_screen,
    luminance_weights,
    pq_light,
    pq_signal,
    rolled_off,
    to_bt709_matrix,
)
from stdrc_core.video import read_clip, read_frames, stream_frames

PQ, HLG, BT2020, P3 = 16, 18, 9, 12
# ITU-R BT.2087-0: from BT.709's light to BT.2020's.
FROM_BT709 = np.array(
    [[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]]
)
# SMPTE EG 432-1 and IEC 61966-2-1, both for D65: from BT.709's light to Display P3's.
P3_FROM_BT709 = np.array(
    [[0.82246, 0.17754, 0.0], [0.03319, 0.96681, 0.0], [0.01708, 0.07240, 0.91052]]
)
# Light of BT.709's red, green and blue in nits; all are below the curve's knee.
LIGHTS = {
    "skin": (70.0, 42.0, 28.0),
    "dark skin": (14.0, 8.0, 5.0),
    "leaf": (10.0, 40.0, 6.0),
    "lips": (60.0, 12.0, 16.0),
    "shade": (1.0, 1.2, 1.5),
    "grey": (80.0, 80.0, 80.0),
    "sky": (20.0, 45.0, 75.0),
}


def as_pq(nits: np.ndarray) -> np.ndarray:
    """SMPTE ST 2084's inverse EOTF, with its constants as decimals."""
    power = (nits / 10000) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375


def as_hlg(nits: np.ndarray) -> np.ndarray:
    """ARIB STD-B67's signal that a nominal screen of 1000 nits shows so."""
    luminance = nits @ np.array([0.2627, 0.6780, 0.0593]) / 1000
    scene = nits / 1000 * luminance ** (1 / 1.2 - 1)
    bright = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), bright)


def as_gamma(nits: np.ndarray) -> np.ndarray:
    return (nits / 203) ** (1 / 2.4)


def on_sdr_screen(nits: tuple[float, float, float]) -> np.ndarray:
    return 255 * np.minimum(np.array(nits) / 203, 1) ** (1 / 2.4)


def shown(path: Path) -> list[int]:
    (frame,) = read_frames(path, [1 / 24])
    assert (frame == frame[:1, :1]).all()
    return frame[0, 0].tolist()


ten_bit = {"matrix": 9, "pix_fmt": "yuv420p10le"}
HDR = {
    "PQ of HDR10": (as_pq, Look(**ten_bit, transfer=PQ, primaries=BT2020, codec="libx265")),
    "PQ, H.264": (as_pq, Look(**ten_bit, transfer=PQ, primaries=BT2020)),
    "PQ, 12 bit, 4:4:4": (
        as_pq,
        Look(matrix=9, pix_fmt="yuv444p12le", transfer=PQ, primaries=9, codec="libx265"),
    ),
    "PQ in Matroska": (
        as_pq,
        Look(**ten_bit, transfer=PQ, primaries=BT2020, codec="libx265", suffix=".mkv"),
    ),
    "PQ, nothing else said": (
        as_pq,
        Look(**ten_bit, transfer=PQ, primaries=UNSPECIFIED, said_matrix=2, said_range=0),
    ),
    "PQ, full": (as_pq, Look(**ten_bit, transfer=PQ, primaries=BT2020, is_full=True)),
    "HLG of a phone": (as_hlg, Look(**ten_bit, transfer=HLG, primaries=BT2020, codec="libx265")),
    "HLG, H.264": (as_hlg, Look(**ten_bit, transfer=HLG, primaries=BT2020)),
    "HLG, 4:2:2": (
        as_hlg,
        Look(matrix=9, pix_fmt="yuv422p10le", transfer=HLG, primaries=BT2020),
    ),
    "HLG, nothing else said": (
        as_hlg,
        Look(**ten_bit, transfer=HLG, primaries=UNSPECIFIED, said_matrix=2, said_range=0),
    ),
    "HLG, turned": (as_hlg, Look(**ten_bit, transfer=HLG, primaries=BT2020, rotation=90)),
    "BT.2020 of SDR": (as_gamma, Look(**ten_bit, transfer=14, primaries=BT2020)),
    "BT.2020 of SDR, 8 bit": (as_gamma, Look(matrix=9, transfer=1, primaries=BT2020)),
}


@pytest.mark.parametrize("case", HDR)
@pytest.mark.parametrize("name", LIGHTS)
def test_a_light_below_the_knee_is_shown_as_it_is(tmp_path: Path, case: str, name: str):
    encode, look = HDR[case]
    signal = encode(FROM_BT709 @ np.array(LIGHTS[name]))
    path = write_solid(tmp_path / "hdr", tuple(signal.tolist()), look, num_frames=3)
    # 8 bits of a gamma are coarse where BT.2020's red is made of them.
    within = 3 if look.pix_fmt == "yuv420p" else 2
    np.testing.assert_allclose(shown(path), on_sdr_screen(LIGHTS[name]), atol=within)


@pytest.mark.parametrize("name", LIGHTS)
def test_display_p3_is_shown_as_bt709(tmp_path: Path, name: str):
    signal = as_gamma(P3_FROM_BT709 @ np.array(LIGHTS[name]))
    look = Look(matrix=1, pix_fmt="yuv444p10le", transfer=1, primaries=P3)
    path = write_solid(tmp_path / "p3", tuple(signal.tolist()), look, num_frames=3)
    np.testing.assert_allclose(shown(path), on_sdr_screen(LIGHTS[name]), atol=2)


def test_every_reader_of_clips_sees_the_same(tmp_path: Path):
    _, look = HDR["HLG of a phone"]
    path = write_solid(tmp_path / "hlg", (0.6, 0.5, 0.4), look)
    (by_time,) = read_frames(path, [0.0])
    by_clip = read_clip(path, num_frames=1, fps=24, height=look.height, width=look.width)[0]
    assert torch.equal(by_time, by_clip)
    assert torch.equal(by_time, next(stream_frames(path, [0])))


@pytest.mark.parametrize(("transfer", "encode"), [(PQ, as_pq), (HLG, as_hlg)])
def test_highlights_keep_their_order_and_end_at_white(tmp_path: Path, transfer: int, encode):
    levels = []
    for nits in (90, 150, 203, 400, 700, 1000):
        signal = encode(np.full(3, float(nits)))
        look = Look(**ten_bit, transfer=transfer, primaries=BT2020)
        pixel = shown(write_solid(tmp_path / f"{nits}", tuple(signal.tolist()), look, 3))
        assert max(pixel) - min(pixel) <= 1, "grey stays grey"
        levels.append(pixel[1])
    assert levels[:-1] == sorted(set(levels[:-1]))
    assert levels[2] > 220, "the white of a shirt is near white"
    assert levels[-1] == 255


# The curves by themselves


@pytest.mark.parametrize(
    ("signal", "nits"), [(0.0, 0.0), (0.5081, 100.0), (0.5807, 203.0), (0.7518, 1000.0), (1.0, 1e4)]
)
def test_pq_has_the_numbers_of_bt2408(signal: float, nits: float):
    assert pq_light(torch.tensor(signal).double()).item() == pytest.approx(nits, rel=2e-3)
    assert pq_signal(torch.tensor(nits).double()).item() == pytest.approx(signal, abs=1e-4)


def test_pq_and_its_inverse_undo_each_other():
    signal = torch.linspace(0, 1, 2001, dtype=torch.float64)
    assert torch.allclose(pq_signal(pq_light(signal)), signal, atol=1e-6)


def test_hlg_has_the_numbers_of_bt2100_and_bt2408():
    scene = hlg_scene(torch.tensor([0.0, 0.5, 1.0]).double()).tolist()
    assert scene == pytest.approx([0, 1 / 12, 1], abs=1e-6)
    weights = luminance_weights(Primaries.BT2020)
    assert weights.tolist() == pytest.approx([0.2627, 0.6780, 0.0593], abs=1e-4)
    # A signal of 75 % is the white of a page, which BT.2408 puts at 203 nits; 38 % is a grey card.
    for signal, nits in ((0.75, 203.0), (0.38, 26.0), (1.0, 1000.0)):
        light = hlg_screen(hlg_scene(torch.full((3,), signal)), weights)
        assert light.tolist() == pytest.approx([nits] * 3, rel=0.02)


def test_the_roll_off_is_the_identity_and_then_bends_smoothly_to_white():
    nits = torch.linspace(0, PEAK_NITS, 100_001, dtype=torch.float64)
    bent = rolled_off(nits)
    slopes = bent.diff() / nits.diff()
    knee = int((bent != nits).nonzero()[0])
    assert 87 < nits[knee] < 89
    assert slopes[knee - 2] == pytest.approx(1, abs=1e-6)
    assert (slopes[knee : knee + 50] - 1).abs().max() < 5e-3, "no corner at the knee"
    assert (slopes >= 0).all()
    assert bent[-1].item() == pytest.approx(WHITE_NITS, rel=1e-6)
    assert (bent <= nits + 1e-9).all()


def test_the_matrices_are_the_published_ones():
    bt2020, p3 = (to_bt709_matrix(each).double() for each in (Primaries.BT2020, Primaries.P3))
    np.testing.assert_allclose(bt2020.numpy() @ FROM_BT709, np.eye(3), atol=2e-4)
    np.testing.assert_allclose(p3.numpy() @ P3_FROM_BT709, np.eye(3), atol=2e-4)
    assert torch.allclose(to_bt709_matrix(Primaries.BT709), torch.eye(3), atol=1e-6)
    for matrix in (bt2020, p3):
        assert matrix.sum(dim=1).tolist() == pytest.approx([1, 1, 1], abs=1e-6), "white is white"


def test_a_colour_that_bt709_lacks_keeps_its_hue_as_far_as_it_can(tmp_path: Path):
    """BT.2020's own green at 60 nits: BT.709's green, no red and no blue."""
    signal = as_pq(np.array([0.0, 60.0, 0.0]))
    look = Look(matrix=9, pix_fmt="yuv444p10le", transfer=PQ, primaries=BT2020)
    red, green, blue = shown(write_solid(tmp_path / "green", tuple(signal.tolist()), look, 3))
    assert red == 0 and blue == 0
    assert green == pytest.approx(255 * (60 * 1.1329 / 203) ** (1 / 2.4), abs=3)
