"""Pages about reward models and previews."""

from collections.abc import Sequence

from .page import INTERVALS, NAMES, Page, Record, Results, Table, estimate, one, percent, points, small


def parity_table(results: Results) -> list[Table]:
    """Return the difference of each reward model from its original, and the tensors of the published files."""
    rows = [
        [
            row["reward"],
            f"{row['parameters'] / 1e6:.0f} M",
            ", ".join(row["packages"][:2]),
            f"{row['images']} × {row['prompts']}",
            small(row["relative_difference"]),
            small(row["batch_difference"]),
        ]
        for row in compared_rows(results)
    ]
    head = (
        "reward model",
        "parameters",
        "original packages",
        "images × prompts",
        "difference",
        "one batch against singles",
    )
    layouts = [
        [row["reward"], row["file"], str(row["tensors"]), f"{row['parameters'] / 1e6:.1f} M"]
        for row in results["layouts"]["rows"]
    ]
    return [Table(head, rows), Table(("reward model", "file", "tensors", "parameters"), layouts)]


def compared_rows(results: Results) -> list[dict]:
    """Return the rows of all comparisons of scores."""
    return [row for name, record in results.items() if name != "layouts" for row in record["rows"]]


def parity_reading(results: Results) -> list[str]:
    """Return how large the differences are."""
    rows = compared_rows(results)
    worst = max(rows, key=lambda row: row["relative_difference"])
    return [
        f"The largest difference is {small(worst['relative_difference'])} of the largest score ({worst['reward']}), "
        f"within the limit of {small(results['clip']['limit'])}. This is the rounding of float32: the "
        f"pack's own scores differ by {small(worst['batch_difference'])} between one batch and single images.",
    ]


PARITY = Page(
    name="reward-parity",
    question="Do the reward models give the numbers of the original packages?",
    files={
        "clip": "parity_clip",
        "imagereward": "parity_imagereward",
        "spm": "parity_spm",
        "layouts": "reward_layouts",
    },
    method=lambda results: [
        "The original packages run in a process of their own with seeded random weights, on images of several sizes "
        "and prompts of several kinds (accents, entities, more words than fit). ImageReward is compared in its full "
        "size; the others in their real widths with two layers per tower. The original of SPM is the code of its "
        "authors, at another timestep for each prompt.",
        "Second table: the authors' own classes in full size, without weights, have the tensors of the published "
        "files. Each reward model of this pack was built from their names and shapes, with none missing or left over.",
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

WAYS = {
    "moment": "the spread at the same moment (Combine Rewards)",
    "finished": "the spread of finished images",
    "prompt": "the spread of the prompt's own images",
    "none": "nothing: the raw scores are averaged",
}
LOOKS = {"finished": "finished images", "preview": "previews", "noise_aware": "noise-aware scores"}
JUDGED = ("flux", "sdxl")
LEVELS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0)
"""Noise levels whose spreads are shown."""


def looks_of(record: Record) -> list[tuple[str, float]]:
    """Return the kinds of score and shares of the run that were chosen from, in the order of the file."""
    return list(dict.fromkeys((row["scores"], row["share"]) for row in record["gains"]))


def look_name(kind: str, share: float) -> str:
    """Return what was chosen from."""
    return LOOKS[kind] if share == 1 else f"{LOOKS[kind]} at {percent(share)}"


def gain_tables(record: Record) -> list[Table]:
    """Return what each choice earns under each reward, a table for each model."""
    under = list(record["spreads"])
    tables = []
    for model in JUDGED:
        rows = []
        for kind, share in looks_of(record):
            for by in dict.fromkeys(row["by"] for row in record["gains"]):
                found = [
                    one(record["gains"], model=model, scores=kind, share=share, by=by, under=name) for name in under
                ]
                name = "**mean of all**" if by == "mean" else by
                cells = [f"{estimate(row['gain'], row['ci'])} ({percent(row['of_best'])})" for row in found]
                rows.append([look_name(kind, share), name, *cells])
        tables.append(Table(("chosen from", "by", *(f"under {name}" for name in under)), rows, f"{NAMES[model]}:"))
    return tables


def spread_table(record: Record) -> Table:
    """Return the within-prompt spread of each reward's previews by noise level."""
    rows = [
        [f"{name}, {NAMES[model]}", *(f"{one(levels, percent=level)['spread']:.3g}" for level in LEVELS)]
        for name, models in record["spreads"].items()
        for model, levels in models.items()
    ]
    head = ("spread at a noise level of", *(percent(level) for level in LEVELS))
    return Table(head, rows, "By which the rewards are standardised, from the prompts for designing (0: pure noise):")


def judge_tables(results: Results) -> list[Table]:
    """Return gains, agreement, spreads, and the comparison of ways to standardise."""
    record = results["judges"]
    agreement = [
        [f"{row['first']} and {row['second']}", NAMES[row["model"]], estimate(row["spearman"], row["ci"])]
        for row in record["agreement"]
    ]
    ways = [
        [text, *(points(one(record["design"], model=model, scores=kind, share=share, way=way)["gain"])
                 for model in JUDGED for kind, share in design_looks(record))]
        for way, text in WAYS.items()
    ]  # fmt: skip
    head = [f"{NAMES[model]}, {look_name(kind, share)}" for model in JUDGED for kind, share in design_looks(record)]
    return [
        *gain_tables(record),
        Table(("rewards", "images of", "Spearman within prompts"), agreement, "Agreement on finished images:"),
        spread_table(record),
        Table(("standardised by", *head), ways, "Mean gain under all rewards, on the prompts for designing:"),
    ]


def design_looks(record: Record) -> list[tuple[str, float]]:
    """Return the looks of the comparison of ways to standardise that the page shows."""
    return [look for look in looks_of(record) if look in (("finished", 1.0), ("preview", 0.2), ("preview", 0.4))]


def judge_reading(results: Results) -> list[str]:
    """Return what one reward leaves of another's gain, and what the mean keeps."""
    rows = [row for row in results["judges"]["gains"] if row["scores"] == "finished"]
    others = [row["of_best"] for row in rows if row["by"] not in ("mean", row["under"])]
    image_reward = [row["of_best"] for row in rows if row["by"] == "ImageReward" and row["under"] != "ImageReward"]
    mean = [row["of_best"] for row in rows if row["by"] == "mean"]
    rho = [row["spearman"] for row in results["judges"]["agreement"]]
    return [
        f"Rewards agree only at {points(min(rho))} to {points(max(rho))} within a prompt, so that which image is best "
        "depends on the reward.",
        f"Choosing finished images by one reward earns {percent(min(others))} to {percent(max(others))} of what could "
        f"be earned under another (by ImageReward {percent(min(image_reward))} to {percent(max(image_reward))}); "
        f"choosing by the mean of all earns {percent(min(mean))} to {percent(max(mean))} under each.",
        "Combine Rewards takes its constants from this file (`engine/rewards/spreads.json`).",
    ]


def span(prompts: Sequence[int]) -> str:
    """Return the first and the last prompt as text."""
    return f"{prompts[0]} to {prompts[1]}"


JUDGES = Page(
    name="judges",
    question="What does choosing by one reward model, or by the mean of several, earn under each?",
    files={"judges": "judges"},
    method=lambda results: [
        f"Trajectories of FLUX and SDXL at 512², 20 steps, recorded by others: {results['judges']['prompts']} prompts "
        f"with {results['judges']['images']} images each. "
        f"Prompts {span(results['judges']['design_prompts'])} are for designing: all constants come from them. The "
        f"gains are those of prompts {span(results['judges']['reported_prompts'])}, which were measured once.",
        f"A gain is what the best of {results['judges']['subset']} images by a choice has more than their mean, in "
        "within-prompt standard deviations of finished images. In parentheses: the share of what choosing by the "
        f"finished image's own reward would gain. {INTERVALS}",
    ],
    tables=judge_tables,
    reading=judge_reading,
    limits=lambda results: [
        "No reward is what people see in an image; each is a model of it.",
        "At 512² and 20 steps. Other families than these two are standardised by the mean of both.",
        "The data's source names no licence: it is measured on and not part of the pack.",
        "Noise-aware scores are of networks that the pack doesn't have.",
    ],
)

PAGES = (PARITY, SKILL, JUDGES)
