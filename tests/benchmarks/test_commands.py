"""Every benchmark is a command: its module has a parser that answers ``--help``."""

import importlib
import sys

import pytest

from training.client.paths import PACK_ROOT

COMMANDS = sorted(path.stem for path in (PACK_ROOT / "benchmarks").glob("*.py") if path.stem != "__init__")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_benchmark_says_how_it_is_called(name, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(f"benchmarks.{name}").main()
    assert ended.value.code == 0
    assert f"usage: python -m benchmarks.{name} " in capsys.readouterr().out
