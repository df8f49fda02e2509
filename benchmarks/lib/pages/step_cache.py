"""Pages about what TC-Padé Cache is worth and what it costs."""

from collections.abc import Sequence

from .page import NAMES, Page, Record, Results, Table, listed, one, percent, points, settings

PRESETS = ("quality", "balanced", "fast", "fastest")

METHODS = {
    "pade11": "**pade11** (default)",
    "newton2": "newton2",
    "taylor1": "Taylor 1",
    "taylor2": "Taylor 2",
    "pade11_blocks": "pade11 on FLUX's blocks",
    "pade11_even": "pade11, even gaps",
    "fewer_steps": "fewer Euler steps",
    "easycache": "EasyCache",
    "reuse": "reuse",
    "reuse_even": "reuse, even gaps",
    "published": "published formula",
    "published_parts": "pade11 with modulation, stages and indicator",
    "tc_pade": "TC-Padé, all its parts as printed",
}

Column = tuple[int, str]
"""A number of steps and a preset."""


def columns(record: Record) -> list[Column]:
    """Return the columns of a model's table."""
    there = {row["preset"] for row in record["rows"]}
    return [(steps, preset) for steps in record["steps"] for preset in PRESETS if preset in there]


def cell_of(record: Record, column: Column, method: str) -> Record:
    """Return the figures of a method."""
    steps, preset = column
    return one(record["rows"], method=method, steps=steps, preset=preset)


def easy_cache(record: Record, column: Column) -> Record:
    """Return EasyCache with the fewest evaluations that are as many as the preset's or more, or else with the most."""
    needed = cell_of(record, column, "pade11")["nfe"]
    cached = [row for row in record["rows"] if row["method"] == "easycache" and row["steps"] == column[0]]
    enough = [row for row in cached if row["nfe"] >= needed]
    most = max(cached, key=lambda row: row["nfe"])
    return min(enough, key=lambda row: (row["nfe"], row["rel_l2"]), default=most)


def error(record: Record, column: Column, method: str) -> str:
    """Return a method's mean error."""
    if method != "easycache":
        return points(cell_of(record, column, method)["rel_l2"], 3)
    row = easy_cache(record, column)
    equal = row["nfe"] == cell_of(record, column, "pade11")["nfe"]
    return points(row["rel_l2"], 3) + ("" if equal else f" at {row['nfe']}")


def ratio(record: Record, column: Column, key: str, to: str) -> float:
    """Return pade11's error as a share of another method's."""
    return cell_of(record, column, "pade11")[key] / cell_of(record, column, to)[key]


def reward_change(row: Record) -> str:
    """Return the mean change of the true reward with its standard error, which a single image has not."""
    deviation = row["score_change_se"]
    margin = "" if deviation is None else f" ± {points(100 * deviation, 1)}"
    return f"{points(100 * row['score_change'], 1, sign=True)}{margin} %"


def error_table(record: Record) -> Table:
    """Return the errors of all methods, and more about the default."""
    there = {row["method"] for row in record["rows"]}
    own = columns(record)

    def share(to: str) -> list[str]:
        return [
            f"{points(ratio(record, column, 'rel_l2', to))} ({points(ratio(record, column, 'rel_l2_median', to))})"
            for column in own
        ]

    rows = [
        *([text, *(error(record, column, name) for column in own)] for name, text in METHODS.items() if name in there),
        *(
            [f"{name}, median image", *(points(cell_of(record, column, name)["rel_l2_median"], 3) for column in own)]
            for name in ("pade11", "reuse")
        ),
        ["pade11 as a share of reuse (of the medians)", *share("reuse")],
        ["pade11 as a share of reuse with even gaps", *share("reuse_even")],
        ["pade11, PSNR in dB", *(f"{cell_of(record, column, 'pade11')['psnr']:.0f}" for column in own)],
        [
            "pade11, true reward against the full run",
            *(reward_change(cell_of(record, column, "pade11")) for column in own),
        ],
    ]
    head = [f"{steps} steps, {preset}: {cell_of(record, (steps, preset), 'pade11')['nfe']}" for steps, preset in own]
    return Table(
        ("relative L2 error of the latent", *head),
        rows,
        f"Testbed {NAMES[record['model']]}, {record['seeds']} prompts:",
    )


def has_fastest(record: Record) -> bool:
    """Return whether a record has the preset at which TC-Padé states its fast setting, and structural similarity."""
    return any(row["preset"] == "fastest" and "ssim" in row for row in record["rows"])


def fastest_table(record: Record) -> Table:
    """Return more about each method at the first number of steps and the preset "fastest"."""
    steps = record["steps"][0]
    rows = [
        [
            METHODS[row["method"]],
            f"{row['nfe']} ({points(steps / row['nfe'])} ×)",
            points(row["rel_l2"], 3),
            f"{points(row['psnr'], 1)} dB",
            points(row["ssim"], 3),
            reward_change(row),
        ]
        for row in record["rows"]
        if row["steps"] == steps and row["preset"] == "fastest"
    ]
    head = ("method", f"evaluations of {steps}", "relative error", "PSNR", "SSIM", "true reward against the full run")
    return Table(head, rows, f"Testbed {NAMES[record['model']]} at the preset *fastest*:")


def cache_method(results: Results) -> list[str]:
    """Return what is compared with what."""
    flux = results["flux"]
    return [
        f"Held-out prompts of the testbed models, each from its own seed ({settings(flux)}; CFG "
        f"{results['sdxl']['cfg']:g} on SDXL). Every method samples the same prompts from the same seeds, and its "
        "final latents are compared with those of the full run: ‖latent − full‖ / ‖full‖, mean over images. The "
        "number behind a preset is how often the model ran, counted inside of every cache.",
        "The cache computes the first steps and then fewer and fewer, and predicts the others from the outputs "
        "computed; the plan is fixed before the run. All rows but *even gaps*, *fewer Euler steps* and *EasyCache* "
        "share one plan. *Even gaps* computes as many steps at equal distances, which is how reuse and its peers are "
        "published. EasyCache is ComfyUI's own, at as many evaluations or more where a threshold gave that.",
    ]


def span(values: Sequence[float]) -> str:
    """Return the least and the greatest of some numbers."""
    return f"{points(min(values))} to {points(max(values))}"


def cache_reading(results: Results) -> list[str]:
    """Return how the default compares with its peers."""
    flux, sdxl = results["flux"], results["sdxl"]

    def shares(record: Record, key: str, to: str) -> str:
        return span([ratio(record, column, key, to) for column in columns(record)])

    def lead(record: Record) -> str:
        better = [
            f"*{METHODS[name]}*"
            for name in ("fewer_steps", "easycache", "reuse", "reuse_even", "published")
            if all(beats(record, column, name) for column in columns(record))
        ]
        return listed(better)

    def change(name: str) -> str:
        row = cell_of(results[name], (results[name]["steps"][0], "balanced"), "pade11")
        return f"{reward_change(row)} on {NAMES[name]}"

    tipping = sdxl["steps"][0], "balanced"
    return [
        f"On FLUX the default is closer to the full run than {lead(flux)} in every column; its mean error is "
        f"{shares(flux, 'rel_l2', 'reuse_even')} of that of reuse with even gaps and "
        f"{shares(flux, 'rel_l2', 'reuse')} of that of reuse on the pack's own plan, which helps reuse as well. "
        "Which steps are computed is worth as much as how the others are predicted.",
        f"On SDXL the default is closer than {lead(sdxl)} in every column. Single images that tip over to another "
        f"composition (error up to {points(cell_of(sdxl, tipping, 'pade11')['rel_l2_max'])} at {tipping[0]} steps, "
        f"balanced) decide the means: there the default has {points(ratio(sdxl, tipping, 'rel_l2', 'reuse'))} of the "
        f"mean error of reuse, but {points(ratio(sdxl, tipping, 'rel_l2_median', 'reuse'))} of its median error.",
        f"The true reward at balanced and {flux['steps'][0]} steps differs from that of the full run by "
        f"{listed([change(name) for name in results])}. "
        "The difference on SDXL is that of single images that tip over, so whether the reward suffers is not known.",
    ]


def beats(record: Record, column: Column, name: str) -> bool:
    """Return whether the default has a smaller mean error than a method in a column."""
    other = easy_cache(record, column) if name == "easycache" else cell_of(record, column, name)
    return cell_of(record, column, "pade11")["rel_l2"] < other["rel_l2"]


CACHE = Page(
    name="step-cache",
    question="How close to the full run does a run stay when part of its evaluations is predicted?",
    files={"flux": "step_cache_flux", "sdxl": "step_cache_sdxl"},
    method=cache_method,
    tables=lambda results: [
        *map(error_table, results.values()),
        *(fastest_table(record) for record in results.values() if has_fastest(record)),
    ],
    reading=cache_reading,
    limits=lambda results: [
        "Measured with the schedule of the testbeds at these numbers of steps. Other schedules were tried on "
        "training prompts only ([notes](../notes/step-cache.md)); in a trial with few steps extrapolation was worse "
        "than reuse.",
        "Plan, predictor and settings were chosen on training prompts, over several rounds.",
        "Ancestral and SDE samplers get reuse instead of extrapolation.",
        "On videos, only a small Wan 2.1 with random weights was run; those figures have no result file and are in "
        "[the notes](../notes/step-cache.md).",
    ],
)


def cost_rows(results: Results) -> list[Table]:
    """Return what a predicted evaluation costs."""
    rows = [
        [
            record.get("dimensions", f"testbed {NAMES[record['model']]}"),
            f"{1000 * record['cost']['computed_seconds']:.0f} ms",
            f"{points(1000 * record['cost']['predicted_seconds'])} ms",
            percent(record["cost"]["share"], 3),
        ]
        for record in results.values()
    ]
    return [Table(("model", "computed evaluation", "predicted evaluation", "share"), rows)]


def cost_reading(results: Results) -> list[str]:
    """Return the shares on the testbeds and at real size."""
    shares = {name: record["cost"]["share"] for name, record in results.items()}
    tiny = [value for name, value in shares.items() if "real" not in name]
    real = max(value for name, value in shares.items() if "real" in name)
    return [
        f"On the testbed models a predicted evaluation costs {percent(min(tiny))} to {percent(max(tiny))} of a "
        f"computed one, since these models are tiny; at the dimensions of real models at most {percent(real, 3)}.",
    ]


COST = Page(
    name="step-cache-cost",
    question="What does a predicted evaluation cost?",
    files={
        "flux": "step_cache_flux",
        "sdxl": "step_cache_sdxl",
        "flux_real": "step_cache_flux_real_size",
        "sdxl_real": "step_cache_sdxl_real_size",
    },
    method=lambda results: [
        "Medians of computed and of predicted evaluations within the same runs, wrappers included, with the default "
        "settings, so that another load on the machine touches both. Processor time of one image with one torch "
        "thread. At real size the weights are random and bf16, 1024², without CFG.",
    ],
    tables=cost_rows,
    reading=cost_reading,
    limits=lambda results: [
        "At FLUX.1-dev's dimensions only some of its blocks were run.",
        "Overhead and memory on a GPU have not been measured.",
    ],
)

PAGES = (CACHE, COST)
