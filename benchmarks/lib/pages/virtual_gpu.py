"""Page about what a search costs on graphics cards, counted without one."""

from .page import Page, Record, Results, Table, points

COLUMNS = ("model", "card", "probe", "policy", "FLOPs ×", "bytes ×", "waits per call", "rows of a call", "plain")


def row(record: Record) -> list[str]:
    """Return the cells of one search."""
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
        "on the wrong device is an error.",
        f"A search of {record['candidates']} candidates with the budget of {record['budget']} images of "
        f"{record['steps']} steps stands beside {record['budget']} plain images in one batch, both from an empty card. "
        "*FLOPs ×* and *bytes ×* (between host and card, both directions, weights and all) are ratios to the plain "
        "images. *Waits per call* are reads of the card by the host for each call of the model, without those of "
        "ComfyUI's own start and end of a run and of loading. *Rows of a call* are those of the largest one, beside "
        "those of the plain batch.",
    ]


def reading(results: Results) -> list[str]:
    """Return what the table amounts to."""
    rows = results["cards"]["rows"]
    trained = [one for one in rows if one["probe"] == "trained probe"]
    cut = [one for one in trained if one["policy"] == "one cut"]
    return [
        f"By a trained probe a search takes at most {points(max(one['flops_ratio'] for one in trained), 3)} times the "
        f"FLOPs of the plain images, with one cut at most {points(max(one['bytes_ratio'] for one in cut))} times their "
        f"bytes, and waits at most {points(max(one['waits_per_joined_step'] for one in trained))} times per call.",
    ]


def limits(results: Results) -> list[str]:
    """Return what the figures do not show."""
    return [
        "Times of kernels, streams, fragmentation and ComfyUI's dynamic loading (comfy-aimdo) are not modelled.",
        "Scores on the virtual card are arbitrary, so which candidates continue is arbitrary, too.",
        "ImageReward stands for all reward models; the ones built on CLIP-H compute three times as much.",
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
