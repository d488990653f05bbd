"""Keep Best Identity: of several clips or latents, the one that is most like the person."""

from __future__ import annotations

import json
import math
from typing import Any

from comfy_api.latest import io

from ..stdrc_core.faces.likeness import ranking
from .node_message import show_on_node


class STDRCKeepBestIdentity(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        kind = io.MatchType.Template("kind", [io.Image, io.Latent, io.Video])
        return io.Schema(
            node_id="STDRCKeepBestIdentity",
            display_name="Keep Best Identity",
            category="ST-DRC",
            description=(
                "Of several clips or latents keeps the one of the highest similarity, for example "
                "the best of several seeds."
            ),
            search_aliases=["st-drc", "best of n", "select best", "identity", "seed"],
            is_input_list=True,
            inputs=[
                io.MatchType.Input(
                    "candidates",
                    template=kind,
                    tooltip="A list of clips (IMAGE or VIDEO) or latents, as Create List makes it.",
                ),
                io.Float.Input(
                    "similarities",
                    force_input=True,
                    tooltip="Their similarities in the same order, by ArcFace Similarity.",
                ),
            ],
            outputs=[
                io.MatchType.Output(template=kind, display_name="best"),
                io.Int.Output(display_name="index", tooltip="Its place in the list, from 0."),
                io.String.Output(
                    display_name="ranking",
                    tooltip="JSON: index and similarity of all, the best first.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(cls, candidates: list[Any], similarities: list[float]) -> io.NodeOutput:
        if len(candidates) != len(similarities):
            raise ValueError(
                f"candidates are {len(candidates)}, similarities {len(similarities)}; needs one "
                "similarity for each candidate, both as lists in the same order: join them with "
                "Create List."
            )
        for index, similarity in enumerate(similarities):
            if not math.isfinite(similarity):
                raise ValueError(
                    f"similarities holds {similarity} at index {index}; needs finite numbers: "
                    "connect ArcFace Similarity."
                )
        order = ranking(similarities)
        listed = [{"index": index, "similarity": similarities[index]} for index in order]
        best = order[0]
        words = ", ".join(f"{index}: {similarities[index]:.3f}" for index in order)
        show_on_node(cls, f"Kept {best} of {len(order)} ({words}).")
        return io.NodeOutput(candidates[best], best, json.dumps(listed, indent=1))
