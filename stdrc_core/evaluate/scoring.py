"""Scores a few clips: frames are read once, one at a time, and every metric that wants a frame sees
it. What goes wrong with a clip is told in that clip's result."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..faces.gallery import GalleryRule
from ..video import count_frames, probe, stream_frames
from .metric import Clip, Metric, Watch
from .pairs import Pair
from .results import Result, Store, asked
from .strip import Strip

log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class _Watched:
    """A clip that has gone by; its `watches` are still to be asked for their scores."""

    pair: Pair
    known: Result
    clip: Clip | None = None
    watches: dict[str, Watch] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    strip: Strip | None = None


def missing(
    store: Store, videos: Path, pair: Pair, metrics: Sequence[str], rule: GalleryRule
) -> list[str]:
    """The metrics that a clip still lacks, where several photos count by this rule."""
    known = _known(store, videos, pair, rule)
    return [name for name in metrics if name not in known.scores]


def score_clips(
    pairs: Sequence[Pair],
    videos: Path,
    metrics: Mapping[str, Metric],
    store: Store,
    rule: GalleryRule,
) -> None:
    """Scores the clips and writes their results; frames of several clips may share a batch."""
    watched = [_watch(pair, videos, metrics, _known(store, videos, pair, rule)) for pair in pairs]
    for metric in metrics.values():
        metric.flush()
    for each in watched:
        store.write(_result(each, store))


def _watch(pair: Pair, videos: Path, metrics: Mapping[str, Metric], known: Result) -> _Watched:
    watched = _Watched(pair=pair, known=known)
    wanted = {name: metrics[name] for name in metrics if name not in known.scores}
    path = videos / pair.video
    try:
        num_frames, info = count_frames(path), probe(path)
        while True:
            clip = Clip(
                name=pair.video,
                path=path,
                prompt=pair.prompt,
                references=pair.references,
                num_frames=num_frames,
                fps=info.fps,
                height=info.height,
                width=info.width,
            )
            watched.clip, watched.strip = clip, Strip(num_frames)
            watched.watches, watched.problems = {}, {}
            num_seen = _show(clip, wanted, watched)
            if num_seen == num_frames:
                return watched
            # The file's index told another number of frames; those that were seen count.
            log.info("%s holds %d frames, not %d", pair.video, num_seen, num_frames)
            num_frames = num_seen
    except ValueError as error:
        watched.watches, watched.strip = {}, None
        watched.problems = dict.fromkeys(wanted, str(error))
    return watched


def _show(clip: Clip, metrics: Mapping[str, Metric], watched: _Watched) -> int:
    """Shows each frame to the metrics that want it; returns how many frames there were."""
    for name, metric in metrics.items():
        try:
            watched.watches[name] = metric.watch(clip)
        except ValueError as error:
            watched.problems[name] = str(error)
    wanted = set(watched.strip.wanted).union(*(each.wanted for each in watched.watches.values()))
    count = 0
    for index, frame in enumerate(stream_frames(clip.path, wanted)):
        count += 1
        if frame is None:
            continue
        if frame.shape[:2] != (clip.height, clip.width):
            raise ValueError(
                f"clip {clip.path} changes from {clip.height} x {clip.width} to {frame.shape[0]} x "
                f"{frame.shape[1]} pixels at frame {index}; needs one size: export it again."
            )
        if index in watched.strip.wanted:
            watched.strip.see(frame)
        for name, watch in list(watched.watches.items()):
            if index not in watch.wanted:
                continue
            try:
                watch.see(index, frame)
            except ValueError as error:
                watched.problems[name] = str(error)
                del watched.watches[name]
    if not count:
        raise ValueError(f"clip {clip.path} has no frames; needs a sound video file.")
    return count


def _result(watched: _Watched, store: Store) -> Result:
    scores, problems = dict(watched.known.scores), dict(watched.problems)
    for name, watch in watched.watches.items():
        try:
            scores[name] = watch.score()
        except ValueError as error:
            problems[name] = str(error)
            continue
        faces = watch.embeddings()
        if faces is not None:
            store.write_faces(watched.pair.video, *faces)
    if watched.strip is not None:
        store.write_strip(watched.pair.video, watched.strip.picture(watched.pair.references))
    for name, problem in problems.items():
        log.warning("%s: %s: %s", watched.pair.video, name, problem)
    facts = {}
    if watched.clip is not None:
        names = ("num_frames", "fps", "height", "width")
        facts = {name: getattr(watched.clip, name) for name in names}
    return watched.known.model_copy(update={"scores": scores, "problems": problems, **facts})


def _known(store: Store, videos: Path, pair: Pair, rule: GalleryRule) -> Result:
    """The clip's result so far: empty where it was made from another video, photo or prompt, or
    several photos counted by another rule."""
    now = asked(videos, pair, rule)
    result = store.read(pair.video)
    if result is not None and result.asked == now:
        return result.model_copy(update={"problems": {}, "person": pair.person})
    return Result(video=pair.video, asked=now, person=pair.person)
