"""Pages about reward models and previews."""

from .page import NAMES, Page, Results, Table, points, small


def parity_table(results: Results) -> list[Table]:
    """Return the difference of each reward model from its original."""
    rows = [
        [
            row["reward"],
            f"{row['parameters'] / 1e6:.0f} M",
            ", ".join(row["packages"][:2]),
            f"{row['images']} × {row['prompts']}",
            small(row["relative_difference"]),
            small(row["batch_difference"]),
        ]
        for record in results.values()
        for row in record["rows"]
    ]
    head = (
        "reward model",
        "parameters",
        "original packages",
        "images × prompts",
        "difference",
        "one batch against singles",
    )
    return [Table(head, rows)]


def parity_reading(results: Results) -> list[str]:
    """Return how large the differences are."""
    rows = [row for record in results.values() for row in record["rows"]]
    worst = max(rows, key=lambda row: row["relative_difference"])
    return [
        f"The largest difference is {small(worst['relative_difference'])} of the largest score ({worst['reward']}), "
        f"within the limit of {small(next(iter(results.values()))['limit'])}. This is the rounding of float32: the "
        f"pack's own scores differ by {small(worst['batch_difference'])} between one batch and single images.",
    ]


PARITY = Page(
    name="reward-parity",
    question="Do the reward models give the numbers of the original packages?",
    files={"clip": "parity_clip", "imagereward": "parity_imagereward"},
    method=lambda results: [
        "The original packages run in a process of their own with seeded random weights, on images of several sizes "
        "and prompts of several kinds (accents, entities, more words than fit). ImageReward is compared in its full "
        "size; the others in their real widths with two layers per tower.",
        "*Difference* is the largest difference of any score as a share of the largest score.",
    ],
    tables=parity_table,
    reading=parity_reading,
    limits=lambda results: [
        "No official weights were at hand, so the files themselves have not been loaded yet.",
        "Not measured: a GPU, and what weights in half precision cost.",
    ],
)


def skill_table(results: Results) -> list[Table]:
    """Return the correlation and spread of previews by progress of the run."""
    rows = []
    for name, record in results.items():
        skill = record["skill"]
        rows += [
            [f"{NAMES[name]}: {text}", *(points(value, digits) for value in skill[key])]
            for key, text, digits in (("correlation", "correlation", 2), ("spread", "spread", 3))
        ]
    progress = next(iter(results.values()))["skill"]["progress"]
    return [Table(("share of the run done", *(points(value) for value in progress)), rows)]


SKILL = Page(
    name="preview-skill",
    question="How well do previews, scored by the ground truth, predict a testbed's finished images?",
    files={"flux": "preview_skill_flux", "sdxl": "preview_skill_sdxl"},
    method=lambda results: [
        f"Decoded x0 of {results['flux']['prompts']} recorded *training* prompts of each testbed model, scored by "
        "the ground truth. The correlation is Pearson's between the score of the preview and the true reward of the "
        "finished image, within prompts; the spread is the standard deviation of the score between the seeds of a "
        "prompt.",
    ],
    tables=skill_table,
    reading=lambda results: [
        "The means of both models are the skill that the node Shapes Judge gives to Combine Probes "
        "(`testbed/scorer.py`).",
        "Previews of SDXL predict the end earlier than those of FLUX, perhaps because its schedule has passed a "
        "larger share of the noise at the same step.",
    ],
    limits=lambda results: [
        "The reward model is the ground truth of rendered scenes; a reward model on real previews predicts less "
        "early in a run.",
        "No intervals were computed.",
    ],
)

PAGES = (PARITY, SKILL)
