"""Client of a running ComfyUI server: it queues prompts, follows their events and fetches the results."""

import asyncio
import contextlib
import json
import queue
import threading
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import aiohttp

Prompt = dict[str, dict[str, Any]]
Event = dict[str, Any]

INSTALLED_ROUTE = "/diffusion_probe/installed"
"""Route under which the pack says what is installed on a server."""

# Loopback never goes through a proxy that the environment may name.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
_CLOSED = {"type": "closed", "data": {}}


class PromptError(RuntimeError):
    """Error of a prompt that was refused or failed. The message names each node and the cause.

    Attributes:
        details: ComfyUI's own description: ``node_errors`` of a refused prompt, else the event.
        interrupted: whether the prompt was interrupted, so that nothing is wrong with it.
    """

    def __init__(self, message: str, details: dict | None = None, interrupted: bool = False):
        super().__init__(message)
        self.details = details or {}
        self.interrupted = interrupted


class ComfyClient:
    """Connection to a server with a client id and its event stream; a context manager, or call :meth:`close`.

    Args:
        url: of the server, e.g. ``http://127.0.0.1:8188``.
        timeout: seconds without any event after which :meth:`events` gives up.
        feature_flags: what it says of itself when it connects. ComfyUI's own pages send flags, by which a server knows
            that somebody may look; None for a program.
    """

    def __init__(self, url: str, timeout: float = 600, feature_flags: dict[str, Any] | None = None):
        self.url = url.rstrip("/")
        self.timeout = timeout
        self.feature_flags = feature_flags
        self.client_id = uuid.uuid4().hex
        self._events: queue.Queue[Event] = queue.Queue()
        self._loop = asyncio.new_event_loop()
        connected = threading.Event()
        self._listener = self._loop.create_task(self._listen(connected))
        self._thread = threading.Thread(target=self._pump, args=(connected,), daemon=True, name="comfyui-events")
        self._thread.start()
        if not connected.wait(30) or self._listener.done():
            self.close()
            raise ConnectionError(f"No ComfyUI answers at {self.url}.")

    def __enter__(self) -> "ComfyClient":
        return self

    def __exit__(self, *_exc) -> None:
        self.close()

    def close(self) -> None:
        """End the event stream. May be called twice."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: the server went away first
            self._loop.call_soon_threadsafe(self._listener.cancel)
        self._thread.join(10)

    def queue(self, prompt: Prompt, client_id: str | None = None) -> str:
        """Queue a prompt in API format, and return its prompt id.

        Raises:
            PromptError: ComfyUI refuses it, wholly or one of its outputs.
        """
        status, answer = self._post("/prompt", {"prompt": prompt, "client_id": client_id or self.client_id})
        if answer.get("node_errors") or status != 200:
            if "prompt_id" in answer:  # ComfyUI would run the outputs that are valid
                self._post("/queue", {"delete": [answer["prompt_id"]]})
                self.interrupt(answer["prompt_id"])
            raise PromptError(describe_refusal(answer, prompt), answer)
        return answer["prompt_id"]

    def events(self, prompt_id: str) -> Iterator[Event]:
        """Yield the events of one prompt, ``{"type": …, "data": …}``, until the server is done with it.

        Follows prompts queued under this client's id. Events of other prompts are dropped, so read
        the prompts in the order in which they were queued.

        Raises:
            ConnectionError: the server went away.
            TimeoutError: no event within ``timeout`` seconds.
        """
        while True:
            try:
                event = self._events.get(timeout=self.timeout)
            except queue.Empty:
                raise TimeoutError(f"No event from ComfyUI for {self.timeout:g} s.") from None
            if event is _CLOSED:
                self._events.put(_CLOSED)
                raise ConnectionError("The connection to ComfyUI was closed. Did the server end?")
            if event["data"].get("prompt_id") != prompt_id:
                continue
            yield event
            # Sent after the history entry is there, unlike execution_success.
            if event["type"] == "executing" and event["data"].get("node") is None:
                return

    def run(self, prompt: Prompt, on_event: Callable[[Event], None] | None = None) -> dict[str, dict]:
        """Queue a prompt, wait for its end, and return the ``ui`` outputs by node id.

        Raises:
            PromptError: it was refused, it failed, or it was interrupted.
        """
        prompt_id = self.queue(prompt)
        for event in self.events(prompt_id):
            if on_event is not None:
                on_event(event)
        return self.outputs(prompt_id)

    def outputs(self, prompt_id: str) -> dict[str, dict]:
        """Return the ``ui`` outputs of a finished prompt by node id; raise :class:`PromptError` if it failed."""
        entry = self.history(prompt_id)
        status = entry.get("status", {})
        if status.get("status_str") == "error":
            raise _failure(status.get("messages", []))
        return entry.get("outputs", {})

    def history(self, prompt_id: str) -> dict:
        """Return a prompt's history entry (``prompt``, ``outputs``, ``status``), empty until the prompt is finished."""
        return self._get_json(f"/history/{prompt_id}").get(prompt_id, {})

    def object_info(self) -> dict[str, dict]:
        """Return the schemas of all registered nodes by type."""
        return self._get_json("/object_info")

    def interrupt(self, prompt_id: str | None = None) -> None:
        """Interrupt a prompt if it is running; None: whatever is running."""
        self._post("/interrupt", {"prompt_id": prompt_id} if prompt_id else {})

    def waits(self, prompt_id: str) -> bool:
        """Return whether a prompt is running or in the queue."""
        queue = self._get_json("/queue")
        return any(entry[1] == prompt_id for entries in queue.values() for entry in entries)

    def cancel(self, prompt_id: str) -> None:
        """Take a prompt out of the queue, and interrupt it if it is running."""
        self._post("/queue", {"delete": [prompt_id]})
        self.interrupt(prompt_id)

    def installed(self, names: Sequence[str], timeout: float = 3600) -> dict[str, Any]:
        """Return the versions of ComfyUI and the pack on the server, and the SHA-256 of model files by name.

        Args:
            names: of model files, as nodes' inputs have them; those that are no model file there are left out.
            timeout: seconds that the server may read files for.

        Raises:
            ValueError: the pack isn't there, or is older than this question.
        """
        try:
            status, answer = self._post(INSTALLED_ROUTE, {"names": list(names)}, timeout)
        except urllib.error.HTTPError as refused:
            if refused.code not in (404, 405):
                raise
            status, answer = refused.code, {}
        if status != 200 or not isinstance(answer, dict):
            raise ValueError(
                f"{self.url} has no Diffusion Probe, or an older one. Install the same version there as here."
            )
        return answer

    def view(self, image: dict[str, str]) -> bytes:
        """Fetch the file of one ``{"filename", "subfolder", "type"}`` entry of an output."""
        fields = {key: image.get(key, "") for key in ("filename", "subfolder", "type")}
        return self._get(f"/view?{urllib.parse.urlencode(fields)}")

    def has_output(self, name: str, subfolder: str) -> bool:
        """Return whether a file of that name is in a subfolder of the server's output folder."""
        fields = urllib.parse.urlencode({"filename": name, "subfolder": subfolder, "type": "output"})
        try:
            with _OPENER.open(urllib.request.Request(f"{self.url}/view?{fields}", method="HEAD"), timeout=120):
                return True
        except urllib.error.HTTPError as refused:
            if refused.code != 404:
                raise
            return False

    def upload(self, path: Path, subfolder: str = "", folder: str = "input") -> str:
        """Put a file into a subfolder of the server's input folder, and return the name for Load Image.

        Args:
            path: of the file here.
            subfolder: of the server's folder.
            folder: "input" or "output".
        """
        return asyncio.run(self._upload(Path(path), subfolder, folder))

    async def _upload(self, path: Path, subfolder: str, folder: str) -> str:
        form = aiohttp.FormData({"subfolder": subfolder, "overwrite": "true", "type": folder})
        form.add_field("image", path.read_bytes(), filename=path.name)
        async with aiohttp.ClientSession() as session:
            async with session.post(f"{self.url}/upload/image", data=form) as answer:
                answer.raise_for_status()
                stored = await answer.json()
        return "/".join(name for name in (stored["subfolder"], stored["name"]) if name)

    def _get(self, path: str) -> bytes:
        with _OPENER.open(self.url + path, timeout=120) as answer:
            return answer.read()

    def _get_json(self, path: str) -> dict:
        return json.loads(self._get(path))

    def _post(self, path: str, body: dict, timeout: float = 120) -> tuple[int, dict]:
        request = urllib.request.Request(
            self.url + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        try:
            with _OPENER.open(request, timeout=timeout) as answer:
                return answer.status, json.loads(answer.read() or "{}")
        except urllib.error.HTTPError as refused:
            if refused.code != 400:
                raise
            return refused.code, json.loads(refused.read())

    def _pump(self, connected: threading.Event) -> None:
        try:
            self._loop.run_until_complete(self._listener)
        except (asyncio.CancelledError, aiohttp.ClientError, OSError):
            pass
        finally:
            self._events.put(_CLOSED)
            self._loop.close()
            connected.set()  # nobody has to wait for a connection that failed

    async def _listen(self, connected: threading.Event) -> None:
        address = f"{self.url}/ws?clientId={self.client_id}"
        async with aiohttp.ClientSession() as session:
            async with session.ws_connect(address, max_msg_size=0, heartbeat=None) as stream:
                await self._introduce(stream)
                connected.set()
                async for message in stream:
                    if message.type is aiohttp.WSMsgType.TEXT:  # binary messages are live previews
                        self._events.put(json.loads(message.data))

    async def _introduce(self, stream: Any) -> None:
        """Send the feature flags, if any, over the websocket; ComfyUI takes them as the first message only."""
        if self.feature_flags is not None:
            await stream.send_json({"type": "feature_flags", "data": self.feature_flags})


def describe_refusal(answer: dict, prompt: Prompt) -> str:
    """Make one message of the answer to a refused prompt: every node with every cause."""
    lines = []
    for node_id, node in answer.get("node_errors", {}).items():
        name = node.get("class_type") or prompt.get(node_id, {}).get("class_type", "?")
        for cause in node.get("errors", []):
            details = f": {cause['details']}" if cause.get("details") else ""
            lines.append(f"{name} (node {node_id}): {cause.get('message', 'refused')}{details}")
    if not lines:
        error = answer.get("error", {})
        error = error if isinstance(error, dict) else {"message": str(error)}
        lines = [" ".join(text for text in (error.get("message"), error.get("details")) if text)]
    return "ComfyUI refused the workflow. " + "; ".join(lines)


def _failure(messages: list[list]) -> PromptError:
    """Make the exception for the status messages of a failed history entry."""
    for kind, data in messages:
        where = f"{data.get('node_type')} (node {data.get('node_id')})"
        if kind == "execution_interrupted":
            return PromptError(f"Interrupted in {where}.", data, interrupted=True)
        if kind == "execution_error":
            cause = data.get("exception_message", "").strip()
            return PromptError(f"{where} failed: {data.get('exception_type')}: {cause}", data)
    return PromptError("The prompt failed, and ComfyUI does not say why.")
