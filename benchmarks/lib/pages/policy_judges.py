"""Page about search policies under rewards and on prompts that they were not designed on."""

from .page import NAMES, Page, Record, Results, Table, estimate, listed, one, points

POLICIES = {
    "sequential_stock": "**sequential**, skill of previews",
    "sequential_unsure": "**sequential**, skill weighed by the scores",
    "sequential": "**sequential**, skill fitted",
}
REWARDS = {"hps": "HPSv2.1", "pic": "PickScore", "mean": "the mean of three"}
SCORES = {"preview": "previews", "noise_aware": "noise-aware scores"}


def judge_policy_tables(results: Results) -> list[Table]:
    """Return the averages over cells, and a table of all cells for each reward and kind of score."""
    record = results["policy"]
    groups = [("all", {}), *((name, {"by": key}) for key, name in REWARDS.items())]
    groups += [(name, {"scores": key}) for key, name in SCORES.items()]
    rows = [[text, *(average(record, policy, group) for _, group in groups)] for policy, text in POLICIES.items()]
    head = ("over two cuts, mean of the cells", *(name for name, _ in groups))
    tables = [Table(head, rows, "At or above / significantly below / number of cells in brackets:")]
    return [*tables, *(cells(record, by, scores) for by in REWARDS for scores in SCORES)]


def average(record: Record, policy: str, group: dict[str, str]) -> str:
    """Return the mean difference over a group of cells, and how many are at or above and significantly below."""
    rows = [row for row in record["averages"] if row["policy"] == policy]
    (row,) = (row for row in rows if all(row.get(key) == group.get(key) for key in ("by", "scores")))
    counts = f"({row['at_or_above']} / {row['significantly_below']} / {row['cells']})"
    return f"{estimate(row['over_two_cut'], row['ci'], 3, sign=True)} {counts}"


def cells(record: Record, by: str, scores: str) -> Table:
    """Return the differences from the two cuts of both models, by budget."""
    budgets = sorted({row["budget"] for row in record["rows"]})
    rows = []
    for policy, text in POLICIES.items():
        entries = []
        for budget in budgets:
            found = (
                one(record["rows"], model=model, by=by, scores=scores, budget=budget, policy=policy)
                for model in ("flux", "sdxl")
            )
            entries.append(" / ".join(marked(row) for row in found))
        rows.append([text, *entries])
    caption = f"By {SCORES[scores]} of {REWARDS[by]}; * is significant:"
    return Table(("FLUX / SDXL; budget", *map(str, budgets)), rows, caption)


def marked(row: Record) -> str:
    """Return a difference from the two cuts, with a star where its interval leaves out zero."""
    star = "*" if row["ci"][0] > 0 or row["ci"][1] < 0 else ""
    return f"{points(row['over_two_cut'], 3, sign=True)}{star}"


def reading(results: Results) -> list[str]:
    """Return how the policies compare with the two cuts."""
    record = results["policy"]
    sentences = []
    for policy, text in POLICIES.items():
        (row,) = (r for r in record["averages"] if r["policy"] == policy and "by" not in r and "scores" not in r)
        below = [r for r in record["rows"] if r["policy"] == policy and r["ci"][1] < 0]
        where = listed(
            [
                f"{NAMES[r['model']]} by {SCORES[r['scores']]} of {REWARDS[r['by']]} at {r['budget']} "
                f"({points(r['over_two_cut'], 3, sign=True)})"
                for r in below
            ]
        )
        sentences.append(
            f"{text}: {estimate(row['over_two_cut'], row['ci'], 3, sign=True)} on average, at or above in "
            f"{row['at_or_above']} of {row['cells']} cells, significantly above in {row['significantly_above']}, "
            f"significantly below in {len(below)}{': ' + where if below else ''}."
        )
    return sentences


PAGE = Page(
    name="policy-judges",
    question="Does the default search policy hold under rewards and on prompts that it was not designed on?",
    files={"policy": "policy_judges"},
    method=lambda results: [
        "Recorded trajectories of real FLUX and SDXL, {prompts} prompts × {images} seeds, {steps} evaluations each, "
        "{orders} random orders of the seeds. Policies were designed on ImageReward and 50 other prompts. The two cuts "
        "are tuned and the fitted skill is measured on those prompts, by the very reward and scores of the cell; "
        "policies without fitted skill know neither.".format(**results["policy"]),
        "Figures are paired differences of the best finished image's reward from that of the two cuts, in "
        "within-prompt standard deviations of finished images.",
    ],
    tables=judge_policy_tables,
    reading=reading,
    limits=lambda results: [
        "The rewards score the same images, and the mean contains ImageReward, so the cells are not independent.",
        "The recorded trajectories are not shipped.",
        "Of so many cells one in forty is significantly below by chance where there is no difference.",
    ],
)

PAGES = (PAGE,)
