"""Page of the board's protocol in the documents: it names all fields of the schema and all answers, and no others."""

import re
from dataclasses import fields

import pytest
from diffusion_probe.engine.board.schema import Board, EventHead, Row
from diffusion_probe.engine.core.marks import MARKS

from training.client.paths import PACK_ROOT

ANSWERS = {"hello", "go", "boards", "picture", *MARKS}


def tables():
    """Return the names in the first column of each table of the section, without heads, in their order."""
    page = (PACK_ROOT / "docs" / "formats.md").read_text(encoding="utf-8")
    section = page.split("## Board protocol")[1].split("\n## ")[0]
    found = re.findall(r"^\|[-|]+\|\n((?:\|.*\n)+)", section, re.M)
    return [
        {name for row in table.splitlines() for name in re.findall(r"`(\w+)`", row.split("|")[1])} for table in found
    ]


@pytest.mark.parametrize(
    ("table", "names"),
    [(0, EventHead), (1, Board), (2, Row), (3, None)],
    ids=["event", "board", "row", "answers"],
)
def test_the_page_of_the_protocol_names_every_field_and_answer(table, names):
    expected = ANSWERS if names is None else {each.name for each in fields(names)}
    assert tables()[table] == expected and len(tables()) == 4
