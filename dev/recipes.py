"""The recipes of CONTRIBUTING.md as data: the files that each one touches, and how it is carried out in a tree.

A recipe is a section below ``## Recipes``. Each of its fenced blocks follows a line that says where its text goes:
a number, the file's path, and "a new file", "at the end", "take out", or "before", "after" or "in place of" a line.
That line is given by how it begins, and no other line of the file may begin so. The block after "Check:" holds commands
that run in the tree's root. Standard library only.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from training.client.paths import PACK_ROOT

GUIDE = PACK_ROOT / "CONTRIBUTING.md"

NEW, END, REMOVE = "a new file", "at the end", "take out"
BEFORE, AFTER, REPLACE = "before", "after", "in place of"
CHECK = "Check:"
SECTION = "## Recipes"

_HEAD = re.compile(
    rf"\d+\. `(?P<path>[^`]+)`, (?:(?P<whole>{NEW}|{END}|{REMOVE})"
    rf"|(?P<beside>{BEFORE}|{AFTER}|{REPLACE}) (?P<ticks>`+) ?(?P<line>.+?) ?(?P=ticks)):"
)
_TOP_LEVEL = re.compile(r"(async def|def|class) |@")


class RecipeError(ValueError):
    """A recipe that can't be read, or doesn't fit the tree; the message names the file and the line."""


@dataclass(frozen=True)
class Change:
    """One change of one file.

    Attributes:
        path: the file, from the tree's root.
        where: one of ``NEW``, ``END``, ``REMOVE``, ``BEFORE``, ``AFTER``, ``REPLACE``.
        line: how the line begins that the last three go by; empty otherwise.
        text: what goes there, or is taken out.
    """

    path: str
    where: str
    line: str
    text: str

    def applied(self, before: str | None) -> str:
        """Return the file's text after the change.

        Args:
            before: its text until now, None where there is no such file.

        Raises:
            RecipeError: the file, its line or the text to take out is missing, or is there twice.
        """
        if (before is None) != (self.where == NEW):
            raise RecipeError(f"{self.path} {'is there already' if self.where == NEW else 'does not exist'}.")
        if before is None:
            return self.text
        if self.where == END:
            return before + self._gap + self.text
        if self.where == REMOVE:
            self._require_one(before.count(self.text), self.text)
            return before.replace(self.text, "")
        lines = before.splitlines(keepends=True)
        numbers = [number for number, line in enumerate(lines) if line.strip().startswith(self.line)]
        self._require_one(len(numbers), self.line)
        at, line = numbers[0], lines[numbers[0]]
        lines[at] = {BEFORE: self.text + self._gap + line, AFTER: line + self.text, REPLACE: self.text}[self.where]
        return "".join(lines)

    @property
    def _gap(self) -> str:
        """Two empty lines between definitions of a module, as everywhere."""
        return "\n\n" if self.path.endswith(".py") and _TOP_LEVEL.match(self.text) else ""

    def _require_one(self, count: int, text: str) -> None:
        if count != 1:
            raise RecipeError(f"{self.path} has {count} places, instead of one, for: {text.splitlines()[0]}")


@dataclass(frozen=True)
class Recipe:
    """One recipe.

    Attributes:
        name: its heading without the article: "model family".
        changes: in the order in which they are made.
        checks: commands that succeed in the changed tree, run in its root.
    """

    name: str
    changes: tuple[Change, ...]
    checks: tuple[str, ...]

    @property
    def files(self) -> tuple[str, ...]:
        """The paths of the files that it touches, each once."""
        return tuple(dict.fromkeys(change.path for change in self.changes))

    def texts(self, root: Path) -> dict[str, str]:
        """Return the touched files' texts after the recipe, by path. Nothing is written.

        Raises:
            RecipeError: a change doesn't fit the tree.
        """
        texts: dict[str, str] = {}
        for change in self.changes:
            path = root / change.path
            there = path.read_text(encoding="utf-8") if path.is_file() else None
            texts[change.path] = change.applied(texts.get(change.path, there))
        return texts

    def carry_out(self, root: Path) -> None:
        """Change a tree's files.

        Raises:
            RecipeError: a change doesn't fit the tree; nothing is written then.
        """
        for name, text in self.texts(root).items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")


def recipes(guide: Path = GUIDE) -> dict[str, Recipe]:
    """Return the recipes by name.

    Raises:
        RecipeError: a block without a line that says where it goes, or such a line without a block.
    """
    section, bodies = "", {}
    for text, is_block in _prose_and_blocks(guide.read_text(encoding="utf-8")):
        if not is_block and text.startswith("## "):
            section = text
        elif section == SECTION and not is_block and text.startswith("### "):
            bodies[re.sub("^### (An? )?", "", text)] = []
        elif section == SECTION and bodies:
            bodies[list(bodies)[-1]].append((text, is_block))
    return {name: _recipe(name, body) for name, body in bodies.items()}


def files_touched(name: str) -> int:
    """Return how many files the recipe of that name touches."""
    return len(recipes()[name].files)


def _recipe(name: str, body: list[tuple[str, bool]]) -> Recipe:
    changes, checks, step = [], [], ""
    for text, is_block in body:
        if not is_block:
            if _HEAD.fullmatch(step):
                raise RecipeError(f'The recipe "{name}" has a step without a block: {step}')
            step = text
        elif step == CHECK:
            checks += text.splitlines()
        elif head := _HEAD.fullmatch(step):
            changes.append(Change(head["path"], head["whole"] or head["beside"], head["line"] or "", text))
            step = ""
        else:
            raise RecipeError(f'The recipe "{name}" has a block that follows no step: {text}')
    if not changes or not checks:
        raise RecipeError(f'The recipe "{name}" has {len(changes)} steps and {len(checks)} checks.')
    return Recipe(name, tuple(changes), tuple(checks))


def _prose_and_blocks(markdown: str) -> Iterator[tuple[str, bool]]:
    """Yield each line of prose that is not empty, and each fenced block's text, with whether it is a block."""
    lines = iter(markdown.splitlines())
    for line in lines:
        if fence := re.match("`{3,}(?!.*`)", line):
            yield "".join(f"{inside}\n" for inside in iter(lines.__next__, fence[0])), True
        elif line:
            yield line, False
