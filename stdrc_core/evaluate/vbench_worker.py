"""Motion smoothness of folders of frames, by VBench, in the environment that it is installed in.

Run by that environment's Python, which has nothing of this project: `vbench_worker.py WEIGHTS
DEVICE`. Each line on stdin is a folder's path; each line on stdout is its answer, JSON of `value`
or `error`. The first answer, before any folder, says that the model is loaded.
"""

import json
import sys
from pathlib import Path


def main() -> None:
    answers = sys.stdout
    # VBench prints; stdout is for answers alone.
    sys.stdout = sys.stderr
    weights, device = sys.argv[1:]
    # Before VBench, which loads decord: after decord, OpenCV 5 reads no PNG files.
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
