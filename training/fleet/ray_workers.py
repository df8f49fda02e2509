"""Workers of a Ray cluster: clients whose calls go to actors that run ComfyUI, each on a GPU of its own."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..client.paths import PACK_ROOT
from ..client.server import PromptError
from . import ray_actor

POLL_SECONDS = 2.0
"""Time that the first client waits for events."""

START_SECONDS = 900
"""Time within which an actor has to get a place in the cluster and start ComfyUI."""

CALL_SECONDS = 3700
"""Time within which a call has to end: a server may read large files for an hour."""


def connect_ray(address: str) -> tuple[Any, int]:
    """Connect to a Ray cluster, and return Ray and the number of workers that the cluster has room for: one per GPU.

    Without a GPU there is one worker on each node.

    Raises:
        ValueError: Ray isn't installed, or no cluster answers; the message says what to do.
    """
    try:
        import ray
    except ImportError:
        raise ValueError(
            'Ray is not installed here. Install it with pip install "ray>=2.9", on each node the same version, or '
            "name servers with --server instead of --ray."
        ) from None
    if not ray.is_initialized():
        try:
            ray.init(address=address, log_to_driver=False)
        except (ConnectionError, RuntimeError, OSError, ValueError) as error:
            raise ValueError(f"no Ray cluster answers at {address} ({str(error).splitlines()[0]}).") from error
    ray.cloudpickle.register_pickle_by_value(ray_actor)
    nodes = [node for node in ray.nodes() if node["Alive"]]
    gpus = int(sum(node["Resources"].get("GPU", 0) for node in nodes))
    return ray, gpus or len(nodes)


class RayConnector:
    """Maker of clients, each with an actor of its own.

    Args:
        ray: the module, connected.
        arguments: more of ComfyUI's command-line arguments.
    """

    def __init__(self, ray: Any, arguments: tuple[str, ...] = ()):
        gpus = 1 if ray.cluster_resources().get("GPU") else 0
        self._ray, self._arguments = ray, arguments
        self._actor = ray.remote(num_gpus=gpus, num_cpus=0 if gpus else 1, max_restarts=0)(ray_actor.ComfyActor)
        self._spare: list[RayClient] = []

    def object_info(self) -> dict[str, dict]:
        """Return the schemas of all nodes from a first ComfyUI, which the next client gets."""
        client = self._start(POLL_SECONDS)
        self._spare.append(client)
        return client.call("object_info")

    @contextmanager
    def connect(self, poll: float) -> Iterator["RayClient"]:
        """Start a ComfyUI in the cluster, and end it at last; ``poll`` is the time that it waits for events."""
        client = self._spare.pop() if self._spare else self._start(poll)
        try:
            yield client
        finally:
            client.close()

    def _start(self, poll: float) -> "RayClient":
        client = RayClient(self._ray, self._actor.remote(str(PACK_ROOT), poll, self._arguments))
        try:
            client.call("waits", "", seconds=START_SECONDS)
        except BaseException:
            client.close()
            raise
        return client


class RayClient:
    """Client of the ComfyUI that an actor runs, with the methods of ``ComfyClient`` that recording needs.

    All of them raise ConnectionError when the actor or its node is lost.
    """

    url = "a worker of the Ray cluster"

    def __init__(self, ray: Any, actor: Any):
        self._ray, self._actor = ray, actor

    def _get(self, reference: Any, seconds: float = CALL_SECONDS) -> Any:
        try:
            return self._ray.get(reference, timeout=seconds)
        except self._ray.exceptions.RayError as error:
            raise ConnectionError(str(getattr(error, "cause", None) or error).splitlines()[0]) from error

    def call(self, name: str, *arguments: Any, seconds: float = CALL_SECONDS) -> Any:
        """Call a method of the actor's client."""
        return _result(self._get(self._actor.call.remote(name, *arguments), seconds))

    def installed(self, names: Any) -> dict[str, Any]:
        """Return versions and digests, as ``ComfyClient.installed``."""
        return self.call("installed", names)

    def has_output(self, name: str, subfolder: str) -> bool:
        """Return whether a file is there, as ``ComfyClient.has_output``."""
        return self.call("has_output", name, subfolder)

    def upload(self, path: Path, subfolder: str, folder: str) -> str:
        """Put a file into the output folder, as ``ComfyClient.upload``; ``folder`` is always "output"."""
        return _result(self._get(self._actor.put.remote(path.name, path.read_bytes(), subfolder)))

    def view(self, image: dict[str, str]) -> bytes:
        """Fetch a file, as ``ComfyClient.view``."""
        return self.call("view", image)

    def queue(self, prompt: dict[str, Any]) -> str:
        """Queue a prompt, as ``ComfyClient.queue``."""
        return self.call("queue", prompt)

    def waits(self, prompt_id: str) -> bool:
        """Return whether a prompt waits, as ``ComfyClient.waits``."""
        return self.call("waits", prompt_id)

    def history(self, prompt_id: str) -> dict[str, Any]:
        """Return a prompt's history, as ``ComfyClient.history``."""
        return self.call("history", prompt_id)

    def outputs(self, prompt_id: str) -> dict[str, dict]:
        """Return a prompt's outputs, as ``ComfyClient.outputs``."""
        return self.call("outputs", prompt_id)

    def cancel(self, prompt_id: str) -> None:
        """Cancel a prompt, as ``ComfyClient.cancel``."""
        self.call("cancel", prompt_id)

    def events(self, prompt_id: str) -> Iterator[None]:
        """Yield at each event of a prompt until it has ended; raise TimeoutError where none comes in time."""
        while True:
            ended = self._get(self._actor.events.remote(prompt_id))
            if ended is None:
                raise TimeoutError("no event in time")
            yield
            if ended:
                return

    def close(self) -> None:
        """End the actor and its ComfyUI."""
        try:
            self._ray.get(self._actor.stop.remote(), timeout=30)
        except Exception:  # noqa: BLE001  (the actor is lost already, or Ray is)
            pass
        self._ray.kill(self._actor)


def _result(answer: tuple[str, Any]) -> Any:
    kind, value = answer
    if kind == "prompt":
        raise PromptError(*value)
    if kind == "value":
        raise ValueError(value)
    return value
