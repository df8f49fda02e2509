"""The figures in README are those of the result files that its comments name."""

import json
import re

import pytest
from diffusion_probe.training.client.paths import PACK_ROOT

FIGURE = re.compile(r"(?P<number>-?\d*\.?\d+)(?P<percent> %)? <!-- figure: (?P<file>\w+) (?P<key>.+?) -->")
STEP = re.compile(r"(\w+)(?:\[([^\]]*)\])?")
README = (PACK_ROOT / "README.md").read_text(encoding="utf-8")
FIGURES = [match.groupdict() for match in FIGURE.finditer(README)]


def value_at(results, key):
    """Look up a key such as ``rows[probe=joint,step=5].within_spearman``, which has to fit exactly one entry."""
    for name, wanted in STEP.findall(key):
        results = results[name]
        if wanted:
            # A comma in a value is followed by a space: "method=sequential, joint".
            conditions = dict(condition.split("=") for condition in re.split(r",(?! )", wanted))
            (results,) = (
                entry for entry in results if all(str(entry.get(field)) == value for field, value in conditions.items())
            )
    return results


def written(value, number, percent):
    """Write a value as a figure is written: with as many decimals, as a percentage, without a leading zero."""
    decimals = len(number.partition(".")[2])
    text = f"{100 * value if percent else value:.{decimals}f}"
    return text if number.startswith("0") else re.sub(r"^(-?)0\.", r"\1.", text)


def test_there_are_six_headline_figures_with_sources():
    rows = [line for line in README.splitlines() if "<!-- figure:" in line]
    assert len(rows) == 6 and all("](docs/results/" in row for row in rows)
    assert README.count("<!-- figure:") == len(FIGURES)


@pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: f"{figure['file']} {figure['key']}")
def test_a_figure_in_readme_is_that_of_its_result_file(figure):
    results = json.loads((PACK_ROOT / "benchmarks" / "results" / f"{figure['file']}.json").read_text(encoding="utf-8"))
    value = value_at(results, figure["key"])
    assert figure["number"] == written(value, figure["number"], figure["percent"])


def test_a_figure_is_compared_in_the_digits_that_it_has():
    assert [written(0.7734, ".77", None), written(1.26012, "1.26", None), written(0.0267, "2.7", " %")] == [
        ".77", "1.26", "2.7",
    ]  # fmt: skip
    assert written(0.784, ".77", None) != ".77"
