"""The real ComfyUI server as a context manager: started headless, stopped whatever happens.

Nothing of a user's own installation is touched: output, input, temp, user folder and database are
the server's own, and of the custom nodes only this pack is loaded.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from training.client.loader import device_arguments
from training.client.paths import comfyui_path
from training.client.process import end_process_group, end_with_parent, free_port
from training.client.server import ComfyClient

from .link import linked_name

STARTUP_SECONDS = 240
PORT_TRIES = 3


class ServerError(RuntimeError):
    """The server did not come up, or went away; the message ends with the tail of its log."""


class ComfyServer:
    """``with ComfyServer() as server:`` runs ComfyUI's ``main.py`` on a free loopback port.

    Args:
        home: folder for everything the server writes (``output``, ``input``, ``temp``, ``user``,
            ``comfyui.log``). Default: a temporary one, removed at the end.
        extra_arguments: more of ComfyUI's command-line arguments.

    Attributes:
        url: e.g. ``http://127.0.0.1:40213``.
        client: a connected :class:`training.client.server.ComfyClient`.
        home, output_directory, input_directory, log_path: where its files are.
        process: the running ``subprocess.Popen``.

    Raises:
        ServerError: it ended or did not answer within four minutes.
    """

    def __init__(self, home: Path | None = None, extra_arguments: tuple[str, ...] = ()):
        self._temporary = home is None
        self.home = Path(tempfile.mkdtemp(prefix="diffusion-probe-") if home is None else home).resolve()
        self.output_directory = self.home / "output"
        self.input_directory = self.home / "input"
        self.log_path = self.home / "comfyui.log"
        self.extra_arguments = extra_arguments
        self.process: subprocess.Popen | None = None
        self.url = ""
        self.client: ComfyClient | None = None

    def __enter__(self) -> "ComfyServer":
        try:
            self._start()
            self.client = ComfyClient(self.url)
        except BaseException:  # Ctrl-C too: no orphan
            self.stop()
            raise
        return self

    def __exit__(self, *_exc) -> None:
        self.stop()

    def log_tail(self, lines: int = 25) -> str:
        """Return the last lines of the server's log."""
        if not self.log_path.is_file():
            return "(no log)"
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-lines:])

    def stop(self) -> None:
        """End the server and everything it started. May be called twice."""
        if self.client is not None:
            self.client.close()
            self.client = None
        if self.process is not None:
            end_process_group(self.process)
        if self._temporary:
            shutil.rmtree(self.home, ignore_errors=True)

    def _start(self) -> None:
        for folder in ("output", "input", "temp", "user"):
            (self.home / folder).mkdir(parents=True, exist_ok=True)
        for attempt in range(PORT_TRIES):
            port = free_port()
            self.url = f"http://127.0.0.1:{port}"
            self._launch(port)
            if self._wait_until_up():
                return
            tail = self.log_tail()
            if "address already in use" not in tail.lower() or attempt == PORT_TRIES - 1:
                raise ServerError(
                    f"ComfyUI ended with exit code {self.process.returncode} while starting. Its log ends:\n{tail}"
                )

    def _launch(self, port: int) -> None:
        tree = comfyui_path()
        pack_folder = linked_name(tree)
        if pack_folder is None:
            raise ServerError(
                f"This pack is not in {tree / 'custom_nodes'}. Run `make setup` (or `python -m dev.setup`)."
            )
        command = [
            *end_with_parent(), sys.executable, "-u", str(tree / "main.py"),
            "--listen", "127.0.0.1", "--port", str(port),
            "--disable-auto-launch", "--disable-api-nodes",
            "--disable-all-custom-nodes", "--whitelist-custom-nodes", pack_folder,
            "--output-directory", str(self.output_directory),
            "--input-directory", str(self.input_directory),
            "--temp-directory", str(self.home / "temp"),
            "--user-directory", str(self.home / "user"),
            "--database-url", "sqlite:///:memory:",
            *device_arguments(), *self.extra_arguments,
        ]  # fmt: skip
        # Its own session: Ctrl-C reaches this process only, which then ends the server in order.
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                command, cwd=tree, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                start_new_session=True, env={**ONE_THREAD, **os.environ, "PYTHONUNBUFFERED": "1"},
            )  # fmt: skip

    def _wait_until_up(self) -> bool:
        """Wait; return True when it answers, False when it ended first."""
        deadline = time.monotonic() + STARTUP_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                return False
            with contextlib.suppress(urllib.error.URLError, OSError):
                with _OPENER.open(f"{self.url}/system_stats", timeout=5):
                    return True
            time.sleep(0.2)
        raise ServerError(f"ComfyUI did not answer within {STARTUP_SECONDS} s. Its log ends:\n{self.log_tail()}")


# The testbed's tensors are so small that a second torch thread costs more than it saves, most of all
# on a busy machine. A variable that is set already has its way.
ONE_THREAD = {"OMP_NUM_THREADS": "1"}

# Loopback never goes through a proxy that the environment may name.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
