"""The lines that a card is measured by, in a tiny form on the processor."""

import json
from dataclasses import replace

import pytest
from diffusion_probe.dev.random_models import random_flux


@pytest.fixture
def tiny(monkeypatch):
    """FLUX with two small blocks at 64²."""
    from benchmarks import gpu_lines
    from benchmarks.lib import real_size

    small = replace(
        real_size.REAL_SIZES["flux"],
        build=lambda seed: random_flux(seed, hidden_size=128, depth=1, depth_single_blocks=1),
        latent=(16, 8, 8),
        text={"tokens": 12, "context": 32, "pooled": 32},
        options={},
    )
    monkeypatch.setitem(real_size.REAL_SIZES, "flux", small)
    monkeypatch.setitem(gpu_lines.search_real_size.CANDIDATES, "flux", 2)
    return gpu_lines


@pytest.mark.benchmark
def test_all_lines_are_measured_with_their_bars(tiny, tmp_path, capsys):
    out = tmp_path / "lines.json"
    tiny.main(["--model", "flux", "--seed", "1", "--rounds", "1", "--steps", "10", "--out", str(out)])
    lines = json.loads(out.read_text())["lines"]
    bars = {each["what"]: each["bar"] for each in lines if each["bar"] is not None}
    assert sorted(bars.values()) == [0.005, 0.95, 1.0, 1.03]
    assert all(each["value"] is not None for each in lines)
    same = next(each for each in lines if "equal those" in each["what"])
    assert same["kept"] and same["value"] == 1.0
    assert "≥ 0.95" in capsys.readouterr().out


def test_a_bar_is_kept_from_its_own_side():
    from benchmarks.gpu_lines import line

    assert line("speed", 0.96, 0.95, least=True)["kept"] and not line("speed", 0.94, 0.95, least=True)["kept"]
    assert line("cost", 0.02, 0.03)["kept"] and not line("cost", 0.04, 0.03)["kept"]
    assert line("size", 7.0)["kept"]
