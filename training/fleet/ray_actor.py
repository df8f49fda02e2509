"""Actor of a Ray cluster that starts ComfyUI on its node, and passes calls of a client on to it.

The class is sent to the nodes as it is. Everything it needs besides is imported from the pack's folder on the node.
"""

import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from typing import Any

STARTUP_SECONDS = 600
"""Time within which ComfyUI has to answer."""


class ComfyActor:
    """A ComfyUI of its own on the node where this runs, on loopback, with a temporary folder for all that it writes.

    Args:
        pack: folder of the pack on the node, which is in ComfyUI's ``custom_nodes``.
        poll: seconds without an event after which :meth:`events` returns.
        arguments: more of ComfyUI's command-line arguments.
    """

    def __init__(self, pack: str, poll: float, arguments: tuple[str, ...] = ()):
        if not os.path.isdir(os.path.join(pack, "training")):
            raise FileNotFoundError(f"{pack} isn't on this node: the pack has to be in one path on all nodes")
        sys.path.append(pack)
        from training.client.loader import device_arguments
        from training.client.paths import comfyui_path
        from training.client.process import end_process_group, end_with_parent, free_port
        from training.client.server import ComfyClient, PromptError

        tree, port = comfyui_path(), free_port()
        self._prompt_error, self._end = PromptError, end_process_group
        self._home = tempfile.TemporaryDirectory(prefix="diffusion-probe-")
        folders = []
        for name in ("output", "input", "temp", "user"):
            os.makedirs(os.path.join(self._home.name, name))
            folders += [f"--{name}-directory", os.path.join(self._home.name, name)]
        command = [
            *end_with_parent(), sys.executable, "-u", str(tree / "main.py"), "--listen", "127.0.0.1",
            "--port", str(port), "--disable-auto-launch", "--database-url", "sqlite:///:memory:",
            *folders, *device_arguments(), *arguments,
        ]  # fmt: skip
        self._log = open(os.path.join(self._home.name, "comfyui.log"), "w+b")
        self._process = subprocess.Popen(
            command, cwd=tree, stdin=subprocess.DEVNULL, stdout=self._log, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
        url = f"http://127.0.0.1:{port}"
        self._wait_until_up(url)
        self._client = ComfyClient(url, timeout=poll)

    def _wait_until_up(self, url: str) -> None:
        deadline = time.monotonic() + STARTUP_SECONDS
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                with opener.open(f"{url}/system_stats", timeout=5):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.2)
        self._log.seek(0)
        tail = self._log.read().decode(errors="replace").splitlines()[-5:]
        self.stop()
        raise ConnectionError(f"ComfyUI did not start there. Its log ends: {' / '.join(tail)}")

    def call(self, name: str, *arguments: Any) -> tuple[str, Any]:
        """Call a method of the client; return "result" and the result, or the kind of an error and its content."""
        try:
            return "result", getattr(self._client, name)(*arguments)
        except self._prompt_error as error:
            return "prompt", (str(error), error.details, error.interrupted)
        except ValueError as error:
            return "value", str(error)

    def put(self, name: str, content: bytes, subfolder: str) -> tuple[str, Any]:
        """Put a file into a subfolder of the server's output folder."""
        path = os.path.join(self._home.name, name)
        with open(path, "wb") as file:
            file.write(content)
        return self.call("upload", path, subfolder, "output")

    def events(self, prompt_id: str) -> bool | None:
        """Wait for the next event of a prompt; True: it has ended, False: it goes on, None: no event in time."""
        try:
            for event in self._client.events(prompt_id):
                return event["type"] == "executing" and event["data"].get("node") is None
        except TimeoutError:
            return None
        return True

    def stop(self) -> None:
        """End ComfyUI."""
        self._end(self._process)
        self._home.cleanup()
