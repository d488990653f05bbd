"""The metrics: each one's name, its title in tables, its module, weights and libraries.

A new metric is a module with a `Metric` and a line in `COLUMNS`. No metric's module is imported
before the metric is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .weights import AESTHETIC, AMT, CLIP_B32, CLIP_L14, CURRICULAR_FACE, MUSIQ, RAFT, Weights


@dataclass(frozen=True, kw_only=True)
class Column:
    """A metric as the command line and the reports tell of it."""

    title: str
    """What it is called in tables."""
    module: str
    """Its module, relative to this package, which has `open_metric(Resources) -> Metric`."""
    about: str
    """What it measures, in a few words."""
    decimals: int = 3
    """How many decimals the paper gives it."""
    weights: tuple[Weights, ...] = ()
    """The published weights that it needs, besides a face pack."""
    libraries: Mapping[str, str] | None = None
    """The libraries that it needs: the module's name -> what pip calls it."""
    needs: tuple[str, ...] = ()
    """Which keys of a pair it cannot do without."""
    uses_faces: bool = False
    """Whether it needs an InsightFace pack."""
    samples_frames: bool = False
    """Whether it looks at `--frames` of a clip's frames, not at all of them."""

    def number(self, value: float) -> str:
        """A value of this metric with as many decimals as the paper gives it."""
        return f"{value:.{self.decimals}f}"


_TRANSFORMERS = {"transformers": "transformers"}
_TORCHVISION = {"torchvision": "torchvision"}

# They stand in the order of the paper's table; TIC (Eq. 10), which it leaves out, comes last.
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
        about="the same with CurricularFace (IR-101) in the place of ArcFace",
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
        about="motion smoothness: how well AMT-S foretells every other frame, measured by VBench",
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
        module=".tic",
        about="temporal identity consistency: mean cosine of the clip's faces with their mean",
        uses_faces=True,
        samples_frames=True,
    ),
}
