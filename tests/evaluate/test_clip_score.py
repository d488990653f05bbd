"""CLIP-Score and AQ against transformers' and torchvision's own."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers.clips import decode
from helpers.drawn_persons import DrawnPersons, Evaluate
from PIL import Image
from transformers import CLIPImageProcessorPil, CLIPModel, CLIPTokenizer

from stdrc_core.evaluate.aesthetic_quality import prepared
from stdrc_core.evaluate.metric_registry import AESTHETIC, CLIP_B32, CLIP_L14
from stdrc_core.video import write_clip


@torch.no_grad()
def test_clip_score_is_transformers_own(world: DrawnPersons, weights: Path, evaluate: Evaluate):
    long = "a person " + "and another person " * 10
    pairs = [world.pairs[0], {**world.pairs[1], "prompt": long}]
    report = evaluate(pairs, metrics=["clip"], weights=weights, faces=None)
    folder = weights / CLIP_B32.name
    model = CLIPModel.from_pretrained(folder)
    processor, tokenizer = (
        kind.from_pretrained(folder) for kind in (CLIPImageProcessorPil, CLIPTokenizer)
    )
    for pair, result in zip(pairs, report["results"], strict=True):
        frames = decode(world.folder / pair["video"])
        # ConsisID's: int(i n / 16) of n = 17 frames.
        images = [Image.fromarray(frames[int(i * 17 / 16)]) for i in range(16)]
        tokens = tokenizer(pair["prompt"], truncation=True, max_length=77, return_tensors="pt")
        output = model(**tokens, **processor(images, return_tensors="pt"))
        cosines = output.logits_per_image[:, 0] / model.logit_scale.exp()
        ours = result["scores"]["clip"]
        assert ours["curve"] == pytest.approx((100 * cosines).tolist(), abs=1e-4)
        assert ours["value"] == pytest.approx(100 * float(cosines.mean()), abs=1e-4)
    assert report["results"][0]["scores"] != report["results"][1]["scores"]


@torch.no_grad()
def test_aesthetic_quality_where_nothing_is_resized(
    tmp_path: Path, weights: Path, evaluate: Evaluate
):
    """Frames of CLIP's own size: its pixels, its image features, the head as it is published."""
    noise = torch.randint(0, 256, (5, 64, 64, 3), dtype=torch.uint8)
    write_clip(tmp_path / "noise.mp4", noise, 24)
    report = evaluate(
        [{"video": "noise.mp4"}], videos=tmp_path, metrics=["aq"], weights=weights, faces=None
    )
    model = CLIPModel.from_pretrained(weights / CLIP_L14.name)
    head = torch.load(weights / AESTHETIC.name, weights_only=True)
    frames = decode(tmp_path / "noise.mp4")
    processor = CLIPImageProcessorPil(do_resize=False, do_center_crop=False)
    pixels = processor(list(frames), return_tensors="pt")["pixel_values"]
    features = model(input_ids=torch.tensor([[0, 1]]), pixel_values=pixels).image_embeds
    expected = (features @ head["weight"][0] + head["bias"]).mean() / 10
    (result,) = report["results"]
    assert result["scores"]["aq"]["value"] == pytest.approx(float(expected), abs=1e-6)


@pytest.mark.parametrize("size", [(90, 150), (150, 90), (64, 65), (40, 40)])
def test_aesthetic_pixels_are_vbenchs(size: tuple[int, int]):
    transforms = pytest.importorskip(
        "torchvision.transforms", reason="torchvision is an extra of the evaluation"
    )
    frame = torch.randint(0, 256, (*size, 3), dtype=torch.uint8)
    vbench = transforms.Compose(
        [
            transforms.Resize(64, transforms.InterpolationMode.BICUBIC, antialias=False),
            transforms.CenterCrop(64),
            transforms.Lambda(lambda x: x / 255),
            transforms.Normalize(
                (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
            ),
        ]
    )
    expected = vbench(frame.movedim(-1, 0)[None].float())[0]
    torch.testing.assert_close(prepared(frame, 64), expected, rtol=0, atol=1e-5)
