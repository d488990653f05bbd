"""Prepare Reference Photo: one face cut out of a photo with a margin, and advice on the photo."""

from __future__ import annotations

from comfy_api.latest import io, ui

from ..stdrc_core.faces.frames import check_photo, photo_levels
from ..stdrc_core.faces.photo import Choice, advise, choose_face, crop_box, face_mask
from ..stdrc_core.faces.provider import Provider
from ..stdrc_core.faces.similarity import find_padding
from ..stdrc_core.method.reference import with_transparency
from .face_packs import no_face, open_pack, pack_inputs
from .node_message import show_on_node


class STDRCPrepareReferencePhoto(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        face_pack, download = pack_inputs()
        return io.Schema(
            node_id="STDRCPrepareReferencePhoto",
            display_name="Prepare Reference Photo",
            category="ST-DRC",
            description=(
                "Cuts one face out of a photo with a margin, for Encode Reference Latent, and says "
                "what would make it a better reference."
            ),
            search_aliases=["st-drc", "crop face", "face", "reference", "insightface"],
            inputs=[
                io.Image.Input("image", tooltip="One photo with one or more faces."),
                face_pack,
                io.Float.Input(
                    "margin",
                    default=0.5,
                    min=0.0,
                    max=10.0,
                    step=0.05,
                    tooltip=(
                        "What is kept around the face's box on each side, as a share of its longer "
                        "side, as far as the photo goes."
                    ),
                ),
                io.Combo.Input(
                    "choose",
                    options=Choice,
                    default=Choice.LARGEST,
                    tooltip="Which face, where the photo shows several.",
                ),
                io.Int.Input(
                    "index",
                    default=0,
                    min=0,
                    max=1000,
                    tooltip="For choose = index: counted from 0, left to right.",
                ),
                download,
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip=(
                        "From Load Image: 1 where the photo is transparent. Faces are looked for "
                        "over black, and the cut stays transparent for Encode Reference Latent."
                    ),
                ),
            ],
            outputs=[
                io.Image.Output(
                    display_name="image",
                    tooltip="The photo around the face; RGBA where it has transparency.",
                ),
                io.Mask.Output(display_name="face", tooltip="1 in the face's box, in that image."),
                io.String.Output(
                    display_name="advice",
                    tooltip="What would make the photo a better reference, a sentence a line.",
                ),
                io.Int.Output(display_name="x", tooltip="Where the cut begins, from the left."),
                io.Int.Output(display_name="y", tooltip="Where the cut begins, from the top."),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        image: io.Image.Type,
        face_pack: str,
        margin: float,
        choose: str,
        index: int,
        download: bool,
        mask: io.Mask.Type | None = None,
    ) -> io.NodeOutput:
        check_photo(image, "image")
        image = with_transparency(image, mask)
        height, width = image.shape[1:3]
        pixels = photo_levels(image, "image")
        pack = open_pack(face_pack, Provider.AUTO, download=download)
        faces = [each.face for each in find_padding(pixels, pack.finder)[0]]
        if not faces:
            raise no_face(image, "image", pack)
        face = choose_face(faces, Choice(choose), height, width, index)
        left, top, right, bottom = crop_box(face, margin, height, width)
        rows, columns = slice(top, bottom), slice(left, right)
        cropped = image[:, rows, columns].clone()
        mask = face_mask(face, height, width)[None, rows, columns].clone()
        others = [each for each in faces if each is not face]
        advice = "\n".join(advise(pixels[0], face, others)) or "A good reference: nothing to do."
        show_on_node(cls, advice)
        preview = ui.PreviewImage(cropped, cls=cls)
        return io.NodeOutput(cropped, mask, advice, left, top, ui=preview)
