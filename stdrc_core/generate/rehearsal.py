"""`--rehearse`: a clip on tensors that have sizes and no numbers, and what it takes.

The pipeline is the command's own; the model need not be there (ltx.published). Two steps are run,
the photo is encoded before and the clip decoded after them. What is not run is the text encoder,
whose weights are counted, and the face model.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import torch

from ..ltx.backbone import load_backbone
from ..ltx.published import open_sizes, sized_vae, text_encoder_bytes
from ..ltx.text import NUM_TOKENS
from ..rehearsal.memory_record import GPU, HOST, MemoryRecord, fake_gpu
from ..rehearsal.parking import park_blocks
from ..rehearsal.repeated import run_few
from ..rehearsal.report import as_table, gib, judge, memory_rows
from .pipeline import Pipeline, Shot

_REHEARSED_STEPS = 2


def rehearse(args: argparse.Namespace, shot: Shot) -> str:
    """Rehearses a clip; returns a table of what it takes, with the verdict for `args.vram`.

    Raises ValueError for a checkpoint whose size is not known.
    """
    sizes = open_sizes(args.checkpoint)
    vae_sizes = sizes if args.vae is None else open_sizes(args.vae)
    dtype, flops = torch.bfloat16, []
    with fake_gpu():
        with torch.device("meta"):
            backbone = load_backbone(sizes, dtype=dtype, device=GPU).eval()
        if args.offload:
            park_blocks([*backbone.transformer.transformer_blocks], GPU)
        vae = sized_vae(vae_sizes, dtype, GPU)
        context = torch.zeros(NUM_TOKENS, backbone.context_dim).to(GPU)
        pipeline = Pipeline(backbone=backbone, vae=vae, empty_context=context)
        photos = [torch.zeros(1, shot.height, shot.width, 3)] * len(args.reference or [None])
        with MemoryRecord() as record:
            record.declare([backbone])
            record.declare([vae], is_frozen=True)
            run_few(backbone.transformer.transformer_blocks, record)
            pipeline.many(
                [photos],
                context[None],
                replace(shot, num_steps=_REHEARSED_STEPS),
                [shot.seed],
                lambda *_: flops.append(record.flops),
            )
    of_a_step = flops[-1] - flops[-2]
    peak, text_bytes = record.peak(), text_encoder_bytes(sizes)
    is_on_gpu = not args.offload if args.text_device is None else args.text_device != "cpu"
    where = "GPU" if is_on_gpu else "host"
    rows = [
        ("clip", f"{shot.num_frames} frames of {shot.width} x {shot.height}"),
        *memory_rows(peak, frozen="VAE"),
        (f"text encoder, alone on the {where} before", gib(text_bytes)),
        ("host memory", f"{gib(record.peak(HOST).total)} kept beside the process itself"),
        ("a step", f"{of_a_step / 1e12:,.0f} TFLOP"),
        ("the clip", f"{(record.flops + (shot.num_steps - 2) * of_a_step) / 1e12:,.0f} TFLOP"),
    ]
    needed = max(peak.total, text_bytes if is_on_gpu else 0)
    remedies = [] if args.offload else ["--offload"]
    if needed > peak.total:
        remedies.insert(0, "--text-device cpu")
    remedies += ["fewer --frames", "a smaller --height and --width"]
    return f"{as_table(rows)}\n{judge(needed, args.vram, remedies).sentence}"
