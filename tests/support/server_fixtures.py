"""Fixtures of the tests that run prompts on a real ComfyUI server."""

import pytest

from dev.server import ComfyServer
from training.client.server import ComfyClient


@pytest.fixture(scope="session")
def server_models(tmp_path_factory):
    """The server's models folder: empty, whatever the installation has."""
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="session")
def server(server_models):
    """One real ComfyUI server with the pack, for the whole session."""
    with ComfyServer(extra_arguments=("--models-directory", str(server_models))) as running:
        yield running


PAGE_FLAGS = {"supports_preview_metadata": True}
"""Feature flags as a page of ComfyUI's frontend sends them when it connects."""


@pytest.fixture
def client(server):
    """A client of that server with its own event stream."""
    with ComfyClient(server.url) as connected:
        yield connected


@pytest.fixture
def page(server):
    """A client that says of itself what a page of the frontend says."""
    with ComfyClient(server.url, feature_flags=PAGE_FLAGS) as connected:
        yield connected


class Run:
    """What one prompt did, told by its events."""

    def __init__(self, client, prompt):
        self.events = []
        self.prompt = prompt
        self.outputs = client.run(prompt, self.events.append)

    def data(self, kind: str, node: str | None = None) -> list[dict]:
        """The data of all events of one kind, of one node if it is named."""
        found = [event["data"] for event in self.events if event["type"] == kind]
        return found if node is None else [data for data in found if data.get("node") == node]

    def images(self, node: str) -> list[dict]:
        """The images that a node reported."""
        return [image for data in self.data("executed", node) for image in (data["output"] or {}).get("images", [])]

    def text(self, node: str) -> str:
        """The text that a node reported."""
        (data,) = self.data("executed", node)
        return data["output"]["text"][0]

    def cached(self) -> set[str]:
        """The nodes that were not run because nothing before them changed."""
        return {node for data in self.data("execution_cached") for node in data["nodes"]}


@pytest.fixture
def run(client):
    """Runs a prompt on the server; a :class:`Run`."""
    return lambda prompt: Run(client, prompt)
