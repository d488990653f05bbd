"""`python -m stdrc_core.train prepare`: turns a dataset into the cache that training reads.

A clip that cannot be used is set aside in OUT/report.jsonl with the reason. The same command goes
on where it was stopped; SIGTERM and Ctrl-C stop it after the clip that is done next, with all that
is done written. Several GPUs:
TORCH_ELASTIC_SHUTDOWN_TIMEOUT=1800 torchrun --nproc_per_node 8 -m stdrc_core.train prepare ...
"""

from __future__ import annotations

import argparse
import logging
import os

import torch

from ..device import open_device
from ..faces.finder import open_face_pack
from ..ltx.file_versions import require_same_version, transformer_version
from ..ltx.int8 import Int8
from ..ltx.text import open_text_encoder
from ..ltx.vae import load_vae, require_vae
from ..mini.text import STAND_INS
from .cache import fingerprint
from .prepare import Models, PrepareConfig, prepare
from .prepare_rehearsal import rehearse
from .sources import check_any_usable, read_sources
from .stopping import Stopper

log = logging.getLogger(__name__)


def main(args: argparse.Namespace) -> None:
    """Opens the models and prepares the cache; raises ValueError for input that cannot be used."""
    config = PrepareConfig(
        num_frames=args.num_frames,
        height=args.height,
        width=args.width,
        fps=args.fps,
        min_cosine=args.min_cosine,
        shard_size=args.shard_size,
        rank=args.rank,
        world_size=args.world_size,
        retry=args.retry,
    )
    if args.rehearse:
        log.info("%s", rehearse(args, config))
        return
    entries = read_sources(args.data, window_s=config.window_s, clips=args.clips)
    check_any_usable(entries, args.data)
    device = open_device(args.device or _default_device())
    text_device = device if args.text_device is None else open_device(args.text_device)
    int8 = Int8("text-quantization") if args.text_quantization == "int8" else None
    require_same_version(args.checkpoint, args.vae)
    require_vae(args.vae or args.checkpoint)
    dtype = args.vae_dtype or ("bfloat16" if device.type == "cuda" else "float32")
    models = Models(
        vae=load_vae(args.vae or args.checkpoint, getattr(torch, dtype)).to(device),
        text=open_text_encoder(
            args.text_encoder, args.checkpoint, text_device, STAND_INS, int8=int8
        ),
        faces=open_face_pack(args.faces, device),
        checkpoint=args.checkpoint.name,
        fingerprint=fingerprint(args.checkpoint),
        base_version=transformer_version(args.checkpoint),
    )
    stopper = Stopper()
    with stopper.listening():
        prepare(entries, args.out, config, models, stopper)
    if not stopper.requested:
        log.info("%s is ready: name it as `cache` in a run's configuration.", args.out)


def _default_device() -> str:
    """The GPU of this process, or the CPU where there is no GPU."""
    # torchrun numbers the processes of a machine from 0, and each takes the GPU of its number.
    local_rank = os.environ.get("LOCAL_RANK", "0")
    return f"cuda:{local_rank}" if torch.cuda.is_available() else "cpu"
