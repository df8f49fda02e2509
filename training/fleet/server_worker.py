"""Worker that records runs on one server, until there is none left or the server can't be used."""

import http.client
import threading
import urllib.error
from collections.abc import Callable
from contextlib import AbstractContextManager
from time import monotonic
from typing import Any
from uuid import uuid4

import aiohttp

from ..client.jobs import Job, Template
from ..client.record import FAILURES_IN_A_ROW, SILENCE
from ..client.server import ComfyClient, PromptError
from ..dataset.folder import FOLDER, RUNS
from ..dataset.header import HEADER
from ..dataset.writing import DISK_FULL, PROJECTION
from .collection import Collection, DamagedRunError
from .pool import Pool, Work, Worker

LOST = (ConnectionError, TimeoutError, urllib.error.URLError, http.client.HTTPException, aiohttp.ClientError)
"""Errors of a server that is away, for a while or for good."""

RETRY_SECONDS = 5.0
"""Time after which a server that is away is tried again."""

POLL_SECONDS = 5.0
"""Time without an event after which a server is asked whether it still has the prompt."""


class UnfitServerError(RuntimeError):
    """Error of a server that can't record this dataset; the message says why and what to do."""


class ServerWorker(threading.Thread):
    """Thread that records runs on one server.

    Args:
        url: of the server, or another name for it.
        connect: connects to it, with the seconds that it waits for an event; a context manager.
        pool: of the runs.
        template: the workflow.
        require_alike: checks what is installed on a connected server; raises UnfitServerError or ValueError.
        say: shows a sentence to the user.

    Attributes:
        tried: whether the first attempt to connect has ended.
        is_away: whether the server doesn't answer.
        why_ended: why the worker ended before the recording did; empty otherwise.
    """

    def __init__(
        self,
        url: str,
        connect: Callable[[float], AbstractContextManager[ComfyClient]],
        pool: Pool,
        template: Template,
        require_alike: Callable[[ComfyClient], None],
        say: Callable[[str], None],
    ):
        super().__init__(daemon=True, name=f"recording on {url}")
        self.url, self.connect, self.pool, self.template = url, connect, pool, template
        self.require_alike, self.say = require_alike, say
        self.worker = Worker(uuid4().hex[:12], url)
        self.tried = False
        self.why_ended = ""
        self.error: Exception | None = None
        self._in_a_row = self._count = 0
        self._beaten = -pool.lease
        self.is_away = self._shared = False

    @property
    def collection(self) -> Collection:
        """The dataset here."""
        return self.pool.collection

    def run(self) -> None:
        """Record until nothing is left, and try the server again whenever it is away."""
        try:
            while not self.pool.stopped and self.pool.to_go:
                try:
                    with self.connect(min(POLL_SECONDS, self.pool.between_looks / 2)) as client:
                        self._record_all(client)
                        return
                except LOST as error:
                    self._lost(error)
                with self.pool.changed:
                    self.pool.changed.wait_for(lambda: self.pool.stopped or not self.pool.to_go, RETRY_SECONDS)
        except (UnfitServerError, ValueError) as error:
            self.why_ended = str(error)
            self.say(f"{self.url} is not used: {error}")
        except OSError as error:  # of the dataset here: no server can go on
            self.error = error
            self.pool.stop()
        finally:
            self.tried = True
            self.pool.set_live(self.url, False)
            self.pool.claims.leave(self.worker.id)

    def _lost(self, error: BaseException) -> None:
        self.pool.set_live(self.url, False)
        self._shared = False
        if not self.is_away:
            why = (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
            self.say(f"{self.url} is away ({why}). It is tried again every {RETRY_SECONDS:g} s; others do its run.")
        self.is_away = self.tried = True

    def _record_all(self, client: ComfyClient) -> None:
        self.require_alike(client)
        self._share_projection(client)
        if self.is_away:
            self.say(f"{self.url} is back.")
        self.pool.set_live(self.url, True)
        self.is_away, self.tried = False, True
        self._beat()
        while (work := self.pool.next(self.worker)) is not None:
            try:
                self._record(client, work)
            except BaseException:
                self.pool.give_back(work)  # unless it was noted already
                raise

    def _record(self, client: ComfyClient, work: Work) -> None:
        """Record one run and fetch it; a run that fails is noted in the pool."""
        started = monotonic()
        self._beat()
        self._share_projection(client)
        try:
            report = self._sample(client, work.job)
            if report is None:  # somebody else was faster, or the recording stops
                self.pool.give_back(work)
                return
            self._fetch(client, work)
        except PromptError as error:
            self._failed(work, error)
        except DamagedRunError as error:
            name = f"{FOLDER}/{self.template.dataset}/{RUNS}/{work.job.key}.safetensors"
            self._failed(work, PromptError(f"its file is damaged ({error}). Delete {name} on that server."))
        else:
            self._in_a_row = 0
            self.pool.done(work, self.worker, monotonic() - started, report)

    def _failed(self, work: Work, error: PromptError) -> None:
        text = str(error)
        if error.interrupted:
            raise UnfitServerError("its run was interrupted there. Other servers go on with it.")
        if DISK_FULL in text.lower():
            raise UnfitServerError(f"{text} Other servers go on.")
        self._in_a_row += 1
        for_good = self.pool.fail(work, self.worker, text)
        again = "" if for_good else " Another server tries it."
        self.say(f'{self.url}: "{work.job.prompt}", seeds {", ".join(map(str, work.job.seeds))}: {text}{again}')
        if self._in_a_row == FAILURES_IN_A_ROW or "node_errors" in error.details:
            raise UnfitServerError(f"{self._in_a_row} runs in a row failed on it, the last with: {text}")

    def _sample(self, client: ComfyClient, job: Job) -> dict[str, Any] | None:
        """Queue a run, wait for its end and return the report of Record Probe Data; None: it isn't needed any more."""
        prompt_id = client.queue(self.template.fill(job.prompt, job.seeds))
        heard = looked = monotonic()
        while True:
            try:
                for _ in client.events(prompt_id):
                    heard = monotonic()
                    self._beat()
                    if heard - looked > POLL_SECONDS or self.pool.stopped:
                        looked = heard
                        if self._needless(client, prompt_id, job):
                            return None
                break
            except TimeoutError:
                if self._needless(client, prompt_id, job):
                    return None
                if not client.waits(prompt_id):
                    if client.history(prompt_id):
                        break
                    raise ConnectionError("it has forgotten the prompt") from None
                if monotonic() - heard > SILENCE:
                    raise UnfitServerError(
                        f"it has sent no event for {SILENCE} s: it hangs, or is busy with other prompts."
                    ) from None
                self._beat()
        shown = client.outputs(prompt_id).get(self.template.record)
        if shown is None:
            raise PromptError("ComfyUI doesn't say how the run ended: its history was cleared meanwhile.")
        report = shown["diffusion_probe"][0]
        if report["key"] != job.key:
            raise PromptError("the run was recorded under another key than expected.", {"node_errors": {}})
        return report

    def _needless(self, client: ComfyClient, prompt_id: str, job: Job) -> bool:
        """Take a prompt out of the server's queue if the recording stops or the run was recorded elsewhere."""
        if not self.pool.stopped and not self.collection.has(job.key):
            return False
        client.cancel(prompt_id)
        return True

    def _fetch(self, client: ComfyClient, work: Work) -> None:
        """Fetch a run's file into the dataset unless it is there; the first brings header and projection along."""
        if work.first is not None:
            self.collection.begin(self._file(client, HEADER), self._file(client, PROJECTION))
            self._share_projection(client)
        if not self.collection.has(work.job.key):
            self.collection.add(work.job, self._file(client, f"{work.job.key}.safetensors", RUNS))

    def _share_projection(self, client: ComfyClient) -> None:
        """Give the dataset's projection to the server, if there is one and the server has none.

        Raises:
            UnfitServerError: the server has another one.
        """
        if self._shared or not self.collection.begun:
            return
        folder = f"{FOLDER}/{self.template.dataset}"
        if not client.has_output(PROJECTION, folder):
            client.upload(self.collection.folder / PROJECTION, folder, "output")
        if self._file(client, PROJECTION) != self.collection.projection:
            raise UnfitServerError(
                f"it has recorded {self.template.dataset} with another projection of activations, and runs of two "
                "projections can't be in one dataset. Name another one with --dataset, or move the folder "
                f"output/{folder} away there."
            )
        self._shared = True

    def _file(self, client: ComfyClient, name: str, below: str = "") -> bytes:
        folder = "/".join(part for part in (FOLDER, self.template.dataset, below) if part)
        return client.view({"filename": name, "subfolder": folder, "type": "output"})

    def _beat(self) -> None:
        now = monotonic()
        if now - self._beaten >= self.pool.between_looks / 2:
            self._beaten, self._count = now, self._count + 1
            self.pool.claims.beat(self.worker.id, self._count)
