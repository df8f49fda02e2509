"""The jobs for a lent GPU: commands that exist, done once, none in the way of another."""

import argparse
import importlib
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import on_a_gpu
from benchmarks.on_a_gpu import Job


def write(path):
    return Job(("-c", f"open({str(path)!r}, 'a').write('once ')"), path)


def test_what_is_done_is_not_done_again_and_a_failure_stops_only_what_needs_it(tmp_path, capsys):
    broken = Job(("-c", f"open({str(tmp_path / 'half')!r}, 'w'); raise SystemExit(3)"), tmp_path / "half")
    first, last = write(tmp_path / "a" / "first"), write(tmp_path / "last")
    needs = replace(write(tmp_path / "needs"), after=broken)
    for _ in range(2):
        failed, waits = on_a_gpu.run([first, broken, needs, last], 60)
        assert failed == f"exit 3: {broken.text}" and waits == f"needs what wasn't done: {needs.text}"
    assert first.out.read_text() == last.out.read_text() == "once " and not needs.out.exists()
    assert "done already: first" in capsys.readouterr().out
    assert on_a_gpu.run([replace(needs, after=first)], 60) == []


def test_when_the_time_is_up_the_running_job_is_stopped_and_the_rest_is_named(tmp_path):
    slow, never = Job(("-c", "import time; time.sleep(60)"), tmp_path / "slow"), write(tmp_path / "never")
    stopped, left = on_a_gpu.run([slow, never], 0.5)
    assert stopped.startswith("stopped when the time was up") and left.startswith("no time")
    assert not list(tmp_path.iterdir())


JOBS = on_a_gpu.jobs(Path("out"))


@pytest.mark.parametrize("name", sorted({job.command[1] for job in JOBS}))
def test_every_command_takes_the_arguments_that_it_is_given(name, monkeypatch):
    """Its own parser reads them; what it then would do is not done."""
    given = []
    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parsed_by(given))
    module = importlib.import_module("diffusion_probe.training.command" if name == "training" else name)
    for job in (job for job in JOBS if job.command[1] == name):
        with pytest.raises(Parsed):
            module.main(list(job.command[2:]))
    assert len(given) == sum(job.command[1] == name for job in JOBS)
    assert {one.model for one in given if hasattr(one, "model")} == set(on_a_gpu.MODELS)


class Parsed(Exception):
    """The arguments were read."""


def parsed_by(given):
    parse_args = argparse.ArgumentParser.parse_args

    def parse(self, *arguments, **options):
        given.append(parse_args(self, *arguments, **options))
        raise Parsed

    return parse


def test_the_list_can_be_typed_and_names_every_model_and_kind(capsys):
    assert on_a_gpu.main(["--out", "out", "--list"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert [tuple(shlex.split(line)[1:]) for line in printed] == [job.command for job in JOBS]
    assert all(any(word in line for line in printed) for word in (*on_a_gpu.REAL_SIZE, *on_a_gpu.TRAININGS))
