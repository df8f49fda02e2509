"""Start of a process with a virtual card, and its results."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from typing import Any

from training.client.paths import PACK_ROOT


def run_trials(trials: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Run trials in a process of their own, because ComfyUI looks for a card once, when it is imported.

    Args:
        trials: fields of :class:`dev.virtual_gpu.trial.Trial`.

    Returns:
        What :func:`dev.virtual_gpu.trial.measured` returns for each.

    Raises:
        RuntimeError: the process failed; its error output is in the message.
    """
    given = "".join(json.dumps(trial) + "\n" for trial in trials)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "dev.virtual_gpu"]
    done = subprocess.run(command, cwd=PACK_ROOT, input=given, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise RuntimeError(f"the process with the virtual card failed:\n{done.stderr[-3000:]}")
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
