"""The page about the testbed models themselves."""

from .page import NAMES, Page, Results, Table, percent, points

FIGURES = {
    "mean": "mean true reward",
    "within_std": "standard deviation between seeds of one prompt",
    "between_prompt_std": "standard deviation between prompts",
    "structural_share": "share of the variance between seeds that is structure",
    "seconds_per_image": "seconds per image",
    "true_scene_mean": "rendered true scenes",
    "one_fault_mean": "… with one planted fault",
    "two_fault_mean": "… with two",
}

FAULTS = {
    "presence": "an object missing",
    "colour": "a wrong colour",
    "count": "a wrong count",
    "relation": "a broken relation",
    "stray": "a stray object",
    "shape": "a wrong shape",
}


def quality_tables(results: Results) -> list[Table]:
    """Return the rewards of each model, and its mistakes."""
    head = ("", *(f"testbed {NAMES[name]}" for name in results))
    rows = [[text, *(points(record[key], 3) for record in results.values())] for key, text in FIGURES.items()]
    faults = [
        [text, *(percent(record["fault_rates"][key]) for record in results.values())] for key, text in FAULTS.items()
    ]
    means = [
        [part, *(points(record["part_means"][part]) for record in results.values())]
        for part in next(iter(results.values()))["part_means"]
    ]
    return [
        Table(head, rows),
        Table(head, faults, "Share of images with this mistake:"),
        Table(head, means, "Mean of each part of the reward, 1 where nothing is wrong:"),
    ]


QUALITY = Page(
    name="testbed",
    question="Is the testbed worth probing: how good are its images, and how much do seeds of one prompt differ?",
    files={"flux": "testbed_flux", "sdxl": "testbed_sdxl"},
    method=lambda results: [
        "{prompts} held-out prompts × {seeds} seeds on each testbed model, {steps} steps, ".format(
            **results["flux"]["settings"]
        )
        + f"CFG {results['flux']['settings']['cfg']:g} on FLUX and {results['sdxl']['settings']['cfg']:g} on SDXL, "
        "with the ground truth as reward. *Structure* is what is omitted, bound wrongly, miscounted or in the wrong "
        "position. The last rows are rewards of rendered images of held-out prompts instead of sampled ones.",
    ],
    tables=quality_tables,
    reading=lambda results: [
        "Images are often wrong, as those of large models are, and seeds of one prompt differ mostly in structure "
        f"({percent(results['flux']['structural_share'])} and {percent(results['sdxl']['structural_share'])} of the "
        "variance): there is something to choose among seeds.",
        f"Neither model has learnt spatial relations (a mean of {points(results['flux']['part_means']['relation'])} "
        f"and {points(results['sdxl']['part_means']['relation'])}, about chance), so these vary freely between seeds.",
    ],
    limits=lambda results: [
        "The scale of the ground truth was set after a first model had been seen ([card of the testbed "
        "FLUX](../../testbed/models/flux/README.md)).",
        "The machine was busy with other work while SDXL was timed.",
    ],
)

PAGES = (QUALITY,)
