"""ComfyUI's process: a free port, a command prefix and an orderly end. Standard library only."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys

STOP_SECONDS = 10


def free_port() -> int:
    """Find a TCP port on the loopback interface that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def end_process_group(process: subprocess.Popen) -> None:
    """Ask the process and its children to end, and after ten seconds make them."""
    if process.poll() is None:
        _signal_group(process, signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            pass
    if os.name == "posix":
        _signal_group(process, signal.SIGKILL)  # children that outlived it
    elif process.poll() is None:
        process.kill()
    process.wait()


def _signal_group(process: subprocess.Popen, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if os.name == "posix":
            os.killpg(process.pid, number)  # a session leader's group has its own id
        else:
            process.terminate()


def end_with_parent() -> list[str]:
    """Return a command prefix with which Linux ends a process even if this one is killed outright."""
    setpriv = shutil.which("setpriv") if sys.platform == "linux" else None
    return [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []
