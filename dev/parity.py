"""Compare the reward models with the original packages: ``python -m dev.parity [arguments]``, or ``make parity``.

Sets up what is missing. Without arguments it checks the tensors of all published files, then the scores of all reward
models; with arguments it hands them to ``benchmarks.parity``. The original packages are installed once, into
``.cache/parity``, and this environment stays as it is.
"""

import subprocess
import sys

from training.client.paths import PACK_ROOT

from .setup import ensure_or_exit, hand_over

CLIP_REWARDS = ("PickScore", "CLIPScore", "LAION aesthetic", "HPSv2.1")
COMMANDS = (
    ("benchmarks.reward_layouts",),
    ("benchmarks.parity",),
    ("benchmarks.parity", "--rewards", *CLIP_REWARDS, "--out", "benchmarks/results/parity_clip.json"),
    ("benchmarks.parity", "--rewards", "SPM (SDXL)", "--out", "benchmarks/results/parity_spm.json"),
)


def main() -> None:
    python = ensure_or_exit()
    if sys.argv[1:]:
        hand_over(python, "-m", "benchmarks.parity", *sys.argv[1:])
    codes = [subprocess.run([str(python), "-m", *command], cwd=PACK_ROOT).returncode for command in COMMANDS]
    raise SystemExit(max(codes))


if __name__ == "__main__":
    main()
