"""The one address at which ComfyUI's server takes what a board answers."""

from aiohttp import web

from .channel import answer, server

ROUTE = "/diffusion_probe/board"


def add_route() -> None:
    """Tell ComfyUI's server; outside of it there is nothing to tell."""
    if running := server():
        running.routes.post(ROUTE)(_answer)


async def _answer(request: web.Request) -> web.Response:
    try:
        return web.json_response({"boards": answer(await request.json())})
    except KeyError:
        return web.json_response({"error": "this board is not open any more"}, status=404)
    except ValueError as error:  # also what is no JSON
        return web.json_response({"error": str(error)}, status=400)
