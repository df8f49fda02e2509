"""Pages about whether the pack's images are stock's."""

from collections import Counter
from collections.abc import Sequence

from .page import Page, Record, Results, Table, counted, listed, small

EXACT, ELSEWHERE = "exact", "not for this model"


def ways(rows: Sequence[Record]) -> list[str]:
    """Return the ways of running a MODEL in their order."""
    return list(dict.fromkeys(row["way"] for row in rows if "way" in row))


def names(words: Sequence[str]) -> str:
    """Return names in italics, as some have commas of their own."""
    return listed([f"*{word}*" for word in words])


def way_table(results: Results) -> list[Table]:
    """Return a table of the ways, and one of the nodes that stock or the pack does not run."""
    rows = results["exactness"]["rows"]
    cells = []
    for way in ways(rows):
        mine = [row for row in rows if row.get("way") == way]
        verdicts = Counter(row["verdict"] for row in mine)
        others = [f"{count} {verdict}" for verdict, count in verdicts.items() if verdict != EXACT]
        worst = max(row["difference"] for row in mine if row["difference"] is not None)
        limit = max(row["limit"] for row in mine)
        cells.append([way, small(limit), small(worst), str(verdicts[EXACT]), ", ".join(others) or "none"])
    head = (
        "way of running the MODEL",
        "largest difference allowed",
        "largest difference",
        "cells exact",
        "other cells",
    )
    return [Table(head, cells), left_out_table(rows)]


def left_out_table(rows: Sequence[Record]) -> Table:
    """Return the nodes that show nothing on any of the models, with the reason."""
    exact = {row["node"] for row in rows if row["verdict"] == EXACT}
    reasons: dict[str, str] = {}
    for row in rows:
        if row["node"] not in exact:
            reasons.setdefault(row["node"], row["note"] or "it changes nothing on these models")
    return Table(
        ("core node", "why it shows nothing here"), sorted(map(list, reasons.items())), "Nodes without an exact cell:"
    )


def exactness_reading(results: Results) -> list[str]:
    """Return what the table of core nodes shows."""
    rows = results["exactness"]["rows"]
    exact, all_nodes = {row["node"] for row in rows if row["verdict"] == EXACT}, {row["node"] for row in rows}
    bitwise = [way for way in ways(rows) if not any(row.get("difference") for row in rows if row.get("way") == way)]
    others = [way for way in ways(rows) if way not in bitwise]
    worst = max(row["difference"] or 0 for row in rows if row.get("way") in others)
    refused = Counter((row["node"], row["model"], row["way"]) for row in rows if row["verdict"] == "refused")
    nodes = listed(sorted({f"{node} on {model}" for node, model, _ in refused}))
    return [
        f"Beside {len(exact)} of {len(all_nodes)} core nodes that patch a MODEL, {names(bitwise)} gave stock's "
        f"images bit for bit, and {names(others)} stayed within {small(worst)}. The other "
        f"{len(all_nodes) - len(exact)} nodes do nothing on the models here, or are made for models of video and "
        "pixels.",
        f"Refused with a sentence were {counted(sum(refused.values()), 'cell')}, all of {nodes}.",
    ]


def exactness_method(results: Results) -> list[str]:
    """Return how the pack is compared with stock beside core nodes."""
    models = list(dict.fromkeys(row["model"] for row in results["exactness"]["rows"]))
    return [
        "Every node of ComfyUI's core that takes a MODEL and returns one is found in its registry. Each is put "
        f"before and after the pack's nodes on small models with random weights ({listed(models)}), and the result "
        "is compared with the stock KSampler with the same core node.",
        "The difference is ‖latent − stock latent‖ / ‖stock latent‖ of the worst row of a batch. A cell counts as "
        "exact if the node changes the stock image at all and the difference is within what is allowed. An idle "
        "cache has all its hooks in place and predicts nothing.",
    ]


def sampler_table(results: Results) -> list[Table]:
    """Return a row for each sampler, the largest difference first."""
    rows = sorted(results["samplers"]["rows"], key=lambda row: -row["search"])
    head = ("sampler", "Seed Search", "Seed Search, max rows 1", "stock, outputs rounded once more")
    return [
        Table(head, [[row["sampler"], *(small(row[key]) for key in ("search", "one_row", "rounding"))] for row in rows])
    ]


def sampler_reading(results: Results) -> list[str]:
    """Return how far a search and rounding alone move an image."""
    rows = results["samplers"]["rows"]
    far, rounded = (max(rows, key=lambda row, key=key: row[key]) for key in ("search", "rounding"))
    identical = sum(row["one_row"] == 0 for row in rows)
    return [
        f"Over {results['samplers']['steps']} steps no survivor was further than {small(far['search'])} "
        f"({far['sampler']}) from the KSampler of its seed with any of {len(rows)} samplers. With max rows 1, where "
        f"no two candidates share a call, {identical} of {len(rows)} are bit-identical.",
        "What remains is the rounding of another batch size, which a sampler can amplify: one rounding in every "
        f"output of the model moves the stock image of {rounded['sampler']} by {small(rounded['rounding'])}.",
    ]


EXACTNESS = Page(
    name="exactness",
    question="Are the pack's images stock's, whatever core node patches the MODEL?",
    files={"exactness": "exactness"},
    method=exactness_method,
    tables=way_table,
    reading=exactness_reading,
    limits=lambda results: [
        "The models are small and have random weights; everything is computed in fp32 on a CPU.",
        "Half precision on a GPU, whose kernels are chosen by the batch size, is not measured.",
        "Nodes of other packs are not tried.",
    ],
)

SAMPLERS = Page(
    name="sampler-exactness",
    question="How far is a survivor of Seed Search from the KSampler of its seed, sampler by sampler?",
    files={"samplers": "sampler_exactness_flux"},
    method=lambda results: [
        "A search of three candidates on a small FLUX with random weights, in fp32, with each sampler of ComfyUI's "
        "core. Each of two survivors is compared with the stock KSampler of its seed: ‖survivor − stock‖ / ‖stock‖, "
        "the worse of the two.",
        "The last column is a stock run in which every output of the model is wrong by one rounding of fp32: it "
        "shows what a sampler makes of rounding alone.",
    ],
    tables=sampler_table,
    reading=sampler_reading,
    limits=lambda results: [
        "`dpm_adaptive` chooses its steps by a small error estimate and takes hundreds of evaluations; it is left "
        "out here. Seed Search gives its candidates calls of their own.",
        "One small model with random weights, on a CPU.",
    ],
)

PAGES = (EXACTNESS, SAMPLERS)
