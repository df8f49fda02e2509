"""Files are replaced as a whole, and a lock has one holder among all processes."""

import subprocess
import sys
import threading

import pytest
from diffusion_probe.engine.core.files import LOCK, locked, replace_file

HOLD = """
import sys
from filelock import FileLock
with FileLock(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_a_file_is_replaced_as_a_whole_and_nothing_else_stays(tmp_path):
    path = tmp_path / "probe.bin"
    path.write_bytes(b"old")
    replace_file(path, lambda unfinished: unfinished.write_bytes(b"new"))
    assert path.read_bytes() == b"new" and [each.name for each in tmp_path.iterdir()] == ["probe.bin"]


def test_a_file_stays_as_it_was_where_writing_the_new_one_fails(tmp_path):
    path = tmp_path / "probe.bin"
    path.write_bytes(b"old")

    def write(unfinished):
        unfinished.write_bytes(b"ne")
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="the disk is full"):
        replace_file(path, write)
    assert path.read_bytes() == b"old" and [each.name for each in tmp_path.iterdir()] == ["probe.bin"]


def test_a_lock_that_another_process_holds_is_refused_until_it_ends(tmp_path):
    path = tmp_path / "probe.bin"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path / f".probe.bin{LOCK}")], **pipes) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(ValueError, match="another process is writing probe.bin"), locked(path):
            raise AssertionError("two held it")
        other.kill()  # it gives nothing back itself
        other.wait()
        with locked(path, seconds=10):
            pass


def test_threads_of_one_process_exclude_each_other(tmp_path):
    refused = []

    def take():
        try:
            with locked(tmp_path / "lock"):
                pass
        except ValueError as error:
            refused.append(error)

    with locked(tmp_path / "lock"):
        thread = threading.Thread(target=take)
        thread.start()
        thread.join()
    assert len(refused) == 1
