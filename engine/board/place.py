"""Where a board belongs, and what its run was queued with, which may be anything that JSON holds."""

from typing import Any, NamedTuple

from comfy_execution.progress import get_progress_state
from comfy_execution.utils import get_executing_context


class Place(NamedTuple):
    """Where a board belongs: run and node as ComfyUI's own events name them, the open workflow's own id, the client."""

    prompt_id: str
    node_id: str
    display_node_id: str
    workflow_id: str
    client_id: str


def server() -> Any:
    """ComfyUI's server, None outside of it."""
    try:
        from server import PromptServer
    except ImportError:
        return None
    return getattr(PromptServer, "instance", None)


def running_place() -> Place | None:
    """Of the node that runs now; None where no browser listens: outside of the server, or over the API alone."""
    running, context = server(), get_executing_context()
    client = getattr(running, "client_id", None)
    if context is None or not isinstance(client, str) or client not in running.sockets:
        return None
    shown = get_progress_state().dynprompt.get_display_node_id(context.node_id)
    workflow = _part(_part(_queued_with(), "extra_pnginfo"), "workflow").get("id")
    return Place(context.prompt_id, context.node_id, shown, workflow if isinstance(workflow, str) else "", client)


def previews_off() -> bool:
    """Whether the user has set ComfyUI's live preview method to none. Its default doesn't count: that is none too,
    for the sake of sampling speed."""
    return _queued_with().get("preview_method") == "none"


def _queued_with() -> dict[str, Any]:
    """The extra data that the running prompt was queued with; empty outside of the server."""
    running, context = server(), get_executing_context()
    if running is None or context is None:
        return {}
    queue = running.prompt_queue.get_current_queue_volatile()[0]
    return next((item[3] for item in queue if item[1] == context.prompt_id), {})


def _part(values: dict[str, Any], name: str) -> dict[str, Any]:
    """An object inside of another; empty if it is none."""
    part = values.get(name)
    return part if isinstance(part, dict) else {}
