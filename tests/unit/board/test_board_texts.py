"""Texts of the board in both languages, and the rules of its modules."""

import json
import re

import pytest

from training.client.paths import PACK_ROOT

SCRIPTS = {path.name: path.read_text(encoding="utf-8") for path in sorted((PACK_ROOT / "web").rglob("*.js"))}
SOURCE = "\n".join(SCRIPTS.values())


def texts(language: str) -> dict[str, str]:
    main = json.loads((PACK_ROOT / "locales" / language / "main.json").read_text(encoding="utf-8"))
    return main["diffusionProbe"]


def test_both_languages_have_the_same_texts_with_the_same_values_in_them():
    english, chinese = texts("en"), texts("zh")
    assert list(english) == list(chinese)
    for name, english_text in english.items():
        assert chinese[name] and set(re.findall(r"{\w+}", english_text)) == set(re.findall(r"{\w+}", chinese[name])), (
            name
        )


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_text_that_is_used_by_name_exists(script):
    assert set(re.findall(r'\btext\(\s*"(\w+)"', SCRIPTS[script])) <= set(texts("en"))


def test_no_text_is_left_over():
    unused = [name for name in texts("en") if f'"{name}"' not in SOURCE]
    assert unused == []


def test_one_file_calls_into_the_frontend():
    calls = re.compile(r"/scripts/|registerExtension|addDOMWidget|\bapp\.|\bapi\.|window\.|LiteGraph|\bfetch\(")
    assert [name for name, script in SCRIPTS.items() if calls.search(script)] == ["host.js"]


def test_nothing_is_made_from_markup_nor_patched_into_the_frontend():
    for banned in ("innerHTML", "outerHTML", "insertAdjacentHTML", "prototype", "onDraw", "eval(", "http:", "https:"):
        assert [name for name, script in SCRIPTS.items() if banned in script] == [], banned


def test_every_picture_of_a_help_page_is_there_and_small():
    folder = PACK_ROOT / "web" / "docs"
    shown = {
        name
        for page in folder.glob("*.md")
        for name in re.findall(r"!\[[^\]]+\]\(images/([\w.]+)\)", page.read_text(encoding="utf-8"))
    }
    files = {path.name: path.stat().st_size for path in (folder / "images").iterdir()}
    assert shown == set(files) and max(files.values()) < 60_000 and sum(files.values()) < 2_000_000
