"""Address of a board: its run, node, workflow and client, from ComfyUI's server and from the queued prompt."""

from collections.abc import Callable
from typing import Any, NamedTuple

from comfy_execution.progress import get_progress_state
from comfy_execution.utils import get_executing_context

MOST_CLIENTS = 64
"""Bound of the clients that are remembered."""

_queued: dict[str, None] = {}
"""Pages that were connected when they queued their last prompt, by their client ids, in the order of these prompts."""


class Address(NamedTuple):
    """Address of a board.

    Attributes:
        prompt_id, node_id, display_node_id: run and node, as ComfyUI's own events name them.
        workflow_id: the open workflow's own id, empty if unknown.
        client_id: the client that queued the run.
    """

    prompt_id: str
    node_id: str
    display_node_id: str
    workflow_id: str
    client_id: str


def server() -> Any:
    """Return ComfyUI's server, None outside of it."""
    try:
        from server import PromptServer
    except ImportError:
        return None
    return getattr(PromptServer, "instance", None)


def is_connected(client_id: str) -> bool:
    """Tell whether a client has an open websocket to the server."""
    return client_id in server().sockets


def is_page(client_id: str) -> bool:
    """Tell whether a connected client is a page of ComfyUI's frontend, which sends its feature flags when it connects.

    A program that follows its prompts over a websocket sends none, and has no board to show.
    """
    return bool(server().sockets_metadata.get(client_id, {}).get("feature_flags"))


def may_show_board(client_id: str) -> bool:
    """Tell whether a client is a page of the frontend, or was one when it queued its last prompt."""
    return client_id in _queued or (is_connected(client_id) and is_page(client_id))


def remember_client(data: Any) -> Any:
    """Remember whether the client that queues a prompt is a connected page: a handler of ComfyUI's for each prompt.

    A page may be gone or being loaded again when its prompt begins; a program is none.
    """
    client = data.get("client_id")
    if isinstance(client, str):
        _queued.pop(client, None)
        if is_connected(client) and is_page(client):
            _queued[client] = None
            for old in list(_queued)[:-MOST_CLIENTS]:
                del _queued[old]
    return data


def running_address() -> Address | None:
    """Return the address of the node that runs now.

    None where no browser listens: outside of the server, or in a run that was queued over the API alone.
    """
    running, context = server(), get_executing_context()
    client = getattr(running, "client_id", None)
    if context is None or not isinstance(client, str) or not (client in running.sockets or client in _queued):
        return None
    shown = get_progress_state().dynprompt.get_display_node_id(context.node_id)
    workflow = _object_in(_object_in(_queued_with(), "extra_pnginfo"), "workflow").get("id")
    return Address(context.prompt_id, context.node_id, shown, workflow if isinstance(workflow, str) else "", client)


def text_of_running_node() -> Callable[[str], None]:
    """Return a function that shows a text in the node that runs now, also later, while another node runs.

    It does nothing outside of the server, where no browser listens, and in a prompt in which a node of another class
    has this id.
    """
    context = get_executing_context()
    if context is None:
        return lambda text: None
    class_type = get_progress_state().dynprompt.get_node(context.node_id)["class_type"]

    def show(text: str) -> None:
        running, prompt = server(), get_progress_state().dynprompt
        client = getattr(running, "client_id", None)
        if not isinstance(client, str) or not is_connected(client) or not prompt.has_node(context.node_id):
            return
        if prompt.get_node(context.node_id)["class_type"] == class_type:
            running.send_progress_text(text, prompt.get_display_node_id(context.node_id), client)

    return show


def previews_off() -> bool:
    """Tell whether the user has set ComfyUI's live preview method to none.

    Its default does not count: that is none too, for the sake of sampling speed.
    """
    return _queued_with().get("preview_method") == "none"


def _queued_with() -> dict[str, Any]:
    """Return the extra data that the running prompt was queued with, any JSON; empty outside of the server."""
    running, context = server(), get_executing_context()
    if running is None or context is None:
        return {}
    queue = running.prompt_queue.get_current_queue_volatile()[0]
    return next((item[3] for item in queue if item[1] == context.prompt_id), {})


def _object_in(values: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the JSON object under a name; empty if there is none."""
    value = values.get(name)
    return value if isinstance(value, dict) else {}
