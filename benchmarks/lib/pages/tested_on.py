"""Page about the models and machines that the pack was measured on by ``benchmarks.on_your_model``."""

from .page import FOLDER, Page, Record, Results, Table, points

NAME = "tested_on"
FILES = {path.stem: f"{NAME}/{path.stem}" for path in sorted((FOLDER / NAME).glob("*.json"))}

TESTBED = 1e8
"""Weights below which a model is one of the testbeds."""

COLUMNS = (
    "model",
    "weights",
    "size, steps",
    "machine",
    "search, batch against single runs",
    "ρ of previews at 20, 30, 50 %",
    "seconds: image, batch, search",
    "peak GiB",
)


def row(record: Record) -> list[str]:
    """Return the cells of one result file."""
    here, seconds, exact = record["machine"], record["seconds"], record["exactness"]
    return [
        record["family"] if record["weights"] > TESTBED else f"testbed {record['family']}",
        f"{record['weights'] / 1e6:,.1f} M, {record['weight_type']}",
        f"{record['size'][0]} × {record['size'][1]}, {record['steps']} {record['sampler']}",
        here["accelerator"] or f"{here['processor']}, no GPU",
        f"{exact['search']:.1e}, {exact['batch']:.1e}",
        rhos(record),
        f"{points(seconds['image'], 1)}, {points(seconds['batch'], 1)} (of {record['candidates']}), "
        f"{points(seconds['search'], 1)}",
        points(max(record["peak_gib"].values()), 1),
    ]


def rhos(record: Record) -> str:
    """Return the correlations of previews with finished images at three moments."""
    by_step = {each["evaluation"]: each["rho"] for each in record["previews"]}
    found = [by_step.get(round(share * record["steps"])) for share in (0.2, 0.3, 0.5)]
    if all(value is None for value in found):
        return "–"
    texts = ", ".join("–" if value is None else points(value) for value in found)
    return f"{texts} ({record['reward']})"


def largest(results: Results) -> float:
    """Return the largest difference of a search's survivor."""
    return max(record["exactness"]["search"] for record in results.values())


PAGES: tuple[Page, ...] = (
    Page(
        name="tested-on",
        question="On which models and machines was the pack measured?",
        files=FILES,
        method=lambda results: [
            "`python -m benchmarks.on_your_model WORKFLOW.json --out FILE.json` measures the pack on your own model in "
            "20 minutes at most. Its file holds no prompts and no paths: send it in, and it is a row here.",
            "A search with one cut at 20 % and KSampler's own batch are compared with KSampler's single runs, as "
            "‖latent − single‖ / ‖single‖. *ρ* is Spearman's, of the rewards of previews and of the finished images of "
            "one prompt's seeds. The peak is that of the accelerator, without one that of the process.",
        ],
        tables=lambda results: [Table(COLUMNS, [row(record) for record in results.values()])],
        reading=lambda results: [
            f"The largest difference of a search's survivor from KSampler's image is {largest(results):.1e}.",
        ],
        limits=lambda results: [
            "One prompt and few seeds for each row: a ρ of eight seeds may be off by .3.",
            "Other programs ran on the machine of the testbeds meanwhile, so their seconds are too long.",
            "Files that others send in are not measured again.",
        ],
    ),
)[: len(FILES)]
"""The page; none while there is no file."""
