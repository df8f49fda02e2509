"""A vocabulary in the place of BERT's, which is not part of this pack."""

from pathlib import Path

from benchmarks.lib.parity_reference import PROMPTS


def write_vocabulary(path: Path) -> None:
    """Write a vocabulary as long as BERT's, with its special words where they are; then letters, pieces and words.

    Which words it holds makes no difference to how text is cut into them.
    """
    special = {0: "[PAD]", 100: "[UNK]", 101: "[CLS]", 102: "[SEP]", 103: "[MASK]"}
    letters = sorted({letter for prompt in PROMPTS for letter in prompt.lower() if not letter.isspace()})
    letters = list(dict.fromkeys([*letters, *"abcdefghijklmnopqrstuvwxyz0123456789"]))
    words = dict.fromkeys(word for prompt in PROMPTS[::3] for word in prompt.split())
    pieces = [f"##{piece}" for piece in (*letters, "ing", "ro", "ed", "left")]
    known = list(dict.fromkeys([*letters, *pieces, *words, "astro", "detail", "paint"]))
    lines = [special.get(number, f"[unused{number}]") for number in range(104)] + known
    lines += [f"filler{number}" for number in range(30522 - len(lines))]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
