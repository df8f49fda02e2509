"""Runs to be recorded, given out to the workers of several servers and given out again when one is lost or slow."""

import threading
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any

from ..client.jobs import Job
from .claims import LOOKS, Claim, Claims
from .collection import Collection

FIRST = "first"
"""Key of the claim on the first run of a dataset, whose projection all others are recorded with."""

SLOW = 3
"""A run counts as slow when it takes so many times what the idle worker takes for one."""

LEAST_SLOW = 10.0
"""Seconds that no run counts as slow in."""

SERVERS_FAILED = 2
"""Number of servers on which a run has failed when it counts as failed."""


@dataclass(frozen=True)
class Work:
    """A run that a worker has claimed; ``first`` is its claim on the first run of the dataset, if this is it."""

    job: Job
    claim: Claim
    first: Claim | None = None


@dataclass(frozen=True)
class Worker:
    """Whoever records runs on a server.

    Attributes:
        id: that its claims bear.
        server: its name for people, an address.
    """

    id: str
    server: str


class Pool:
    """Runs of one recording, safe to be used by several threads.

    Args:
        collection: the dataset that they go into.
        jobs: all runs, those that are there already too.
        lease: seconds without a heartbeat after which a claim has ended.
        clock: seconds of this process, of which only differences are used.

    Attributes:
        present: number of the runs that were there at first.
        recorded: number of runs that came since.
        failed: runs that failed for good, each with its error.
        seconds: duration of the last run on each server.
        reports: last report of each server.
    """

    def __init__(
        self, collection: Collection, jobs: Sequence[Job], lease: float, clock: Callable[[], float] = monotonic
    ):
        there = collection.keys()
        self.collection, self.lease, self.clock = collection, lease, clock
        self.claims = Claims(collection.folder)
        self.changed = threading.Condition()
        self.missing = deque(job for job in jobs if job.key not in there)
        self.total, self.present = len(jobs), len(jobs) - len(self.missing)
        self.recorded = 0
        self.failed: list[tuple[Job, str]] = []
        self.seconds: dict[str, float] = {}
        self.reports: dict[str, dict[str, Any]] = {}
        self.live: set[str] = set()
        self.paused = self.stopped = False
        self._claimed: dict[str, Job] = {}
        self._at_work: set[Work] = set()
        self._failed_on: defaultdict[str, set[str]] = defaultdict(set)
        self._looked: dict[Claim, float] = {}
        self._held: dict[Claim, float] = {}

    @property
    def between_looks(self) -> float:
        """Seconds between two looks at a heartbeat, and at most half of those between two heartbeats."""
        return self.lease / LOOKS

    @property
    def to_go(self) -> int:
        """Number of runs that are neither recorded nor failed."""
        return self.total - self.present - self.recorded - len(self.failed)

    def stop(self) -> None:
        """Give out nothing any more."""
        with self.changed:
            self.stopped = True
            self.changed.notify_all()

    def pause(self, paused: bool) -> None:
        """Give out nothing until it is called with False."""
        with self.changed:
            self.paused = paused
            self.changed.notify_all()

    def set_live(self, server: str, live: bool) -> None:
        """Note that a server answers, or that it doesn't any more."""
        with self.changed:
            (self.live.add if live else self.live.discard)(server)
            self.changed.notify_all()

    def next(self, worker: Worker) -> Work | None:
        """Return the next run, claimed for a worker, and wait for one if need be; None: none will come any more."""
        with self.changed:
            while not self.stopped:
                if not self.paused:
                    work = self._choose(worker)
                    if work is not None:
                        return self._open(work)
                    self._give_up()
                    if not self.to_go:
                        self.changed.notify_all()
                        return None
                self.changed.wait(min(1.0, self.between_looks))
        return None

    def done(self, work: Work, worker: Worker, seconds: float, report: dict[str, Any]) -> None:
        """Note that a worker's run is in the dataset, after some seconds and with a report of Record Probe Data."""
        with self.changed:
            self._close(work)
            self.seconds[worker.server], self.reports[worker.server] = seconds, report
            if self._claimed.pop(work.job.key, None):
                self.recorded += 1
            self.changed.notify_all()

    def give_back(self, work: Work) -> None:
        """Give out a run again, whose worker can't record it; nothing if its end was noted before."""
        with self.changed:
            if self._close(work) and self._claimed.pop(work.job.key, None):
                self.missing.append(work.job)
            self.changed.notify_all()

    def fail(self, work: Work, worker: Worker, error: str) -> bool:
        """Note that a run failed on a server, and return whether it failed for good; else another one tries it."""
        with self.changed:
            self._close(work)
            servers = self._failed_on[work.job.key]
            servers.add(worker.server)
            for_good = len(servers) >= SERVERS_FAILED or self.live <= servers
            if self._claimed.pop(work.job.key, None):
                if for_good:
                    self.failed.append((work.job, error))
                else:
                    self.missing.append(work.job)
            self.changed.notify_all()
            return for_good

    def _open(self, work: Work) -> Work:
        self._at_work.add(work)
        return work

    def _close(self, work: Work) -> bool:
        """Release the claims of a run, and return whether that wasn't done before."""
        if work not in self._at_work:
            return False
        self._at_work.remove(work)
        self.claims.release(work.claim)
        if work.first is not None:
            self.claims.release(work.first)
        return True

    def _choose(self, worker: Worker) -> Work | None:
        if self.collection.begun:
            return self._choose_run(worker)
        first = self._take(FIRST, worker, self.claims.current(FIRST))
        work = self._choose_run(worker) if first is not None else None
        if first is not None and work is None:
            self.claims.release(first)
        return None if work is None else Work(work.job, work.claim, first)

    def _choose_run(self, worker: Worker) -> Work | None:
        for _ in range(len(self.missing)):
            job = self.missing.popleft()
            if self._is_recorded(job):
                continue
            if worker.server in self._failed_on.get(job.key, ()):
                self.missing.append(job)
                continue
            claim = self.claims.take(job.key, worker.id)
            self._claimed[job.key] = job
            if claim is not None:
                if not self._is_recorded(job):  # by whoever released it between the look and the claim
                    return Work(job, claim)
                self.claims.release(claim)
        return self._take_over(worker)

    def _is_recorded(self, job: Job) -> bool:
        there = self.collection.has(job.key)
        if there:
            self._claimed.pop(job.key, None)
            self.recorded += 1
        return there

    def _take_over(self, worker: Worker) -> Work | None:
        """Take over a run of a worker that is lost or slow; give out again those whose claims were released."""
        for job in list(self._claimed.values()):
            if self._is_recorded(job):
                continue
            current = self.claims.current(job.key)
            if current is None:
                del self._claimed[job.key]
                self.missing.append(job)
            elif worker.server not in self._failed_on.get(job.key, ()):
                claim = self._take(job.key, worker, current)
                if claim is not None:
                    return Work(job, claim)
        return None

    def _take(self, key: str, worker: Worker, current: Claim | None) -> Claim | None:
        if current is None:
            return self.claims.take(key, worker.id)
        if current.owner == worker.id or self._has_ended(current) or self._is_slow(current, worker):
            return self.claims.take(key, worker.id, current)
        return None

    def _has_ended(self, claim: Claim) -> bool:
        now = self.clock()
        if now - self._looked.get(claim, -self.lease) < self.between_looks:
            return False
        self._looked[claim] = now
        return self.claims.ended(claim)

    def _is_slow(self, claim: Claim, worker: Worker) -> bool:
        held = self._held.setdefault(claim, self.clock())
        usual = self.seconds.get(worker.server)
        return usual is not None and self.clock() - held > max(SLOW * usual, LEAST_SLOW)

    def _give_up(self) -> None:
        """Count runs as failed that failed on every server that is left."""
        if not self.live:
            return
        for job in list(self.missing):
            if self.live <= self._failed_on.get(job.key, set()):
                self.missing.remove(job)
                self.failed.append((job, f"it failed on every server that is left: {', '.join(sorted(self.live))}"))
