"""Writer of all that is taken from the result files: the pages of ``docs/results``, the model cards of the shipped
probes, and the constants of Combine Rewards.

``python -m benchmarks.tables``; with ``--check`` nothing is written, and the exit status is 1 where a file is not what
the results and the probe files give.
"""

import argparse
import sys
from pathlib import Path

from training.client.paths import PACK_ROOT

from .lib.cards import card_texts
from .lib.pages import PAGES, TOPICS
from .lib.pages.page import FOLDER, WRITTEN
from .lib.spreads import spreads_texts

DOCS = PACK_ROOT / "docs" / "results"


def index() -> str:
    """Return the list of all pages."""
    lines = [
        WRITTEN.format(source="benchmarks/lib/pages"),
        "# Results",
        "One page for each question: how it was measured, the command with its seed, the machine, the tables, what "
        "they show and what they do not. Every figure is taken from a file in "
        "[benchmarks/results](../../benchmarks/results); `python -m benchmarks.tables` writes the pages, and a test "
        "compares them. What was tried on the way is in [the notes](../notes/README.md).",
    ]
    for topic, pages in TOPICS.items():
        links = "\n".join(f"- [{page.question}]({page.name}.md)" for page in pages)
        lines += [f"## {topic}", links]
    return "\n\n".join(lines) + "\n"


def expected(results: Path = FOLDER) -> dict[Path, str]:
    """Return the text of every page, card and file of constants by its path.

    Args:
        results: the folder of the result files.
    """
    texts = {DOCS / "README.md": index()}
    texts |= {DOCS / f"{page.name}.md": page.text(results) for page in PAGES}
    return texts | card_texts(results) | spreads_texts(results)


def differences(results: Path = FOLDER) -> list[Path]:
    """Return the files that are missing, differ from what the results give, or belong to no question."""
    texts = expected(results)
    changed = [path for path, text in texts.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]
    folders = {path.parent for path in texts}
    return changed + [path for folder in sorted(folders) for path in folder.glob("*.md") if path not in texts]


def main(arguments: list[str] | None = None) -> int:
    """Write the files, or check them; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tables", description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 where a page differs")
    if parser.parse_args(arguments).check:
        names = [str(path.relative_to(PACK_ROOT)) for path in differences()]
        if names:
            print(f"These differ from the results: {', '.join(names)}. Run `python -m benchmarks.tables`.")
        return int(bool(names))
    for path, text in expected().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    print(f"Wrote {len(PAGES)} pages and their index to docs/results, the cards of the shipped probes, and constants.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
