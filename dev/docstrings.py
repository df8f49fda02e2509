"""Docstrings of a tree of Python files, and whether each starts as the house asks.

A function's docstring starts with a verb in the imperative; that of a module, class, property or constant with a noun,
or of a property with "Whether".
Private functions need none, but what they have is held to the same. Standard library only.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

VERBS = frozenset(
    """
    accept add align allow announce answer append apply ask assign attach attend average await begin bind blend
    block bound bring build calculate call cancel capture carry catch change check choose clear clip clone close
    collect combine compare compile complete compress compute concatenate configure connect contain continue convert
    copy correct count crop cut decide declare decode define delete deliver deny describe detach detect determine
    discard display divide do download drain draw drop embed encode end ensure enter estimate evaluate examine
    exchange exclude execute expand expect explain export extend extract extrapolate fail feed fetch fill filter
    find finish fit fix flatten fold follow forget fork format forward free freeze gather generate get give go group
    guard guess halt hand handle hash have help hide hold ignore import include increase index initialize insert
    inspect install instantiate interpolate interrupt join judge keep kill know label launch lay leave let limit
    link list listen load locate lock log look lower make map mark match mean measure merge mix modify move multiply
    name narrow normalise normalize note notice notify number observe obtain offer open order overwrite pack pad
    paint pair parse pass patch pause permit pick pin place plan plot poll pool postpone predict prepare print
    process produce project propose protect provide prune publish pull push put query queue quote raise randomize
    rank read receive recognise recognize recompute record recover reduce refer refuse register rehearse reject
    release remember remove rename render repeat replace report require reset resize resolve restart restore resume
    retrieve return reverse rewrite round run sample save say scale schedule score search see seek select send
    separate serialize serve set shift shorten show shrink shuffle shut sign silence skip slice smooth sort speak
    spell split stack stand start state steer stop store strip subtract suggest sum summarise summarize swap switch
    take tell test throw tile tokenize total trace track train transform translate trim truncate try turn undo
    unload unpack unwrap update upload use validate verify view visit wait walk want warn watch weigh weight widen
    withdraw wrap write yield zero
    """.split()
)
"""Verbs with which a function's docstring may start. A new one is added here."""

NO_NOUNS = frozenset(
    """
    what whether which who whom whose how where when why if because that this these those it they there so as not
    """.split()
)
"""Words with which no noun phrase starts."""


@dataclass(frozen=True)
class Docstring:
    """One docstring in a file.

    Attributes:
        path: of the file.
        line: where it starts.
        owner: what it describes: "module", "class", "function", "property" or "constant".
        name: of its owner.
        text: the docstring.
    """

    path: Path
    line: int
    owner: str
    name: str
    text: str

    @property
    def starts_as_asked(self) -> bool:
        """Whether it starts with a verb for a function, and with a noun for everything else."""
        words = self.text.split()
        first = words[0].strip("`*:,.;()\"'").lower() if words else ""
        if self.owner == "function":
            return first in VERBS
        return bool(first) and (first not in NO_NOUNS or (first == "whether" and self.owner == "property"))


def docstrings(path: Path) -> Iterator[Docstring]:
    """Find all docstrings of a file: of the module, classes, functions, and constants (a text behind an assignment)."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    yield from _of(path, tree, "module", path.stem)
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            yield from _of(path, node, "class", node.name)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _of(path, node, "property" if _is_property(node) else "function", node.name)
        yield from _of_constants(path, node)


def _of(path: Path, node: ast.AST, owner: str, name: str) -> Iterator[Docstring]:
    text = ast.get_docstring(node)
    if text is not None:
        yield Docstring(path, node.body[0].lineno, owner, name, text)


def _is_property(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    names = (getattr(one, "attr", getattr(one, "id", "")) for one in function.decorator_list)
    return any(name.endswith("property") for name in names)


def _of_constants(path: Path, node: ast.AST) -> Iterator[Docstring]:
    body = getattr(node, "body", None)
    if not isinstance(body, list):
        return
    for before, after in zip(body, body[1:]):
        if isinstance(before, ast.Assign | ast.AnnAssign) and _is_text(after):
            target = before.targets[0] if isinstance(before, ast.Assign) else before.target
            yield Docstring(path, after.lineno, "constant", ast.unparse(target), after.value.value)


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
