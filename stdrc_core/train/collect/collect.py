"""`python -m stdrc_core.train collect`: the stages from raw footage to a data set, in their order.

Scan (shots and faces of each video), plan (persons, windows and references, over all videos), cut
(clips and references on disk), caption, and finish (manifest, report and page). What is done lies
in the data set's folder, so that the same command goes on where it was stopped. Of several
processes each takes its share of the videos and clips; the first one finishes.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ...faces.finder import FaceFinder
from ...files import failures_told, write_json
from ...folders import listed
from ...text_files import read_json
from ..stopping import Stopper
from .by_hand import read_decisions
from .captioners import Captioner
from .captioning import Captions
from .clips import ClipMaker
from .finish import Summary, finish, note_of
from .footage import Footage, find_footage
from .left_out import LeftOut, Reason
from .options import CollectConfig
from .persons import PersonIds
from .photos import read_photos
from .plan import Plan, PlannedClip, make_plan
from .record_store import RecordStore
from .scan_store import ScanStore
from .scanning import scan_videos
from .side_by_side import side_by_side

log = logging.getLogger(__name__)

WORK, SETTINGS = "work", "settings.json"
_POLL_S, _TELL_S = 0.5, 60.0


@dataclass(kw_only=True)
class Collection:
    """One run of `collect`."""

    footage: Path
    out: Path
    config: CollectConfig
    finder: FaceFinder
    captioner: Captioner | None = None
    beside_videos: bool = False
    """Whether texts beside the videos are captions."""
    retry: bool = False
    """Whether what failed before is tried again."""
    stopper: Stopper = field(default_factory=Stopper)
    _unwritten: dict[str, str] = field(default_factory=dict, init=False)
    """The key of each clip that could not be written -> why."""

    def run(self) -> Summary | None:
        """Makes the data set; None where it was stopped, or where another process finishes it.

        Raises ValueError for input that cannot be used and where nothing could be, and OSError
        where files cannot be written.
        """
        with failures_told(f"data set {self.out}", "make room and give the same command again"):
            return self._run()

    def _run(self) -> Summary | None:
        self._settle()
        videos, photos, unusable = find_footage(self.footage, self.out)
        decisions = read_decisions(self.out)
        scans = ScanStore(self.out / WORK / "scans", self._scan_settings())
        self._scan(videos, scans)
        if not self._all(videos, lambda each: scans.is_done(each.key), "videos"):
            return None
        bar = tqdm(total=len(photos), unit="photo", desc="photos", disable=not photos)
        with bar:
            own_photos = read_photos(photos, self.finder, bar.update)
        ids = PersonIds(self.out / WORK)
        plan = make_plan(videos, scans, own_photos, ids, decisions, self.config)
        if self._is_first:
            ids.save()
        log.info(
            "%d clips of %d persons to cut; two faces are one person from cosine %.2f on.",
            len(plan.clips),
            len({person for clip in plan.clips for person in clip.persons}),
            plan.same_person,
        )
        maker, captions = self._makers(videos, plan)
        self._each_clip(plan, maker, "cut", lambda clip: maker.made(clip) is not None, maker.make)
        self._each_clip(plan, maker, "caption", captions.is_done, captions.make)
        if not self._is_first and not self.stopper.requested:
            log.info("this process has done its share; the first one finishes.")
            return None

        def is_done(clip: PlannedClip) -> bool:
            if clip.window.key in self._unwritten:
                return True
            return maker.made(clip) is not None and captions.is_done(clip)

        if not self._all(plan.clips, is_done, "clips"):
            return None
        names = {each.key: each.name for each in videos}
        left_out = [*unusable, *plan.left_out, *self._left_unwritten(plan, names)]
        summary = finish(self.out, plan, maker, captions, names, left_out, self.config)
        if self._unwritten:
            # The data set is whole but for these, which the same command makes.
            raise OSError(
                f"{len(self._unwritten)} of {len(plan.clips)} clips, which the report names"
            )
        return summary

    def _left_unwritten(self, plan: Plan, names: Mapping[str, str]) -> list[LeftOut]:
        return [
            note_of(clip, names, Reason.NOT_WRITTEN, self._unwritten[clip.window.key])
            for clip in plan.clips
            if clip.window.key in self._unwritten
        ]

    @property
    def _is_first(self) -> bool:
        return self.config.rank == 0

    def _settle(self) -> None:
        """Makes the folder; raises ValueError where it is in other use."""
        if not self._is_first:
            return
        path = self.out / SETTINGS
        # What is there is overwritten and tidied, so it has to be our own.
        others = [each.name for each in listed(self.out) if each.name != WORK]
        if others and "face_pack" not in _kept_settings(path):
            raise ValueError(
                f"out {self.out} holds {others[0]} and is no data set of collect; needs a new or "
                "empty folder: take another --out."
            )
        write_json(path, self.config.resolved() | {"face_pack": self.finder.name})

    def _scan_settings(self) -> dict[str, object]:
        return self.config.scan_settings | {"face_pack": self.finder.name}

    def _share(self, items: Sequence) -> Sequence:
        return items[self.config.rank :: self.config.world_size]

    def _scan(self, videos: Sequence[Footage], scans: ScanStore) -> None:
        share = self._share(videos)
        if self.retry:
            for each in share:
                scans.forget_problem(each.key)
        waiting = [each for each in share if not scans.is_done(each.key)]
        log.info(
            "%s: %d videos for this process, %d of them still to scan.",
            self.footage,
            len(share),
            len(waiting),
        )
        scan_videos(waiting, scans, self.finder, self.config, self.stopper)

    def _makers(self, videos: Sequence[Footage], plan: Plan) -> tuple[ClipMaker, Captions]:
        paths = {each.key: each.path for each in videos}
        maker = ClipMaker(
            out=self.out,
            records=RecordStore(self.out / WORK / "clips"),
            videos=paths,
            scans=plan.facts,
            finder=self.finder,
        )
        captions = Captions(
            out=self.out,
            records=RecordStore(self.out / WORK / "captions"),
            videos=paths,
            captioner=self.captioner,
            beside_videos=self.beside_videos,
        )
        if self.retry:
            for clip in self._share(plan.clips):
                for records in (maker.records, captions.records):
                    if "problem" in (records.read_any(clip.window.key) or {}):
                        records.forget(clip.window.key)
        return maker, captions

    def _each_clip(
        self,
        plan: Plan,
        maker: ClipMaker,
        name: str,
        is_done: Callable[[PlannedClip], bool],
        make: Callable[[PlannedClip], None],
    ) -> None:
        """Makes what is not done of this process's share of the clips."""

        def tried(clip: PlannedClip) -> None:
            try:
                make(clip)
            except OSError as error:
                if self.config.world_size > 1:
                    # The process that finishes would wait for the clip.
                    raise
                self._unwritten[clip.window.key] = error.strerror or str(error)

        waiting = [
            clip
            for clip in self._share(plan.clips)
            if clip.window.key not in self._unwritten and not is_done(clip)
        ]
        done = side_by_side(tried, waiting, self.config.jobs, self.stopper)
        bar = f"{name} {self.config.rank}"
        for _ in tqdm(done, total=len(waiting), unit="clip", desc=bar, disable=not waiting):
            pass

    def _all(self, items: Iterable, is_done: Callable, what: str) -> bool:
        """Waits until all processes have done their share; False where it was stopped."""
        told_at = time.monotonic()
        waiting = list(items)
        while not self.stopper.requested:
            waiting = [item for item in waiting if not is_done(item)]
            if not waiting:
                return True
            if self.config.world_size == 1:
                # Nobody else will do them.
                raise AssertionError(f"{len(waiting)} {what} were not done")
            if time.monotonic() - told_at > _TELL_S:
                told_at = time.monotonic()
                log.info("waiting for other processes: %d %s.", len(waiting), what)
            time.sleep(_POLL_S)
        log.info("stopped; the same command goes on from here.")
        return False


def _kept_settings(path: Path) -> Mapping[str, Any]:
    """What a settings file holds; nothing where it is none."""
    try:
        kept = read_json(path)
    except (OSError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}
