"""Command ``python -m training record``: many runs of a workflow on a ComfyUI that is running."""

import argparse
import json
import time
import urllib.error
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..dataset.folder import FOLDER, RUNS
from ..dataset.writing import DISK_FULL
from .jobs import Job, PromptLine, Template, read_prompts
from .server import ComfyClient, PromptError
from .workflow import load_prompt

SERVER = "http://127.0.0.1:8188"
"""Address of a ComfyUI that was started without one."""

FIRST_RUNS = 2
"""Number of runs after which time and disk space are estimated, by the last one; the first also loads the models."""

FAILURES_IN_A_ROW = 3
"""Number of failed runs after which a recording stops, if none between them was recorded."""

SILENCE = 3600
"""Seconds without an event after which a server counts as hung: one step of a large model, or prompts that were queued
before, may take long."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command ``record``."""
    parser.add_argument("workflow", type=Path, help="a saved workflow (UI or API format) with one Record Probe Data")
    parser.add_argument(
        "--prompts", type=Path, required=True, help="file of prompts: one a line, or JSON Lines with prompt and seeds"
    )
    parser.add_argument(
        "--seeds", type=int, default=8, help="number of seeds of each prompt that has none in the file (default: 8)"
    )
    parser.add_argument(
        "--first-seed",
        type=int,
        default=0,
        help="number that is added to the seeds of each prompt; after 8 seeds, 8 gives 8 others (default: 0)",
    )
    parser.add_argument("--dataset", default="", help="name of the dataset (default: the one in the workflow)")
    parser.add_argument(
        "--server",
        action="append",
        metavar="URL",
        help=f"where ComfyUI runs (default: {SERVER}); several times with --out: all of them record",
    )
    parser.add_argument("--yes", action="store_true", help="go on after the estimate of time and disk space, unasked")
    parser.set_defaults(run=record)


def record(options: argparse.Namespace) -> None:
    """Record the runs that the dataset doesn't have yet.

    Raises:
        SystemExit: with a message, whenever not everything was recorded.
    """
    url = options.server[-1] if options.server else SERVER
    with as_messages(url):
        lines = prompt_lines(options)
        with ComfyClient(url, timeout=SILENCE) as client:
            template = Template(read_workflow(client, options.workflow), options.dataset)
            recording = Recording(client, template)
            jobs = recording.missing(list(template.jobs(lines, options.seeds, options.first_seed)))
            recording.run(jobs, ask=not options.yes)


def prompt_lines(options: argparse.Namespace) -> list[PromptLine]:
    """Return the prompts that a command line names.

    Raises:
        ValueError: no prompt, or no seed for each.
        OSError: the file of prompts can't be read.
    """
    if options.seeds < 1:
        raise ValueError(f"--seeds {options.seeds}: at least one seed per prompt")
    return read_prompts(options.prompts)


@dataclass
class Recording:
    """Recording of a template's runs on a server.

    Attributes:
        failed: the runs that failed, each with its error.
    """

    client: ComfyClient
    template: Template

    def __post_init__(self) -> None:
        self.failed: list[tuple[Job, str]] = []

    def missing(self, jobs: Sequence[Job]) -> list[Job]:
        """Return the runs that the dataset doesn't have."""
        folder = f"{FOLDER}/{self.template.dataset}/{RUNS}"
        looking = tqdm(jobs, desc="looking what is there", unit="run", leave=False)
        missing = [job for job in looking if not self.client.has_output(f"{job.key}.safetensors", folder)]
        print(f"{len(jobs)} runs, {len(jobs) - len(missing)} of them recorded already in {self.template.dataset}.")
        return missing

    def run(self, jobs: Sequence[Job], ask: bool) -> None:
        """Record runs one after another.

        Raises:
            SystemExit: stopped at the estimate, or something failed; the message says what and how to go on.
        """
        last: dict[str, Any] = {}
        recorded = in_a_row = 0
        seconds = 0.0
        with tqdm(total=len(jobs), desc=self.template.dataset, unit="run") as bar:
            for number, job in enumerate(jobs):
                started = time.monotonic()
                try:
                    last = self._run(job)
                    recorded, in_a_row, seconds = recorded + 1, 0, time.monotonic() - started
                except PromptError as error:
                    in_a_row += 1
                    self.failed.append((job, str(error)))
                    bar.write(f'"{job.prompt}", seeds {", ".join(map(str, job.seeds))}: {error}')
                    if (
                        not last
                        or in_a_row == FAILURES_IN_A_ROW
                        or error.interrupted
                        or DISK_FULL in str(error).lower()
                    ):
                        break
                bar.update()
                to_go = len(jobs) - number - 1
                if number + 1 == FIRST_RUNS and to_go and last:
                    bar.write(estimate(to_go, seconds, last))
                    if ask and not agreed():
                        raise SystemExit("Stopped. Run the same command again to go on, with --yes without a question.")
        if self.failed:
            raise SystemExit(
                f"{recorded} of {len(jobs)} runs were recorded; {len(self.failed)} failed, the last with: "
                f"{self.failed[-1][1]}\nRun the same command again: it goes on with those that are missing."
            )
        if jobs:
            print(f"{self.template.dataset}: {last['runs']} runs, {last['bytes'] / 1e6:.0f} MB.")

    def _run(self, job: Job) -> dict[str, Any]:
        """Record one run, and return the report of Record Probe Data."""
        prompt_id = self.client.queue(self.template.fill(job.prompt, job.seeds))
        try:
            for _ in self.client.events(prompt_id):
                pass
        except KeyboardInterrupt:
            self.client.interrupt(prompt_id)
            raise
        shown = self.client.outputs(prompt_id).get(self.template.record)
        if shown is None:
            raise PromptError("ComfyUI doesn't say how the run ended: its history was cleared meanwhile.")
        report = shown["diffusion_probe"][0]
        if report["key"] != job.key:
            raise PromptError(
                "the run was recorded under another key than expected, so it would be recorded again next time. Update "
                "the pack on the server and here to one version."
            )
        return report


def estimate(runs: int, seconds: float, report: dict[str, Any]) -> str:
    """Estimate time and disk space of more runs.

    Args:
        runs: how many.
        seconds: that the last run took.
        report: of Record Probe Data on the last run.
    """
    need, free = runs * report["run_bytes"], report["free_bytes"]
    text = (
        f"{runs} runs to go: about {duration(runs * seconds)} at {seconds:.1f} s a run, and {need / 1e9:.2f} GB at "
        f"{report['run_bytes'] / 1e6:.2f} MB a run; {free / 1e9:.1f} GB are free."
    )
    return text if need < free else f"{text} That is not enough: make room, or record fewer prompts or moments."


def duration(seconds: float) -> str:
    """Return a duration in words: hours and minutes."""
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{max(1, minutes)} min"


def agreed() -> bool:
    """Ask whether to go on, and return the answer; none counts as no."""
    try:
        return input("Go on? [Y/n] ").strip().lower() in ("", "y", "yes")
    except EOFError:
        return False


def read_workflow(client: Any, path: Path) -> dict[str, dict[str, Any]]:
    """Read a workflow file as a prompt in API format; a ValueError says that it is none."""
    try:
        saved = load_prompt(path, client.object_info())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no workflow ({error}). Save it in ComfyUI, as it is or in API format.") from error
    if not isinstance(saved, dict) or not all(isinstance(node, dict) for node in saved.values()):
        raise ValueError(f"{path} is no workflow. Save it in ComfyUI, as it is or in API format.")
    return saved


@contextmanager
def as_messages(server: str) -> Iterator[None]:
    """Turn all errors into an end of the program with one message."""
    again = "What was recorded is kept: run the same command again, and it goes on."
    try:
        yield
    except PromptError as error:
        raise SystemExit(str(error)) from None
    except TimeoutError as error:
        raise SystemExit(f"{error} It hangs, or is busy with other prompts. {again}") from None
    except (ConnectionError, urllib.error.URLError) as error:
        raise SystemExit(f"{error} Start ComfyUI, or name it with --server (now {server}). {again}") from None
    except KeyboardInterrupt:
        raise SystemExit(f"Interrupted. {again}") from None
    except (ValueError, OSError) as error:
        raise SystemExit(f"{str(error)[:1].upper()}{str(error)[1:]}") from None
