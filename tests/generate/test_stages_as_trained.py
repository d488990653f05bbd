"""The two stages of a staged clip are what training shows: a single frame, and a clip that begins
with a clean first frame."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from helpers.drawn_persons import read_picture
from torch import Tensor

from stdrc_core.experiments.models import open_pipeline
from stdrc_core.experiments.scores import draw_cases
from stdrc_core.generate.jobs import Job, Staging
from stdrc_core.generate.pipeline import Shot
from stdrc_core.generate.results import make
from stdrc_core.generate.staging import StagePrompts
from stdrc_core.train.loop import GroupedVelocity
from stdrc_core.train.objective_config import ReferenceSection

FRAMES, SIDE = 17, 64


class Recorded:
    """A backbone that notes what it is given and what it answers."""

    def __init__(self, backbone: Any) -> None:
        self.backbone, self.calls = backbone, []

    def __call__(self, video: Tensor, t: Tensor, context: Tensor, **options: Any) -> Tensor:
        velocity = self.backbone(video, t, context, **options)
        self.calls.append((video.clone(), t.clone(), context, options, velocity))
        return velocity


@pytest.mark.parametrize("num_photos", [1, 2])
def test_the_stages_are_what_training_shows(
    mini_checkpoint: Path, tmp_path: Path, num_photos: int
) -> None:
    pipeline = open_pipeline(mini_checkpoint)
    seen = Recorded(pipeline.backbone)
    photos = [case.photo for case in draw_cases(num_photos, seed=5)]
    job = Job(
        name="job",
        reference=Path("0.png"),
        further=tuple(Path(f"{i}.png") for i in range(1, num_photos)),
        prompt="a",
        shot=Shot(num_frames=FRAMES, height=SIDE, width=SIDE, num_steps=2),
        weights="",
        staging=Staging(num_candidates=1, gender=None),
    )
    stages = StagePrompts(spatial="still", temporal="moving", notes=())
    shape = pipeline.empty_context.shape
    contexts = {"still": torch.randn(shape), "moving": torch.randn(shape)}
    make(tmp_path, job, replace(pipeline, backbone=seen), None, photos, contexts, stages)

    first, clip = (
        [call for call in seen.calls if call[0].shape[2] == frames]
        for frames in (1, 1 + FRAMES // 8)
    )
    assert len(first) == len(clip) == len(seen.calls) / 2 >= 3
    for calls in (first, clip):
        references = {
            None if c[3]["reference"] is None else c[3]["reference"].shape[2] for c in calls
        }
        assert references == {None, num_photos}
    # A single frame, all of it noise at first; then a clip whose first frame stays clean.
    assert {call[3]["num_clean_frames"] for call in first} == {0}
    assert {call[3]["num_clean_frames"] for call in clip} == {1}
    kept = torch.from_numpy(read_picture(tmp_path / "job.first.png").copy())[None] / 255
    clean = pipeline.vae.encode_photos([kept], SIDE, SIDE, pipeline.device)
    for video, *_ in clip:
        assert torch.equal(video[:, :, :1], clip[0][0][:, :, :1])
        # The file has the frame in 8 bits.
        assert (video[:, :, :1] - clean).norm() / clean.norm() < 0.05
    # Training asks the model for the same, as a group of samples with this many clean frames.
    trained = GroupedVelocity(
        pipeline.backbone, SimpleNamespace(reference=ReferenceSection()), frame_rate=job.shot.fps
    )
    for video, t, context, options, velocity in seen.calls:
        group = (video, t, context, options["reference"], options["num_clean_frames"])
        with torch.no_grad():
            assert torch.equal(trained([group])[0], velocity)
