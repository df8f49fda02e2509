"""Everything that needs a GPU, one command after another.

``python -m benchmarks.on_a_gpu --out FOLDER [--minutes M] [--list]``

First what the pack promises of a card, as lines with their bars, which takes a large card the default time at most;
with more ``--minutes`` cost and memory at real dimensions, recordings and trained probes of both testbeds, too. What
has ended well is not done again, so the same command goes on after a machine was taken away. A job that fails is named
at the end and keeps only those from running that need what it makes.
"""

import argparse
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

MODULE = "benchmarks.on_a_gpu"
MODELS = ("flux", "sdxl")
REAL_SIZE = ("capture_overhead", "scoring_cost", "step_cache", "seed_search")
LINES = "gpu_lines"
"""Benchmark that measures what the pack promises, in a few minutes for each model."""

SEED = 5
PROMPTS = 3750
"""Prompts of a recording, of eight seeds each: thirty thousand images."""

LABELS = ("--labels", "truth,structure,appearance")
TRAININGS = {
    "joint": ("--steps", "6000"),
    "attention": ("--kind", "attention cnn", "--steps", "6000"),
    "activation": ("--kind", "activation ranker", "--steps", "3000"),
}


@dataclass(frozen=True)
class Job:
    """A command, what it writes, and the job that has to be done before it."""

    command: tuple[str, ...]
    out: Path
    after: "Job | None" = None

    @property
    def text(self) -> str:
        """Command line as one would type it."""
        return shlex.join(["python", *self.command])

    @property
    def done(self) -> Path:
        """File that exists once the command has ended well: the output alone may be of one that was stopped."""
        return self.out.with_name(f".{self.out.name}.done")


def jobs(folder: Path) -> list[Job]:
    """Return all jobs in order; those about dimensions take minutes, recordings and trainings longer."""
    planned = []
    for model in MODELS:
        out = folder / f"{LINES}_{model}.json"
        command = ("-m", f"benchmarks.{LINES}", "--model", model, "--seed", str(SEED), "--out", str(out))
        planned.append(Job(command, out))
    for benchmark in REAL_SIZE:
        for model in MODELS:
            out = folder / f"{benchmark}_{model}_real_size.json"
            flag = () if benchmark == "scoring_cost" else ("--real-size",)
            command = ("-m", f"benchmarks.{benchmark}", "--model", model, "--seed", str(SEED), *flag, "--out", str(out))
            planned.append(Job(command, out))
    for model in MODELS:
        data = folder / "data" / model
        record = ("-m", "training", "record-testbed", "--model", model, "--out", str(data), "--prompts", str(PROMPTS))
        recording = Job(record, data)
        planned.append(recording)
        for name, how in TRAININGS.items():
            out = folder / "probes" / model / f"{name}.safetensors"
            train = ("-m", "training", "train", str(data), "--out", str(out), *how, *LABELS, "--device", "cuda")
            planned.append(Job(train, out, recording))
    return planned


def run(todo: Sequence[Job], seconds: float) -> list[str]:
    """Run what isn't done, as long as there is time; return what failed or was not run, a line each."""
    end, left = time.monotonic() + seconds, []
    for job in todo:
        if job.done.exists():
            print(f"done already: {job.out.name}", flush=True)
            continue
        if job.after and not job.after.done.exists():
            left.append(f"needs what wasn't done: {job.text}")
            continue
        if (remaining := end - time.monotonic()) <= 0:
            left.append(f"no time: {job.text}")
            continue
        print(job.text, flush=True)
        job.out.parent.mkdir(parents=True, exist_ok=True)
        try:
            subprocess.run([sys.executable, *job.command], check=True, timeout=remaining)
        except subprocess.TimeoutExpired:
            left.append(f"stopped when the time was up: {job.text}")
        except subprocess.CalledProcessError as error:
            left.append(f"exit {error.returncode}: {job.text}")
        else:
            job.done.touch()
    return left


def main(arguments: list[str] | None = None) -> int:
    """Run or list the jobs; return the exit status, 1 where one was not done."""
    parser = argparse.ArgumentParser(prog=f"python -m {MODULE}", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--minutes", type=float, default=8, help="then it stops; trainings keep their checkpoints")
    parser.add_argument("--list", action="store_true", help="only print the commands")
    args = parser.parse_args(arguments)
    todo = jobs(args.out)
    if args.list:
        print("\n".join(job.text for job in todo))
        return 0
    left = run(todo, 60 * args.minutes)
    print("\n".join(left) or "All done.")
    return 1 if left else 0


if __name__ == "__main__":
    raise SystemExit(main())
