"""Route under which ComfyUI's server takes a user's actions on boards."""

from aiohttp import web

from ..core.json_text import read_json
from ..core.texts import writable
from .address import remember_client, server
from .answers import answer
from .schema import BOARD_ROUTE

MOST_BYTES = 64 * 1024
"""Size of the largest answer; ComfyUI itself takes uploads of many megabytes."""


def add_route() -> None:
    """Add the route to ComfyUI's server, and have it remember who queues prompts; outside of it, do nothing."""
    if running := server():
        running.routes.post(BOARD_ROUTE)(_answer)
        running.add_on_prompt_handler(remember_client)


async def _answer(request: web.Request) -> web.Response:
    try:
        body = await request.clone(client_max_size=MOST_BYTES).read()
        return web.json_response(answer(read_json(body)))
    except KeyError:
        return web.json_response({"error": "this board is not open any more"}, status=404)
    except ValueError as error:  # also of text that is no JSON
        return web.json_response({"error": writable(str(error))}, status=400)
    except web.HTTPRequestEntityTooLarge:
        return web.json_response({"error": f"a board's answer takes at most {MOST_BYTES} bytes"}, status=400)
