"""Route under which ComfyUI's server says what is installed, to a client that records on several servers."""

import asyncio

from aiohttp import web

from ..engine.board.address import server
from ..engine.core.json_text import read_json
from ..engine.core.texts import writable
from ..engine.runs.installed import installed
from ..training.client.server import INSTALLED_ROUTE

MOST_BYTES = 1 << 20
"""Size of the largest question."""


def add_installed_route() -> None:
    """Add the route to ComfyUI's server; outside of it, do nothing."""
    if running := server():
        running.routes.post(INSTALLED_ROUTE)(_answer)


async def _answer(request: web.Request) -> web.Response:
    try:
        body = read_json(await request.clone(client_max_size=MOST_BYTES).read())
        names = body.get("names") if isinstance(body, dict) else None
        return web.json_response(await asyncio.to_thread(installed, names))
    except (ValueError, OSError) as error:
        return web.json_response({"error": writable(str(error))}, status=400)
    except web.HTTPRequestEntityTooLarge:
        return web.json_response({"error": f"a question takes at most {MOST_BYTES} bytes"}, status=400)
