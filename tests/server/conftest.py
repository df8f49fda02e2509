"""One real server for the whole session, and ComfyUI's modules for what its tests compare with."""

from training.client import loader

loader.use_comfy()

from support.server_fixtures import client, page, run, server, server_models  # noqa: E402, F401
