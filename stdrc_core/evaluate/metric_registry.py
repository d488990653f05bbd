"""The table's columns: each metric's name, module, weights and libraries.

No metric's module is imported before it is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_HUB = "https://huggingface.co"


@dataclass(frozen=True, kw_only=True)
class Weights:
    """A file or folder below `--weights`, and where it comes from."""

    name: str
    source: str


@dataclass(frozen=True, kw_only=True)
class Column:
    """A metric as the command line, the reports and the README tell of it."""

    title: str
    module: str
    """Relative to this package; it has `open_metric(Resources) -> Metric`."""
    about: str
    decimals: int = 3
    weights: tuple[Weights, ...] = ()
    libraries: Mapping[str, str] | None = None
    """Module -> what pip calls it."""
    needs: tuple[str, ...] = ()
    """Which keys of a pair it cannot do without."""
    uses_faces: bool = False
    samples_frames: bool = False
    """Whether it looks at `--frames` of a clip's frames, not at all of them."""


CLIP_B32 = Weights(name="clip-vit-base-patch32", source=f"{_HUB}/openai/clip-vit-base-patch32")
CLIP_L14 = Weights(name="clip-vit-large-patch14", source=f"{_HUB}/openai/clip-vit-large-patch14")
CURRICULAR_FACE = Weights(
    name="glint360k_curricular_face_r101_backbone.bin",
    source=f"{_HUB}/BestWishYsh/ConsisID-preview (face_encoder)",
)
AESTHETIC = Weights(
    name="sa_0_4_vit_l_14_linear.pth", source="https://github.com/LAION-AI/aesthetic-predictor"
)
MUSIQ = Weights(
    name="musiq_spaq_ckpt-358bb6af.pth",
    source="https://github.com/chaofengc/IQA-PyTorch/releases/tag/v0.1-weights",
)
AMT = Weights(name="amt-s.pth", source=f"{_HUB}/lalala125/AMT")
RAFT = Weights(
    name="raft_large_C_T_V1-22a6c225.pth",
    source="https://download.pytorch.org/models/raft_large_C_T_V1-22a6c225.pth",
)

_TRANSFORMERS = {"transformers": "transformers"}
_TORCHVISION = {"torchvision": "torchvision"}

# In the order of the paper's table, then temporal identity (Eq. 10), which the table leaves out.
COLUMNS: dict[str, Column] = {
    "facesim_arc": Column(
        title="FaceSim-Arc",
        module=".facesim_arc",
        about="ArcFace cosine with the photo, clamped at 0, mean over frames with a face",
        needs=("reference",),
        uses_faces=True,
        samples_frames=True,
    ),
    "facesim_cur": Column(
        title="FaceSim-Cur",
        module=".facesim_cur",
        about="the same by CurricularFace (IR-101)",
        weights=(CURRICULAR_FACE,),
        needs=("reference",),
        uses_faces=True,
        samples_frames=True,
    ),
    "clip": Column(
        title="CLIP",
        module=".clip_score",
        about="100 x cosine of prompt and frame, CLIP ViT-B/32, mean over frames",
        decimals=2,
        weights=(CLIP_B32,),
        libraries=_TRANSFORMERS,
        needs=("prompt",),
        samples_frames=True,
    ),
    "aq": Column(
        title="AQ",
        module=".aesthetic_quality",
        about="aesthetic quality: LAION's linear head on CLIP ViT-L/14, of 1",
        weights=(CLIP_L14, AESTHETIC),
        libraries=_TRANSFORMERS,
    ),
    "iq": Column(
        title="IQ",
        module=".imaging_quality",
        about="imaging quality: MUSIQ trained on SPAQ, of 1",
        weights=(MUSIQ,),
        libraries={"pyiqa": "pyiqa", **_TORCHVISION},
    ),
    "ms": Column(
        title="MS",
        module=".motion_smoothness",
        about="motion smoothness: how well AMT-S foretells every other frame, by VBench itself",
        weights=(AMT,),
    ),
    "dd": Column(
        title="DD",
        module=".dynamic_degree",
        about="dynamic degree: share of clips that move, by RAFT's optical flow",
        decimals=2,
        weights=(RAFT,),
        libraries=_TORCHVISION,
    ),
    "tic": Column(
        title="TIC",
        module=".temporal_identity",
        about="temporal identity consistency: mean cosine with the clip's own mean face",
        uses_faces=True,
        samples_frames=True,
    ),
}
