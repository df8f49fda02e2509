"""Schema of the board: Python's boards follow it, and JavaScript's copy is up to date."""

import json
import re
import subprocess
import sys
from dataclasses import fields

import pytest
from diffusion_probe.engine.board import schema
from diffusion_probe.engine.board.values import filter_board, outcome_board, score_board
from diffusion_probe.engine.core.scores import Look, Scores, SeedName
from diffusion_probe.engine.seed_search.outcome import CandidateOutcome, Outcome
from diffusion_probe.engine.selection.select import RAW, select

from dev import board_schema

PICTURE = "data:image/png;base64,AA=="
SCORES = Scores(
    (1.0, 2.0), (SeedName(2**63), SeedName(8, 1)), "a probe", "quality", "20%", 5, True,
    looks=(Look(PICTURE, (("red", PICTURE),)), Look()),
)  # fmt: skip
OUTCOME = Outcome(
    (
        CandidateOutcome(SeedName(1), 0, ((2, 0.5),), 10, 4, 10, True),
        CandidateOutcome(SeedName(2), 1, (), 0, 0, 0, False, mark="pinned"),
    ),
    10, 1, "a probe", "quality", False,
)  # fmt: skip
BOARDS = {
    "score": score_board(SCORES),
    "filter": filter_board(SCORES, select(SCORES, threshold=1.5, threshold_on=RAW), 1.5, RAW),
    "search": outcome_board(OUTCOME, [None, None], 0.25),
}


def is_picture(value):
    return isinstance(value, str) and re.match(r"data:image/(jpeg|png|webp);", value) is not None


FOLLOWS = {  # written anew: neither the dataclasses nor events.js
    "text": lambda value, field: isinstance(value, str),
    "flag": lambda value, field: isinstance(value, bool),
    "number": lambda value, field: isinstance(value, int | float) and not isinstance(value, bool),
    "count": lambda value, field: type(value) is int and value >= 0,
    "choice": lambda value, field: value in field["choices"],
    "picture": lambda value, field: is_picture(value),
    "texts": lambda value, field: isinstance(value, list) and all(isinstance(each, str) for each in value),
    "pictures": lambda value, field: all(name.isdigit() and is_picture(url) for name, url in value.items()),
}


def malformed(values, kind):
    """Names of the fields that are missing, unknown, or not of their type."""
    known = schema.schema_of(kind)
    wrong = known.keys() ^ (values.keys() - {"rows"})
    for name, field in known.items():
        value = values.get(name)
        follows = field.get("nullable", False) if value is None else FOLLOWS[field["type"]](value, field)
        wrong |= set() if follows else {name}
    return wrong


@pytest.mark.parametrize("name", BOARDS)
def test_every_board_has_the_fields_of_the_schema_and_no_other(name):
    values = json.loads(json.dumps(BOARDS[name].values(), allow_nan=False))
    assert values["kind"] == name and malformed(values, schema.Board) == set()
    assert [malformed(row, schema.Row) for row in values["rows"]] == [set(), set()]


def test_the_file_that_javascript_reads_is_up_to_date():
    assert board_schema.FILE.read_text(encoding="utf-8") == board_schema.script()


def test_the_file_names_every_field():
    text = board_schema.FILE.read_text(encoding="utf-8")
    for kind in (schema.Board, schema.Row, schema.EventHead):
        assert all(re.search(rf"^  {field.name}: ", text, re.M) for field in fields(kind) if field.name != "rows")


def test_check_fails_on_a_file_that_is_not_up_to_date(monkeypatch, tmp_path):
    stale = tmp_path / "schema.js"
    stale.write_text("// old\n", encoding="utf-8")
    monkeypatch.setattr(board_schema, "FILE", stale)
    monkeypatch.setattr(board_schema, "PACK_ROOT", tmp_path)
    monkeypatch.setattr(sys, "argv", ["board_schema", "--check"])
    with pytest.raises(SystemExit, match="does not follow the schema. Run python -m dev.board_schema"):
        board_schema.main()
    monkeypatch.setattr(sys, "argv", ["board_schema"])
    board_schema.main()
    assert stale.read_text(encoding="utf-8") == board_schema.script()


def test_the_schema_needs_neither_torch_nor_comfyui():
    code = "import sys, dev.board_schema; assert not {'torch', 'comfy', 'numpy'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], cwd=board_schema.PACK_ROOT, check=True, timeout=60)


def test_a_field_of_an_unknown_type_is_refused():
    class Odd(schema.Row):
        pass

    Odd.__annotations__ = {"row": bytes}
    with pytest.raises(TypeError, match="no name for the type"):
        schema.schema_of(Odd)
