"""`python -m stdrc_core.train prepare`: a dataset becomes the cache that training reads.

Each clip is decoded once. The cache keeps its latent by the frozen VAE, its caption's embedding,
the person's face in every frame, and the reference as pixels and as an embedding. A clip that
cannot be used is set aside in `report.jsonl` with the reason; it never ends the run. The same
command goes on where it was stopped. Of several processes (torchrun, or RANK and WORLD_SIZE) each
takes its share of the clips.

`clip_stages` has what is done to a clip, several clips at a time.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from ..faces.finder import FaceFinder
from ..ltx.text import TextEncoder
from ..ltx.vae import VideoVAE
from .cache import Manifest, read_lines, read_samples
from .cache_writer import CacheWriter, append_lines
from .clip_stages import Reason, SetAsideError, make_stages, through
from .dataset_entry import Entry
from .prepare_config import PrepareConfig
from .stopping import Stopper

log = logging.getLogger(__name__)

REPORT = "report.jsonl"
# How many clips may wait before each stage: decoded, one of 121 frames of 960 x 544 takes 190 MB.
CLIPS_AHEAD = 2


@dataclass(frozen=True, kw_only=True)
class Models:
    """The networks that turn clips, captions and faces into tensors."""

    vae: VideoVAE
    text: TextEncoder
    faces: FaceFinder
    checkpoint: str
    """Name of the file that text connector and, where it has one, VAE are from."""
    fingerprint: str
    """What `cache.fingerprint` says of that file."""
    base_version: str | None = None
    """The version of LTX that this file is, where it is known."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What is in the cache's folder after a run, by all ranks so far."""

    num_samples: int
    set_aside: Mapping[Reason, int]
    """How many clips were set aside for each reason."""


def prepare(
    entries: Sequence[Entry],
    out: str | Path,
    config: PrepareConfig,
    models: Models,
    stopper: Stopper | None = None,
) -> Summary:
    """Adds the samples of this rank's share of `entries` to the cache in `out`.

    A `stopper` that is asked to stop ends it after the clip that is done next, with all samples so
    far written. Raises ValueError when the cache was begun with other settings, and when all
    entries are done and none could be used; OSError when the cache cannot be written.
    """
    out = Path(out)
    vae_dtype = next(models.vae.parameters()).dtype
    empty_context = models.text.encode("")
    manifest = Manifest(
        num_frames=config.num_frames,
        height=config.height,
        width=config.width,
        fps=config.fps,
        latent_channels=models.vae.latent_channels,
        context_shape=tuple(empty_context.shape),
        checkpoint=models.checkpoint,
        checkpoint_fingerprint=models.fingerprint,
        text_encoder=models.text.name,
        face_pack=models.faces.name,
        base_version=models.base_version,
        vae_dtype=str(vae_dtype).removeprefix("torch."),
    )
    others = by_identity(entries)
    share = entries[config.rank :: config.world_size]
    with (
        CacheWriter(
            out, manifest, empty_context, rank=config.rank, shard_size=config.shard_size
        ) as writer,
        logging_redirect_tqdm(),
    ):
        done = writer.ids | (set() if config.retry else set(_reported(out)))
        waiting = [entry for entry in share if entry.id not in done]
        log.info("%s: %d clips, %d still to do.", out, len(share), len(waiting))
        num_kept = 0
        stages = make_stages(others, config, vae=models.vae, text=models.text, finder=models.faces)
        with closing(through(stages, waiting, CLIPS_AHEAD)) as made:
            for work in (
                bar := tqdm(made, total=len(waiting), unit="clip", desc=f"prepare {config.rank}")
            ):
                if work.problem is not None:
                    append_lines(out / REPORT, [_report_line(work.entry, work.problem)])
                else:
                    writer.add(work.sample())
                    num_kept += 1
                bar.set_postfix(kept=num_kept, refresh=False)
                if stopper is not None and stopper.requested:
                    log.info("stopped; the same command goes on from here.")
                    break
    return _summary(entries, out)


def by_identity(entries: Sequence[Entry]) -> dict[str, list[Entry]]:
    """The entries of each person that has a name, in the dataset's order."""
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        if entry.identity is not None:
            groups.setdefault(entry.identity, []).append(entry)
    return groups


def _report_line(entry: Entry, error: SetAsideError) -> dict[str, str]:
    """The line of report.jsonl for an entry that was set aside."""
    video = str(entry.video)
    return {"id": entry.id, "video": video, "reason": str(error.reason), "detail": str(error)}


def _reported(out: Path) -> dict[str, Reason]:
    """The reason for each entry that was set aside, by id; of several the last counts."""
    return {line["id"]: Reason(line["reason"]) for line in read_lines(out / REPORT)}


def _summary(entries: Sequence[Entry], out: Path) -> Summary:
    """Counts and logs what is in the folder; ValueError where no entry could be used."""
    kept, reported = read_samples(out), _reported(out)
    set_aside = Counter(reason for key, reason in reported.items() if key not in kept)
    reasons = ", ".join(f"{reason}: {count}" for reason, count in set_aside.most_common())
    # Only the last rank to finish can tell that there is none: others may still find one.
    if not kept and all(entry.id in reported for entry in entries):
        raise ValueError(
            f"none of the {len(entries)} clips was usable ({reasons}); needs at least one clip "
            f"with a face and a reference: see {out / REPORT}."
        )
    log.info("%s: %d samples; set aside: %s.", out, len(kept), reasons or "none")
    return Summary(num_samples=len(kept), set_aside=dict(set_aside))
