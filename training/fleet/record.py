"""Command ``python -m training record`` with several servers: runs spread over them, files collected here."""

import argparse
import shlex
import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

from tqdm import tqdm

from ...engine.core.pack_version import pack_version
from ..client import record as client_record
from ..client.jobs import Job, Template
from ..client.record import FIRST_RUNS, SERVER, agreed, as_messages, duration, prompt_lines, read_workflow
from ..client.server import ComfyClient
from .collection import Collection
from .pool import Pool
from .ray_workers import RayConnector, connect_ray
from .server_worker import LOST, ServerWorker, UnfitServerError

Connect = Callable[[float], AbstractContextManager[Any]]
"""Function that connects to a server, with the seconds that it waits for an event."""

LEASE = 60.0
"""Seconds without a heartbeat after which the runs of another process are recorded here."""

AWAY_SECONDS = 600.0
"""Time after which a recording stops if no server has answered."""

AGAIN = "What was recorded is kept: run the same command again, and it goes on."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command ``record``, those of several servers too."""
    client_record.add_arguments(parser)
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        help="folder here that the dataset is collected in, which several servers need; more of these commands, each "
        "with servers of its own, may collect into one folder",
    )
    parser.add_argument(
        "--lease",
        type=float,
        default=LEASE,
        metavar="SECONDS",
        help="time without a sign of life after which another process's runs are done again (default: %(default)g)",
    )
    parser.add_argument(
        "--ray",
        default="",
        metavar="ADDRESS",
        help="address of a Ray cluster, or auto: starts a ComfyUI on each of its GPUs (needs the package ray)",
    )
    parser.add_argument(
        "--workers", type=int, default=0, help="number of ComfyUIs in the Ray cluster (default: one per GPU)"
    )
    parser.add_argument(
        "--comfyui-arguments", default="", metavar="TEXT", help="more arguments for each ComfyUI in the Ray cluster"
    )
    parser.set_defaults(run=record)


def record(options: argparse.Namespace) -> None:
    """Record on the servers of a command line the runs that the dataset doesn't have yet.

    Raises:
        SystemExit: with a message, whenever not everything was recorded.
    """
    named = options.server or ([] if options.ray else [SERVER])
    servers = list(dict.fromkeys(url.rstrip("/") for url in named))
    if options.out is None:
        if options.ray:
            raise SystemExit("--ray: name a folder here that the dataset is collected in, with --out FOLDER.")
        if len(servers) > 1:
            raise SystemExit(
                f"{len(servers)} servers record, each into its own output folder: name a folder here that the dataset "
                "is collected in, with --out FOLDER."
            )
        client_record.record(options)
        return
    with as_messages(", ".join(servers)):
        if not options.lease > 0:
            raise ValueError(f"--lease {options.lease:g}: a number of seconds above 0")
        lines, collection = prompt_lines(options), Collection(options.out)
        connects: dict[str, Connect] = {url: partial(_connect, url) for url in servers}
        connector = None
        if options.ray:
            ray, count = connect_ray(options.ray)
            connector = RayConnector(ray, tuple(shlex.split(options.comfyui_arguments)))
            workers = options.workers or count
            connects |= {f"Ray worker {number + 1}": connector.connect for number in range(workers)}
        template = Template(_read_workflow(servers, connector, options.workflow), options.dataset)
        jobs = list(template.jobs(lines, options.seeds, options.first_seed))
        Fleet(connects, template, collection, jobs, options.lease).run(ask=not options.yes)


def _connect(url: str, poll: float) -> ComfyClient:
    return ComfyClient(url, timeout=poll)


def _read_workflow(servers: Sequence[str], connector: RayConnector | None, path: Path) -> dict[str, dict[str, Any]]:
    """Read the workflow with the node types of the first server that answers."""
    away = []
    for url in servers:
        try:
            with ComfyClient(url) as client:
                return read_workflow(client, path)
        except LOST as error:
            away.append(str(error))
    if connector is not None:
        return read_workflow(connector, path)
    raise ConnectionError(" ".join(away))


class Fleet:
    """Several servers that record one dataset.

    Args:
        connects: what connects to each, by their addresses or other names.
        template: the workflow.
        collection: the dataset here.
        jobs: all runs.
        lease: seconds without a heartbeat after which a claim has ended.
    """

    def __init__(
        self,
        connects: Mapping[str, Connect],
        template: Template,
        collection: Collection,
        jobs: Sequence[Job],
        lease: float,
    ):
        self.template, self.collection = template, collection
        self.pool = Pool(collection, jobs, lease)
        self._lock = threading.Lock()
        self._comfyui: tuple[str, str] | None = None
        self.workers = [
            ServerWorker(name, connect, self.pool, template, self.require_alike, tqdm.write)
            for name, connect in connects.items()
        ]

    def require_alike(self, client: ComfyClient) -> None:
        """Refuse a server with another pack, another ComfyUI or other model files than the others.

        Raises:
            UnfitServerError: something differs; the message says what and how to mend it.
        """
        there = client.installed(_file_names(self.template))
        here = pack_version()
        if any(there.get(name) != here[name] for name in here):
            edited = ", with other files" if there.get("pack") == here["pack"] else ""
            raise UnfitServerError(
                f"it has version {there.get('pack')} of Diffusion Probe{edited}, and here is {here['pack']}. Install "
                "the same one there, and restart it."
            )
        with self._lock:
            first = self._comfyui = self._comfyui or (there["comfyui"], client.url)
        if there["comfyui"] != first[0]:
            raise UnfitServerError(
                f"it runs ComfyUI {there['comfyui']}, and {first[1]} runs {first[0]}. Update one of them."
            )
        other = self.collection.other_models(there["files"])
        if other:
            raise UnfitServerError(
                f"its file {other[0]} is another one than that which this dataset was recorded with (their SHA-256 "
                "differ). Copy the same file there."
            )

    def run(self, ask: bool) -> None:
        """Record, and return when every run is recorded.

        Raises:
            SystemExit: stopped at the estimate, or something failed; the message says what and how to go on.
        """
        pool, name = self.pool, self.collection.folder.name
        print(f"{pool.total} runs, {pool.present} of them recorded already in {self.collection.folder}.")
        if not pool.to_go:
            return
        for worker in self.workers:
            worker.start()
        try:
            with tqdm(total=pool.total, initial=pool.present, desc=name, unit="run") as bar:
                self._watch(bar, ask)
        finally:
            pool.stop()
            for worker in self.workers:
                worker.join(15)
        self._conclude()

    def _watch(self, bar: tqdm, ask: bool) -> None:
        """Show the progress until the recording ends or no server is left."""
        pool, seen, estimated = self.pool, monotonic(), False
        while pool.to_go and not pool.stopped and any(worker.is_alive() for worker in self.workers):
            with pool.changed:
                pool.changed.wait(0.5)
            bar.set_postfix_str(f"{len(pool.live)} of {len(self.workers)} servers", refresh=False)
            bar.update(pool.total - pool.to_go - bar.n)
            seen = monotonic() if pool.live else seen
            patience = AWAY_SECONDS if pool.recorded else 0.0  # none has answered yet: the addresses are wrong
            if not pool.live and all(worker.tried for worker in self.workers) and monotonic() - seen > patience:
                break
            if not estimated and pool.recorded >= FIRST_RUNS and pool.to_go and pool.seconds:
                estimated = True
                self._estimate(bar, ask)
        bar.update(pool.total - pool.to_go - bar.n)

    def _estimate(self, bar: tqdm, ask: bool) -> None:
        bar.write(self.estimate())
        if not ask:
            return
        self.pool.pause(True)
        if not agreed():
            self.pool.stop()
            raise SystemExit("Stopped. Run the same command again to go on, with --yes without a question.")
        self.pool.pause(False)

    def estimate(self) -> str:
        """Estimate time and disk space of the rest, at the speed of all servers that answer."""
        pool = self.pool
        known = dict(pool.seconds)
        usual = sum(known.values()) / len(known)
        speed = sum(1 / known.get(url, usual) for url in pool.live or known)
        size = max(report["run_bytes"] for report in pool.reports.values())
        need, free = pool.to_go * size, shutil.disk_usage(self.collection.folder).free
        text = (
            f"{pool.to_go} runs to go: about {duration(pool.to_go / speed)} on {len(pool.live or known)} servers, and "
            f"{need / 1e9:.2f} GB at {size / 1e6:.2f} MB a run; {free / 1e9:.1f} GB are free here."
        )
        share = need / max(1, len(pool.live))
        small = [url for url, report in pool.reports.items() if report["free_bytes"] < share]
        if need > free:
            text += " That is not enough: make room, or record fewer prompts or moments."
        if small:
            text += f" {', '.join(small)} may not have the room for its share."
        return text

    def _conclude(self) -> None:
        pool = self.pool
        here = next((worker.error for worker in self.workers if worker.error is not None), None)
        if here is not None:
            raise SystemExit(f"{str(here)[:1].upper()}{str(here)[1:]}")
        if not pool.to_go and not pool.failed:
            print(f"{self.collection.folder}: {pool.present + pool.recorded} runs.")
            return
        said = f"{pool.recorded} of {pool.total - pool.present} runs were recorded"
        if pool.failed:
            said += f"; {len(pool.failed)} failed, the last with: {pool.failed[-1][1]}"
        reasons = [f"{worker.url}: {worker.why_ended}" for worker in self.workers if worker.why_ended]
        reasons += [f"{worker.url} does not answer." for worker in self.workers if worker.is_away]
        raise SystemExit("\n".join([f"{said}.", *reasons, AGAIN]))


def _file_names(template: Template) -> list[str]:
    """Return the values of a workflow's inputs that may name model files."""
    values = [value for node in template.nodes.values() for value in node["inputs"].values()]
    return sorted({value for value in values if isinstance(value, str) and "." in value and len(value) < 256})
