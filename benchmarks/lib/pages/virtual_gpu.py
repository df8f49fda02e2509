"""Page about what a search costs on graphics cards, counted without one."""

from .page import Page, Record, Results, Table, listed, points

COLUMNS = (
    "model",
    "card",
    "probe",
    "policy",
    "FLOPs ×",
    "bytes ×",
    "waits per call",
    "rows of a call",
    "plain",
    "bars",
)


def row(record: Record) -> list[str]:
    """Return the cells of one search."""
    missed = [name for name, kept in record["bars"].items() if not kept]
    return [
        record["model"],
        f"{record['card_gib']:g} GiB",
        record["probe"],
        record["policy"],
        points(record["flops_ratio"], 3),
        points(record["bytes_ratio"]),
        points(record["waits_per_joined_step"]),
        str(record["rows_per_call"]),
        str(record["plain_rows_per_call"]),
        f"not kept: {listed(missed)}" if missed else "kept",
    ]


def tables(results: Results) -> list[Table]:
    """Return a table with a row for each search."""
    return [Table(COLUMNS, [row(record) for record in results["cards"]["rows"]])]


def method(results: Results) -> list[str]:
    """Return what is counted, and how."""
    record = results["cards"]
    return [
        "ComfyUI and the pack run unchanged at the dimensions of the real models at 1024², on tensors that have shapes "
        "and no values (`dev/virtual_gpu`): operations are counted by their formulas, memory by storages, and a tensor "
        "on the wrong device is an error. A call of shapes that were computed before is counted without computing it.",
        f"A search of {record['candidates']} candidates with the budget of {record['budget']} images of "
        f"{record['steps']} steps is compared with {record['budget']} plain images in one batch, both from an empty "
        "card. *FLOPs ×* and *bytes ×* (between host and card, both directions, weights and all) are ratios to the "
        "plain images. *Waits per call* are reads of the card by the host for each call of the model, without those of "
        "ComfyUI's own start and end of a run, of loading and of the VAE. *Rows of a call* are model rows of the "
        "largest one, beside those of the plain batch.",
        "*Bars*: FLOPs at most 1.05 × by a trained probe, 1.08 × by previews with the fast decoder (SDXL 1.12 ×); "
        "bytes at most 1.25 × for one cut by a trained probe, 1.5 × for the sequential policy by one, and 2 × with the "
        "fast decoder; one wait per call; as many rows in a call as a plain batch has, or wait; no allocation fails "
        "that does not fail for the plain images. The full VAE has no bars of FLOPs and bytes.",
    ]


def reading(results: Results) -> list[str]:
    """Return what the table shows."""
    rows = results["cards"]["rows"]
    trained = [one for one in rows if one["probe"] == "trained probe"]
    cut = [one for one in trained if one["policy"] == "one cut"]
    fast = [one for one in rows if one["probe"] == "fast decoder"]
    full = [one for one in rows if one["probe"] == "full VAE"]
    return [
        f"By a trained probe a search takes at most {points(most(trained, 'flops_ratio'), 3)} times the FLOPs of the "
        f"plain images, by previews with the fast decoder {points(most(fast, 'flops_ratio'), 3)}, and with the full "
        f"VAE {points(most(full, 'flops_ratio'), 3)}. One cut by a trained probe moves at most "
        f"{points(most(cut, 'bytes_ratio'))} times their bytes.",
        missed_text(rows),
    ]


def missed_text(rows: list[Record]) -> str:
    """Return a sentence on the bars that are not kept."""
    bars = [kept for one in rows for kept in one["bars"].values()]
    missed = [(one, name) for one in rows for name, kept in one["bars"].items() if not kept]
    if not missed:
        return f"All {len(bars)} bars are kept."
    cards = listed(list(dict.fromkeys(f"{one['model']} with {one['card_gib']:g} GiB" for one, _ in missed)))
    text = f"{len(bars) - len(missed)} of {len(bars)} bars are kept; the others are of {cards}."
    if all(name == "rows" for _, name in missed):
        text += " There the search chose calls of fewer rows, which leave room for more of the weights."
    return text


def most(rows: list[Record], name: str) -> float:
    """Return the largest value of a column."""
    return max(row[name] for row in rows)


def limits(results: Results) -> list[str]:
    """Return what the figures do not show."""
    return [
        "Of the models and cards, those in the table were counted.",
        "Times of kernels, streams, fragmentation and ComfyUI's dynamic loading (comfy-aimdo) are not modelled.",
        "Scores on the virtual card are random, so which candidates continue is random, too.",
        "ImageReward is used for all reward models; the ones built on CLIP-H compute three times as much.",
    ]


PAGES = (
    Page(
        name="virtual-cards",
        question="What does a search cost on cards of 8 to 24 GiB?",
        files={"cards": "virtual_gpu"},
        method=method,
        tables=tables,
        reading=reading,
        limits=limits,
    ),
)
