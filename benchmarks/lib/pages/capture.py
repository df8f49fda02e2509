"""Pages about what capturing features costs."""

from .page import NAMES, Page, Record, Results, Table, percent, points

COLUMNS = (
    "testbed model",
    "rows",
    "moments",
    "rounds",
    "time ×",
    "range of rounds",
    "processor time ×",
    "memory at the peak",
    "latents",
)


def cost_row(record: Record) -> list[str]:
    """Return the cells of one result file."""
    return [
        NAMES[record["model"]],
        str(record["rows"]),
        record["moment"],
        str(record["rounds"]),
        points(record["ratio_median"], 3),
        f"{points(record['ratio_min'])} to {points(record['ratio_max'])}",
        points(record["cpu_ratio_median"], 3),
        f"{points(record['extra_peak_mb'], 1, sign=True)} MB",
        "bit-identical" if record["bit_identical"] else "DIFFERENT",
    ]


def cost_tables(results: Results) -> list[Table]:
    """Return a table with a row for each result file."""
    return [Table(COLUMNS, [cost_row(record) for record in results.values()])]


def pairing(results: Results) -> list[str]:
    """Return how plain runs and runs with a capture are compared."""
    steps = next(iter(results.values()))["steps"]
    return [
        f"Plain runs of {steps} steps and runs with a capture take turns in one process. The time of a run with a "
        "capture is divided by the mean of the two plain runs around it, so that a machine that becomes slower or "
        "faster cancels out; the median over rounds counts. The final latents of each pair have to be bit-identical.",
        "Processor time is disturbed less by other programs than wall-clock time. Memory is the highest resident "
        "size of the process (VmHWM), less that of the neighbours.",
    ]


def moment_reading(results: Results) -> list[str]:
    """Return what the cost of one moment amounts to."""
    batch, single, sdxl = (results[name] for name in ("flux", "one_row", "sdxl"))
    return [
        f"A run of the testbed FLUX with a capture at {batch['moment']} takes {points(batch['ratio_median'], 3)} "
        f"times as long as a plain one with {batch['rows']} rows, and {points(single['ratio_median'], 3)} times with "
        f"{single['rows']}. The record of the batch takes {points(batch['stored_mb'], 1)} MB.",
        f"On the testbed SDXL the median is {points(sdxl['ratio_median'], 2)}, but single rounds range from "
        f"{points(sdxl['ratio_min'])} to {points(sdxl['ratio_max'])}: nothing below a few per cent can be seen "
        f"there. Its processor time is {percent(sdxl['cpu_ratio_median'] - 1)} above that of a plain run.",
    ]


def recording_reading(results: Results) -> list[str]:
    """Return what a recording amounts to."""
    flux, sdxl = results["flux"], results["sdxl"]
    stored = ", ".join(
        f"{1024 * record['stored_mb'] / record['rows'] / len(record['moment'].split(',')):.0f} KiB ({NAMES[name]})"
        for name, record in results.items()
    )
    return [
        f"Recording all features at {flux['moment']} makes a run of the testbed FLUX take "
        f"{points(flux['ratio_median'])} times as long, one of the testbed SDXL {points(sdxl['ratio_median'])} "
        "times. Why SDXL costs more was not looked into. No model evaluation is added.",
        f"Held in memory are {stored} for each row and moment.",
    ]


CAPTURE = Page(
    name="capture-overhead",
    question="What does capturing one moment of a run cost in time and memory?",
    files={
        "flux": "capture_overhead_flux",
        "one_row": "capture_overhead_flux_1row",
        "sdxl": "capture_overhead_sdxl",
    },
    method=pairing,
    tables=cost_tables,
    reading=moment_reading,
    limits=lambda results: [
        "The testbed models are tiny, so a capture is a larger share of a run than on a real model.",
        "The machine of the SDXL row was busy with other work.",
        "At the dimensions of FLUX.1-dev (`--real-size`, on a GPU) this has not been measured.",
    ],
)

RECORDING = Page(
    name="recording-overhead",
    question="What does recording a dataset cost while an image is sampled?",
    files={"flux": "recording_overhead_flux", "sdxl": "recording_overhead_sdxl"},
    method=pairing,
    tables=cost_tables,
    reading=recording_reading,
    limits=lambda results: [
        "Other programs ran on the machine at the same time.",
        "Judging the images by a reward model and writing the dataset are not in these times.",
        "What a recording of FLUX at real size takes on disk follows from the shapes and has no result file; [the "
        "notes](../notes/recording.md) state it.",
        "At real size the time has not been measured.",
    ],
)

PAGES = (CAPTURE, RECORDING)
