"""Where a reference stands and which timestep it has, by name; layout has the places themselves.

It imports nothing heavy, so that the command line tells of the choices at once.
"""

from __future__ import annotations

from enum import StrEnum


class ReferenceTimestep(StrEnum):
    """Which timestep the reference's tokens have.

    `clean` is t = 0, LTX's convention for conditioning tokens. `shared` is the video's t. The paper
    does not say which it uses; the default, `clean`, is ours (docs/method.md section 2).
    """

    CLEAN = "clean"
    SHARED = "shared"


class Placement(StrEnum):
    """Where the reference stands: `tass`, its ablations, or as other adapters were trained.

    BFS is the node pack ComfyUI-BFSNodes (docs/method.md section 9). For the token (i, j) of the
    reference at slot k of K beside a video of T x H x W:

    | | time | height and width | angles turned |
    | --- | --- | --- | --- |
    | tass | T | (k+1) H + i, (k+1) W + j | no |
    | overlap | 0 | i, j | no |
    | temporal_only | T + k | i, j | no |
    | spatial_only | 0 | (k+1) H + i, (k+1) W + j | no |
    | overlap_source_phase | 0 | i, j | yes |
    | strata | the instant (k+1) 1.5 s after the video's end | i, j | yes |
    | sidecar | the whole clip | i, (k+1) W + j | yes |
    | bfs_st_drc | T - 1 | (k+1) (H - 1) + i, (k+1) (W - 1) + j | yes |
    | before_clip | K - k pixel frames before 0 | i, j | no |

    `bfs_st_drc` is the placement that BFS 1.29 calls "st_drc", for adapters that were trained with
    it. It is one step short of `tass` on each axis: the first token of a reference lies on the last
    token of the video, or of the reference before it. `before_clip` is that of Licon's MSR adapters
    for LTX-2.5.
    """

    TASS = "tass"
    OVERLAP = "overlap"
    TEMPORAL_ONLY = "temporal_only"
    SPATIAL_ONLY = "spatial_only"
    OVERLAP_SOURCE_PHASE = "overlap_source_phase"
    STRATA = "strata"
    SIDECAR = "sidecar"
    BFS_ST_DRC = "bfs_st_drc"
    BEFORE_CLIP = "before_clip"

    @property
    def turns_angles(self) -> bool:
        """Whether the RoPE angles of the reference are turned by a source phase (source_phase)."""
        return self in _BFS

    @property
    def keeps_apart(self) -> bool:
        """Whether no reference token stands on a token of the video or of another reference."""
        return self not in _LIES_ON_OTHERS

    @property
    def takes_clips(self) -> bool:
        """Whether adapters were trained with references of several latent frames at this place."""
        return self in (Placement.OVERLAP, Placement.BEFORE_CLIP)


_BFS = (
    Placement.OVERLAP_SOURCE_PHASE,
    Placement.STRATA,
    Placement.SIDECAR,
    Placement.BFS_ST_DRC,
)
_LIES_ON_OTHERS = (Placement.OVERLAP, Placement.OVERLAP_SOURCE_PHASE, Placement.BFS_ST_DRC)
