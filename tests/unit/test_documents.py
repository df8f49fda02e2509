"""The documents: their links, their sizes and what they never say."""

import json
import re
from dataclasses import fields
from itertools import chain

import pytest
from diffusion_probe.engine.board.schema import Board, EventHead, Row
from diffusion_probe.probe_models.probe_card import ProbeCard
from diffusion_probe.training.client.paths import PACK_ROOT
from diffusion_probe.training.dataset.header import Header
from diffusion_probe.training.dataset.run_record import RecordedMoment, RunRecord

from dev.house import MOST_BYTES

DOCUMENTS = sorted(
    chain(
        PACK_ROOT.glob("*.md"),
        PACK_ROOT.glob("docs/**/*.md"),
        PACK_ROOT.glob("engine/**/*.md"),
        PACK_ROOT.glob("testbed/**/*.md"),
        PACK_ROOT.glob("web/docs/*.md"),
    )
)
"""Every document that a user or a contributor reads."""

RUN = RunRecord("key", "a prompt", (7,), 25, ("a",), (RecordedMoment(5, 1.0, 0.2),), {"truth": (1.0,)})
WRITTEN = (ProbeCard, Header, RecordedMoment, Board, Row, EventHead)
"""Classes whose fields are written as they are to probe files, datasets and events of boards."""

PROJECT = PACK_ROOT / "pyproject.toml"
OWNED = re.search(r'^Repository = "(.+)"$', PROJECT.read_text(encoding="utf-8"), re.MULTILINE)[1]
"""The address of the repository, which belongs to a person's account (CONTRIBUTING, "Publish")."""

REPOSITORY = f"{OWNED}/blob/main/"
"""What help pages write before the path of a document, as they are read in ComfyUI."""

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"^```.*?^```|^ {4}.*?$|`[^`\n]*`", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#+ +(.+?)\s*$", re.MULTILINE)
BACKTICKED_PATH = re.compile(r"`([\w.]+(?:/[\w.-]*)+)`")


def test_every_address_of_the_repository_follows_the_one_in_pyproject():
    raw = f"https://raw.githubusercontent.com/{OWNED.removeprefix('https://github.com/')}/main/"
    pictures = re.findall(r'^(?:Icon|Banner) = "(.+)"$', PROJECT.read_text(encoding="utf-8"), re.MULTILINE)
    assert [(PACK_ROOT / each.removeprefix(raw)).is_file() for each in pictures] == [True, True]
    publish = (PACK_ROOT / ".github/workflows/publish.yml").read_text(encoding="utf-8")
    assert f"github.repository == '{OWNED.removeprefix('https://github.com/')}'" in publish
    for page in (PACK_ROOT / "web/docs").glob("*.md"):
        links = re.findall(r"https://github\.com/\S+?/blob/main/docs/", page.read_text(encoding="utf-8"))
        assert set(links) <= {f"{REPOSITORY}docs/"}, page.name


def named(path):
    return path.relative_to(PACK_ROOT).as_posix()


def read(path):
    return path.read_text(encoding="utf-8")


def anchors(text):
    """Return the anchors that GitHub gives to a document's headings."""
    return {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in HEADING.findall(text)}


def broken_links(path, text):
    """List the links of a document into the repository that lead nowhere."""
    broken = []
    for link in LINK.findall(CODE.sub("", text)):
        folder = PACK_ROOT if link.startswith(REPOSITORY) else path.parent
        file, _, anchor = link.removeprefix(REPOSITORY).partition("#")
        if re.match(r"\w+:", file):
            continue
        target = (folder / file).resolve() if file else path
        if not target.exists() or (anchor and anchor not in anchors(read(target))):
            broken.append(link)
    return broken


@pytest.mark.parametrize("path", DOCUMENTS, ids=named)
def test_every_relative_link_leads_somewhere(path):
    assert broken_links(path, read(path)) == []


def test_a_link_to_a_missing_file_or_heading_counts_as_broken():
    path = PACK_ROOT / "docs" / "search.md"
    text = "[a](search.md) [b](search.md#policies) [c](gone.md) [d](search.md#gone) `[e](gone.md)` [f](https://x.y)"
    assert broken_links(path, f"{text} [g]({REPOSITORY}docs/gone.md) [h]({REPOSITORY}docs/search.md#policies)") == [
        "gone.md", "search.md#gone", f"{REPOSITORY}docs/gone.md",
    ]  # fmt: skip


@pytest.mark.parametrize("name", MOST_BYTES)
def test_a_front_document_is_short(name):
    assert (PACK_ROOT / name).stat().st_size <= MOST_BYTES[name]


def test_no_document_says_asked_of_it():
    assert [named(path) for path in DOCUMENTS if "asked of it" in read(path).lower()] == []


def test_every_path_that_the_architecture_names_exists():
    paths = BACKTICKED_PATH.findall(read(PACK_ROOT / "ARCHITECTURE.md"))
    inside = {
        "hub/",
        "policies/",
        "hooks/",
        "prompt/",
        "dataset/",
        "metrics/",
        "fitting/",
        "client/",
        "fleet/",
    }  # of a room
    missing = [path for path in paths if path not in inside and not (PACK_ROOT / path).exists()]
    assert len(paths) > 30 and missing == []


def test_the_formats_name_every_field_of_what_is_written():
    text = read(PACK_ROOT / "docs" / "formats.md")
    names = [each.name for kind in WRITTEN for each in fields(kind)] + list(json.loads(RUN.to_json()))
    assert [name for name in names if f"`{name}`" not in text] == []


def test_the_changelog_has_an_entry_for_the_version_of_the_pack():
    (version,) = re.findall(r'^version = "(.+)"$', read(PACK_ROOT / "pyproject.toml"), re.MULTILINE)
    assert f"\n## [{version}] - " in read(PACK_ROOT / "CHANGELOG.md")


def test_every_decision_is_on_the_list_of_decisions():
    folder = PACK_ROOT / "docs" / "decisions"
    pages = {page.name for page in folder.glob("*.md")} - {"README.md"}
    assert pages == set(LINK.findall(read(folder / "README.md")))
