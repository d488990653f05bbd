"""The published weights that metrics need: which there are, where they are, and how they are read.

Nothing is downloaded: what is missing is told in one sentence, with where it comes from and where
it goes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

from ..files import why_unreadable

if TYPE_CHECKING:
    from torch import nn

_HUB = "https://huggingface.co"


@dataclass(frozen=True, kw_only=True)
class Weights:
    """A file or folder below `--weights`, and where it comes from."""

    name: str
    source: str


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


def find_weights(folder: Path, metric: str, weights: Weights) -> Path:
    """The path of a metric's weights below `folder`; raises ValueError where they are missing."""
    path = folder / weights.name
    if not path.exists():
        raise ValueError(
            f"metric {metric} needs {path}, which is not there; nothing is downloaded: get "
            f"{weights.name} from {weights.source} and put it into {folder}, or leave the metric "
            "out."
        )
    return path


def load_state(path: Path) -> Any:
    """What a .pth or .bin file holds, which may be tensors and plain containers only.

    Raises ValueError for a file that is damaged or holds anything else.
    """
    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, UnpicklingError, EOFError, KeyError) as error:
        reason = why_unreadable(path, error).partition("\n")[0] or type(error).__name__
        raise ValueError(
            f"weights {path} could not be read ({reason}); needs the published file of tensors: "
            "download it again."
        ) from error


def load_weights(module: nn.Module, state: Any, path: Path) -> nn.Module:
    """`module` with the weights of `state`, frozen and in evaluation mode.

    Raises ValueError, which names `path`, where `state` holds the weights of another network.
    """
    if not isinstance(state, dict):
        raise ValueError(f"weights {path} hold a {type(state).__name__}; needs named tensors.")
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"weights {path} are of another network ({reason[:200]}); needs the published file: "
            "download it again."
        ) from error
    return module.eval().requires_grad_(False)
