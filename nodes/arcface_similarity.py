"""ArcFace Similarity: how much a clip is the person of one photo or several, frame by frame."""

from __future__ import annotations

import json

import comfy.model_management
import comfy.utils
import torch
from comfy_api.latest import io, ui
from torch import Tensor

from ..stdrc_core.faces.annotate import annotate_frame
from ..stdrc_core.faces.frames import check_images, photo_levels, rgb_levels
from ..stdrc_core.faces.gallery import GalleryRule, check_one_person, gallery_embedding
from ..stdrc_core.faces.likeness import Likeness, measure_likeness
from ..stdrc_core.faces.plot import plot_likeness
from ..stdrc_core.faces.provider import Provider
from ..stdrc_core.faces.similarity import NUM_SCORED_FRAMES, largest_faces, scored_indices
from .face_packs import InsightFacePack, no_face, open_pack, pack_inputs
from .node_message import show_on_node


class STDRCArcFaceSimilarity(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        face_pack, download = pack_inputs()
        return io.Schema(
            node_id="STDRCArcFaceSimilarity",
            display_name="ArcFace Similarity",
            category="ST-DRC",
            description=(
                "Measures how much a clip is the person of a photo: FaceSim-Arc, the mean cosine "
                "of ArcFace embeddings of the largest face of 16 frames with the photo's."
            ),
            search_aliases=["st-drc", "facesim", "face", "identity", "likeness", "insightface"],
            is_output_node=True,
            inputs=[
                io.Image.Input("images", tooltip="The clip's frames."),
                io.Image.Input(
                    "reference",
                    tooltip="One photo of the person, or a batch of photos of that person.",
                ),
                face_pack,
                io.Int.Input(
                    "frames",
                    default=NUM_SCORED_FRAMES,
                    min=0,
                    max=100_000,
                    tooltip=(
                        "How many frames are looked at, evenly over the clip. 16 is the published "
                        "protocol; 0 looks at all of them."
                    ),
                ),
                io.Combo.Input(
                    "provider",
                    options=Provider,
                    default=Provider.AUTO,
                    tooltip=(
                        "Where ONNX Runtime runs: auto takes CUDA where it is there. The node says "
                        "what is in use."
                    ),
                    advanced=True,
                ),
                download,
                io.Combo.Input(
                    "gallery",
                    optional=True,
                    options=GalleryRule,
                    default=GalleryRule.MEAN,
                    tooltip=(
                        "With several photos, each frame is compared with their mean embedding, or "
                        "with the nearest photo. With one photo, the published protocol, it "
                        "changes nothing."
                    ),
                    advanced=True,
                ),
            ],
            outputs=[
                io.Float.Output(
                    display_name="similarity",
                    tooltip="0 to 1; frames without a face are left out, 0 where none has one.",
                ),
                io.Image.Output(
                    display_name="plot",
                    tooltip="Cosine per frame; frames without a face in red, other faces as rings.",
                ),
                io.Image.Output(
                    display_name="annotated",
                    tooltip="The frames that were looked at, with boxes and cosines.",
                ),
                io.String.Output(
                    display_name="report", tooltip="JSON: all figures, and each frame's."
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        images: io.Image.Type,
        reference: io.Image.Type,
        face_pack: str,
        frames: int,
        provider: str,
        download: bool,
        gallery: str = GalleryRule.MEAN,
    ) -> io.NodeOutput:
        check_images(images, "images")
        check_images(reference, "reference")
        indices = scored_indices(len(images), frames)
        pack = open_pack(face_pack, Provider(provider), download=download)
        photos = [_embedding(photo, name, pack) for name, photo in _named(reference).items()]
        check_one_person(photos, [*_named(reference)])
        rule = GalleryRule(gallery)
        e_ref = gallery_embedding(photos, rule)
        # Each frame counts twice: faces are found in it, and then drawn on it.
        bar = comfy.utils.ProgressBar(2 * len(set(indices)))

        def on_frames(num_frames: int) -> None:
            comfy.model_management.throw_exception_if_processing_interrupted()
            bar.update(num_frames)

        likeness = measure_likeness(
            images, e_ref, pack.finder, indices=indices, on_frames=on_frames
        )
        annotated = torch.empty(len(likeness.frames), *images.shape[1:3], 3)
        for picture, frame in zip(annotated, likeness.frames, strict=True):
            pixels = rgb_levels(images[frame.index], "images")
            picture.copy_(annotate_frame(pixels, frame).float() / 255)
            on_frames(1)
        used = f"{pack.name} on {pack.provider}"
        report = {"face_pack": pack.name, "provider": pack.provider, "num_photos": len(photos)}
        if len(photos) > 1:
            report["gallery"] = str(rule)
            used = f"{len(photos)} photos {rule.words}, {used}"
        plot = plot_likeness(likeness, used)[None].float() / 255
        show_on_node(cls, f"{_sentence(likeness)} {used}.")
        return io.NodeOutput(
            likeness.facesim,
            plot,
            annotated,
            json.dumps(likeness.report() | report, indent=1),
            ui=ui.PreviewImage(plot, cls=cls),
        )


def _named(reference: Tensor) -> dict[str, Tensor]:
    """Returns the photos `[1, h, w, C]` of a batch by what messages call them."""
    if len(reference) == 1:
        return {"reference": reference}
    return {f"photo {i} of reference": each for i, each in enumerate(reference.split(1), start=1)}


def _embedding(photo: Tensor, name: str, pack: InsightFacePack) -> Tensor:
    """Returns the embedding `[D]` of the photo's largest face. Raises ValueError if it has none."""
    (person,) = largest_faces(photo_levels(photo, name), pack.finder)
    if person is None:
        raise no_face(photo, name, pack)
    return person.embedding


def _sentence(likeness: Likeness) -> str:
    """Returns what the node shows of the clip: its similarity, and its frames with a face."""
    num_faces, num_frames = len(likeness.with_face), len(likeness.frames)
    if likeness.worst is None:
        return f"FaceSim 0: no face in {num_frames} frames."
    scored = (
        f"FaceSim {likeness.facesim:.3f}. Face in {num_faces} of {num_frames} frames, lowest "
        f"{likeness.worst.cosine:.3f} at frame {likeness.worst.index}."
    )
    if likeness.drift is not None:
        scored += f" Drift {likeness.drift} over 100 frames."
    return f"{scored} {likeness.others.sentence}".rstrip()
