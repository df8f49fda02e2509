"""The jobs for a lent GPU: commands that exist, done once, none in the way of another."""

import subprocess
import sys

import pytest

from benchmarks import on_a_gpu
from benchmarks.on_a_gpu import Job


def write(path):
    return Job(("-c", f"open({str(path)!r}, 'a').write('once ')"), path)


def test_what_is_there_is_not_done_again_and_a_failure_does_not_stop_the_next(tmp_path, capsys):
    first, last = tmp_path / "a" / "first", tmp_path / "last"
    broken = Job(("-c", "raise SystemExit(3)"), tmp_path / "broken")
    todo = [write(first), broken, write(last)]
    assert on_a_gpu.run(todo, 60) == [f"exit 3: {broken.text}"]
    assert on_a_gpu.run(todo, 60) == [f"exit 3: {broken.text}"]
    assert first.read_text() == last.read_text() == "once "
    assert "there already: first" in capsys.readouterr().out


def test_when_the_time_is_up_the_running_job_is_stopped_and_the_rest_is_named(tmp_path):
    slow, never = Job(("-c", "import time; time.sleep(60)"), tmp_path / "slow"), write(tmp_path / "never")
    stopped, left = on_a_gpu.run([slow, never], 0.5)
    assert stopped.startswith("stopped when the time was up") and left.startswith("no time")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("job", {job.command[1:3]: job for job in on_a_gpu.jobs(on_a_gpu.Path("out"))}.values())
def test_every_command_knows_the_arguments_that_it_is_given(job):
    """argparse reads all of them before it answers --help."""
    found = subprocess.run([sys.executable, *job.command, "--help"], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    flags = {word for word in job.command if word.startswith("--")}
    assert all(flag in found.stdout for flag in flags)


def test_the_list_names_every_model_and_kind(capsys):
    assert on_a_gpu.main(["--out", "out", "--list"]) == 0
    printed = capsys.readouterr().out
    assert all(word in printed for word in (*on_a_gpu.MODELS, *on_a_gpu.REAL_SIZE, *on_a_gpu.TRAININGS))
