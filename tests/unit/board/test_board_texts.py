"""Texts of the board in both languages, and the rules of its modules."""

import json
import re

import pytest

from training.client.paths import PACK_ROOT

WEB = PACK_ROOT / "web"
SCRIPTS = {path.relative_to(WEB).as_posix(): path.read_text(encoding="utf-8") for path in sorted(WEB.rglob("*.js"))}
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


def test_one_adapter_calls_into_the_frontend():
    calls = re.compile(r"/scripts/|registerExtension|addDOMWidget|\bapp\.|\bapi\.|window\.|LiteGraph|\bfetch\(")
    callers = {name for name, script in SCRIPTS.items() if calls.search(script)}
    adapter = {name for name in SCRIPTS if name == "board/host.js" or name.startswith("board/host/")}
    assert callers == adapter and len(adapter) > 1


SVG_NAMESPACE = "http://www.w3.org/2000/svg"
"""Name of a namespace, which no browser fetches."""


def test_nothing_is_made_from_markup_nor_patched_into_the_frontend():
    for banned in ("innerHTML", "outerHTML", "insertAdjacentHTML", "prototype", "eval(", "http:", "https:"):
        used = [name for name, script in SCRIPTS.items() if banned in script.replace(SVG_NAMESPACE, "")]
        assert used == [], banned
    drawing = {name: re.findall(r"onDraw.*", script) for name, script in SCRIPTS.items() if "onDraw" in script}
    assert drawing == {"board/host.js": ["onDrawBackground = () => {};"]}, "of the pack's own nodes alone"


def test_every_picture_of_a_help_page_is_there_and_small():
    folder = PACK_ROOT / "web" / "docs"
    shown = {
        name
        for page in folder.glob("*.md")
        for name in re.findall(r"!\[[^\]]+\]\(images/([\w.]+)\)", page.read_text(encoding="utf-8"))
    }
    files = {path.name: path.stat().st_size for path in (folder / "images").iterdir()}
    assert shown == set(files) and max(files.values()) < 60_000 and sum(files.values()) < 2_000_000
