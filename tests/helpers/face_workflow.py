"""The three face nodes in one workflow, in the queue's format."""

from __future__ import annotations

from typing import Any

PACK = {"face_pack": "stdrc_mini", "download": False}


def workflow(*seeds: int) -> dict[str, Any]:
    """Clips of drawn persons against the first one's photo; the best is kept and saved."""
    nodes: dict[str, Any] = {}

    def add(name: str, class_type: str, **inputs: Any) -> list[Any]:
        nodes[name] = {"class_type": class_type, "inputs": inputs}
        return [name, 0]

    photos = [add(f"person{i}", "STDRCMiniCharacter", seed=seed) for i, seed in enumerate(seeds)]
    clips = [
        add(f"clip{i}", "RepeatImageBatch", image=photo, amount=3 + i)
        for i, photo in enumerate(photos)
    ]
    listed = add("list", "CreateList", **{f"inputs.input{i}": clip for i, clip in enumerate(clips)})
    add(
        "photo",
        "STDRCPrepareReferencePhoto",
        image=photos[0],
        margin=0.6,
        choose="largest",
        index=0,
        **PACK,
    )
    add(
        "similarity",
        "STDRCArcFaceSimilarity",
        images=listed,
        reference=["photo", 0],
        frames=16,
        provider="auto",
        **PACK,
    )
    add("best", "STDRCKeepBestIdentity", candidates=listed, similarities=["similarity", 0])
    add("saved", "SaveImage", images=["best", 0], filename_prefix="best")
    add("annotated", "SaveImage", images=["similarity", 2], filename_prefix="annotated")
    for name, source in {
        "index": ["best", 1],
        "ranking": ["best", 2],
        "advice": ["photo", 2],
        "report": ["similarity", 3],
    }.items():
        add(f"show_{name}", "PreviewAny", source=source)
    return nodes
