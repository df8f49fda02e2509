"""The one address at which ComfyUI's server takes what a board answers."""

from aiohttp import web

from ..core.json_text import read_json
from ..core.texts import writable
from .channel import answer
from .place import server

ROUTE = "/diffusion_probe/board"
MOST_BYTES = 64 * 1024
"""Of an answer; ComfyUI itself takes uploads of many megabytes."""


def add_route() -> None:
    """Tell ComfyUI's server; outside of it there is nothing to tell."""
    if running := server():
        running.routes.post(ROUTE)(_answer)


async def _answer(request: web.Request) -> web.Response:
    try:
        body = await request.clone(client_max_size=MOST_BYTES).read()
        return web.json_response({"boards": answer(read_json(body))})
    except KeyError:
        return web.json_response({"error": "this board is not open any more"}, status=404)
    except ValueError as error:  # also what is no JSON
        return web.json_response({"error": writable(str(error))}, status=400)
    except web.HTTPRequestEntityTooLarge:
        return web.json_response({"error": f"a board's answer takes at most {MOST_BYTES} bytes"}, status=400)
