"""Processes of ComfyUI are ended with all that they started."""

import os
import socket
import subprocess
import sys

import pytest
from diffusion_probe.training.client.process import end_process_group, free_port


def test_a_free_port_can_be_listened_on():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", free_port()))


@pytest.mark.skipif(os.name != "posix", reason="process groups are POSIX")
def test_a_process_is_ended_with_its_children():
    start = "subprocess.Popen([sys.executable, '-c', 'input()'], stdin=-1)"
    code = f"import subprocess, sys; print({start}.pid, flush=True); input()"
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )
    child = int(process.stdout.readline())
    end_process_group(process)
    assert process.returncode is not None
    process.stdout.read()  # ends when nobody holds the other end
    with pytest.raises(OSError), open(f"/proc/{child}/cmdline", "rb") as alive:
        if not alive.read():
            raise ProcessLookupError("a zombie")
