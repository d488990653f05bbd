"""Measures motion smoothness of folders of frames with VBench.

`vbench_worker.py WEIGHTS DEVICE` is run by the Python of the environment that VBench is installed
in, and imports nothing of this project. Each line on stdin is the path of a folder; each line on
stdout is the answer to it, JSON with `value` or `error`. The first answer comes before any folder
and says that the model is loaded.
"""

import json
import sys
from pathlib import Path


def main() -> None:
    answers = sys.stdout
    # VBench prints too, but stdout is for answers alone.
    sys.stdout = sys.stderr
    weights, device = sys.argv[1:]
    # OpenCV comes before VBench, which loads decord: after decord, OpenCV 5 reads no PNG files.
    import cv2
    from vbench import motion_smoothness

    config = Path(motion_smoothness.__file__).parent / "third_party" / "amt" / "cfgs" / "AMT-S.yaml"
    motion = motion_smoothness.MotionSmoothness(str(config), weights, device)
    _answer(answers, {"value": None})
    for line in sys.stdin:
        try:
            _answer(answers, {"value": float(motion.motion_score(line.rstrip("\n")))})
        except (AssertionError, RuntimeError, ValueError, cv2.error) as error:
            _answer(answers, {"error": str(error)})


def _answer(answers, answer) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


if __name__ == "__main__":
    main()
