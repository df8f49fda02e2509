"""Pages about what a seed search is worth, and by which policy."""

from collections.abc import Sequence
from functools import partial

from ..look_prices import DECODERS, EVALUATION, REWARD, SLOWNESS, TFLOPS, look_price, seconds
from .page import INTERVALS, NAMES, Page, Record, Results, Table, between, estimate, listed, one, percent, points

POLICIES = {
    "random": "one image",
    "best_of_n": "best of as many finished images",
    "one_cut": "one cut, tuned",
    "two_cut": "two cuts, tuned",
    "halving": "successive halving, tuned",
    "sequential_stock": "**sequential**, skill of previews",
    "sequential": "**sequential**, skill fitted",
    "until_good_enough": "until good enough",
}
SCORES = {"preview": "previews", "noise_aware": "noise-aware scores"}
MODELS = ("flux", "sdxl")


def budgets(record: Record) -> list[int]:
    """Return the budgets in evaluations."""
    return sorted({row["budget"] for row in record["rows"]})


def policy_tables(results: Results) -> list[Table]:
    """Return the mean reward by policy and budget, for each score."""
    record = results["policy"]
    head = ("FLUX / SDXL; budget", *map(str, budgets(record)))
    tables = []
    for score, name in SCORES.items():
        rows = [
            [text, *(both_rewards(record, score, policy, budget) for budget in budgets(record))]
            for policy, text in POLICIES.items()
        ]
        tables.append(Table(head, rows, f"Mean ImageReward of the best finished image, by {name}:"))
    return [*tables, *map(partial(cost_table, record), DECODERS)]


def cost_table(record: Record, decoder: str) -> Table:
    """Return what searches by previews cost with their looks, by policy and budget."""
    head = ("FLUX / SDXL; budget", *map(str, budgets(record)))
    rows = [
        [text, *(both_costs(record, policy, budget, decoder) for budget in budgets(record))]
        for policy, text in POLICIES.items()
    ]
    prices = " / ".join(points(look_price(model, decoder), 3) for model in MODELS)
    caption = f"Evaluations and looks by the {decoder}, in evaluations, a look at {prices} of one; seconds in brackets:"
    return Table(head, rows, caption)


def both_costs(record: Record, policy: str, budget: int, decoder: str) -> str:
    """Return the evaluations of a policy by previews with its looks, and their seconds, on both models."""
    costs = []
    for model in MODELS:
        row = one(record["rows"], model=model, score="preview", policy=policy, budget=budget)
        cost = row["nfe"] + row["looks"] * look_price(model, decoder)
        costs.append((points(cost, 1), points(seconds(model, cost), 1)))
    return f"{' / '.join(cost for cost, _ in costs)} ({' / '.join(taken for _, taken in costs)} s)"


def both_rewards(record: Record, score: str, policy: str, budget: int) -> str:
    """Return the mean rewards of a policy on both models."""
    rows = (one(record["rows"], model=model, score=score, policy=policy, budget=budget) for model in MODELS)
    return " / ".join(points(row["reward"], 3) for row in rows)


def significant(rows: Sequence[Record], key: str) -> tuple[int, int, int]:
    """Return how many rows are above a baseline, at or above it, and significantly below."""
    above = sum(row[f"{key}_ci"][0] > 0 for row in rows)
    not_below = sum(round(row[key], 3) >= 0 for row in rows)
    return above, not_below, sum(row[f"{key}_ci"][1] < 0 for row in rows)


def policy_reading(results: Results) -> list[str]:
    """Return how the default policy compares with fixed schedules."""
    record = results["policy"]
    fitted, stock = (
        [row for row in record["rows"] if row["policy"] == name] for name in ("sequential", "sequential_stock")
    )
    over_n, over_two = (significant(fitted, key) for key in ("over_best_of_n", "over_two_cut"))
    below = [row for row in stock if row["over_two_cut_ci"][1] < 0]
    where = listed(
        [
            f"{NAMES[row['model']]} with {SCORES[row['score']]} at {row['budget']} "
            f"({points(row['over_two_cut'], 3, sign=True)})"
            for row in below
        ]
    )
    averages = listed(
        [
            f"{estimate(row['sequential_over_two_cut'], row['ci'], 3, sign=True)} on {NAMES[row['model']]} with "
            f"{SCORES[row['score']]}"
            for row in record["averages_over_budgets"]
        ]
    )
    looks = {
        name: [row["looks"] for row in record["rows"] if row["policy"] == name] for name in ("sequential", "two_cut")
    }
    within = all(row["nfe"] <= row["budget"] for row in record["rows"])
    return [
        "**Sequential**, the default, forecasts at every look how good the best finished image will be for each "
        "number of candidates that could go on, and takes the best number. It has to know how well a score predicts "
        "the end, as one correlation for each moment: a probe that was measured brings its own (*skill fitted*), for "
        "any other probe those of previews are taken.",
        f"With fitted skill it is significantly better than best of n in {over_n[0]} of {len(fitted)} cells; against "
        f"two cuts tuned for budget and score it is at or above in {over_two[1]} and significantly below in "
        f"{over_two[2]}. On average over the budgets it is above two cuts by {averages}.",
        "With the correlations of previews for a score that they were not measured on, it is significantly better "
        f"than best of n in {significant(stock, 'over_best_of_n')[0]} of {len(stock)} cells, and significantly below "
        f"two cuts in {len(below)}: {where}.",
        f"{'No policy exceeded a budget.' if within else 'A policy exceeded its budget.'} *Until good enough* spends "
        "less than its budget, which is its purpose. A search by the default policy takes "
        f"{min(looks['sequential']):.0f} to {max(looks['sequential']):.0f} looks, two cuts "
        f"{min(looks['two_cut']):.0f} to {max(looks['two_cut']):.0f}.",
    ]


POLICY = Page(
    name="search-policy",
    question="Which search policy finds the best image for a number of model evaluations?",
    files={"policy": "search_policy"},
    method=lambda results: [
        "Recorded trajectories of real FLUX and SDXL, {prompts} prompts × {images} seeds, {steps} evaluations each. "
        "Every policy is steered as by the engine, meets the seeds of a prompt in the same random orders, and counts "
        "as "
        "the best image that it finished. Whatever is tuned or fitted is so on one half of the prompts and measured on "
        "the other, both ways, averaged over {splits} ways to split them, because which schedule is chosen depends on "
        "the half by luck.".format(**results["policy"]),
        "*Previews*: ImageReward on decoded x0. *Noise-aware scores*: a reward model fine-tuned on noisy previews.",
        f"Looks are counted in evaluations by what they compute at 1024²: an evaluation of FLUX {EVALUATION['flux']:g} "
        f"TFLOP, one of SDXL with CFG {EVALUATION['sdxl']:g}; a decode by the VAE {DECODERS['VAE']:g}, by the fast "
        f"decoder {DECODERS['fast decoder']:g}, each counted {SLOWNESS:g} times (an estimate of how much longer "
        f"convolutions on whole images take, not measured on a card yet); ImageReward {REWARD:g}. Seconds are not "
        f"measured: they are those at {TFLOPS:g} TFLOP a second. Looks by a trained probe compute next to nothing.",
    ],
    tables=policy_tables,
    reading=policy_reading,
    limits=lambda results: [
        "The recorded trajectories are not shipped.",
        "The form of the policies was chosen by looking at cross-fitted figures of these prompts. A later check on "
        "prompts that no choice had seen has no result file; [the notes](../notes/search-policies.md) state it.",
        "Budgets count model evaluations alone, and the policies do not know what a look costs: the last tables add "
        "the looks to what was spent.",
    ],
)

FULL = "ten in turn"
KEYS = {"over_best_of_n": "over best of n", "over_random": "over random"}


def worth_table(record: Record) -> Table:
    """Return a row for each method of a search."""
    rows = []
    for row in record["rows"]:
        differences = (
            estimate(row[key], row[f"{key}_ci"], 3, sign=True) if row[f"{key}_ci"][0] < row[f"{key}_ci"][1] else "–"
            for key in KEYS
        )
        rows.append(
            [
                row["method"],
                estimate(row["score"], row["ci"], 3),
                *differences,
                points(row["oracle_share"]),
                f"{row['nfe_rows']:.0f}",
                with_looks(row, record["model"]),
                points(row["cpu_seconds"], 1) if "cpu_seconds" in row else "–",
                f"{points(row['wall_ratio_vs_full'])} ({points(row['cpu_ratio_vs_full'])})",
                points(row["wall_ratio_vs_batched"]),
            ]
        )
    head = (
        "method",
        "true reward",
        *KEYS.values(),
        "oracle share",
        "model rows",
        "evaluations with looks",
        "processor seconds",
        f"× {FULL} (processor time)",
        "× one batch of ten",
    )
    return Table(head, rows, f"Testbed {NAMES[record['model']]}, {record['prompts']} prompts:")


def with_looks(row: Record, model: str) -> str:
    """Return a method's evaluations with its looks, where the result file counted them."""
    if "looks" not in row:
        return "–"
    price = look_price(model, "fast decoder") if "preview" in row["method"] else 0.0
    return f"{row['nfe_rows'] / 2 + price * row['looks']:.1f} ({row['looks']:.0f} looks)"


def worth(record: Record, method: str) -> str:
    """Return a method's true reward with its interval."""
    row = one(record["rows"], method=method)
    return estimate(row["score"], row["ci"], 3)


def worth_reading(results: Results) -> list[str]:
    """Return what a search by the joint probe is worth, and where times come from."""
    sentences = []
    for record in results.values():
        joint = one(record["rows"], method="sequential, joint")
        full = one(record["rows"], method="best of 10")
        attention = one(record["rows"], method="sequential, attention")
        sentences.append(
            f"Testbed {NAMES[record['model']]}: **sequential** by the joint probe takes "
            f"{points(joint['oracle_share'])} of what the best of {record['seeds']} gains, for "
            f"{percent(joint['nfe_rows'] / full['nfe_rows'])} of its model rows and "
            f"{points(joint['cpu_ratio_vs_full'], 1)} times as fast as {FULL} in processor time, without decoding "
            f"anything: {worth(record, 'sequential, joint')}, where best of n at equal rows has "
            f"{worth(record, 'best of n at equal rows')} and a random drop {worth(record, 'random drop at 20 %')}. By "
            f"the word-map probe it takes {points(attention['oracle_share'])}."
        )
    flux = results["flux"]
    cut, joint = (one(flux["rows"], method=f"{name}, joint") for name in ("one cut at 20 %", "sequential"))
    previews = one(flux["rows"], method="one cut at 20 %, preview")
    return [
        *sentences,
        f"On FLUX one cut by the joint probe is as good ({worth(flux, 'one cut at 20 %, joint')}) and "
        f"{points(cut['cpu_ratio_vs_full'] / joint['cpu_ratio_vs_full'], 2)} times as fast: by this probe the "
        "sequential policy gains nothing there.",
        f"One cut takes {points(cut['rows_fewer'])} times fewer model rows than ten images. The engine reaches "
        f"{percent(flux['throughput']['wall_of_plain_batch'])} of the rows per second of a plain batch on FLUX. A "
        "preview is expensive on a testbed: its decoder takes as long as several evaluations of the tiny model, and "
        "the policy does not count what a look costs, so one cut by previews is only "
        f"{points(previews['wall_ratio_vs_full'], 1)} times as fast as {FULL}.",
    ]


SEARCH = Page(
    name="seed-search",
    question="What is a seed search worth, and what does it cost?",
    files={"flux": "seed_search_flux", "sdxl": "seed_search_sdxl"},
    method=lambda results: [
        f"Held-out prompts of the testbed models, {results['flux']['seeds']} candidates each, "
        f"{results['flux']['steps']} steps, one image returned. Every seed is sampled to the end once with what the "
        "probes score on the way, and policies are steered by these scores as the engine steers them; a finished "
        f"image is the same in a search. {INTERVALS}",
        "*Evaluations with looks* counts a look at a preview as one by the fast decoder at 1024² on the real model of "
        "the testbed's family; – where the result file is from before looks were counted. "
        "*Over* is the difference within prompts. *Oracle share* is the gain over a random image as a share of that "
        "of the best of ten. *Model rows* count one row of one conditioning in one forward pass. Times are how many "
        f"times as fast a method is as ten KSampler runs one after the other (*{FULL}*) or one run of ten rows, the "
        "methods in turn within each of three rounds, in processor time in brackets. *True-score finish* scores "
        "finished images by the ground truth, so that a search may go on after one.",
    ],
    tables=lambda results: [worth_table(record) for record in results.values()],
    reading=worth_reading,
    limits=lambda results: [
        "Other work ran on the machine during the timing of both models; ratios are within rounds.",
        "The reward model of the previews is the ground truth of the testbed.",
        "Speed and memory at real size (`--real-size`, on a GPU) have not been measured.",
    ],
)


def cached_table(record: Record) -> Table:
    """Return a row for each search with a cache on its survivor."""
    rows = [
        [
            row["method"],
            estimate(row["score"], row["ci"], 3),
            percent(row["share"], 1),
            f"{row['nfe_rows']:.0f} instead of {row['uncached_rows']:.0f}",
            estimate(row["over_best_of_n"], row["over_best_of_n_ci"], 3, sign=True),
        ]
        for row in record["cached_search"]
    ]
    head = ("search, its survivor cached", "true reward", "of that without cache", "model rows", "over best of n")
    return Table(head, rows, f"Testbed {NAMES[record['model']]}, {record['prompts']} prompts:")


def cached_reading(results: Results) -> list[str]:
    """Return how many rows a cached search saves and what it keeps."""
    sentences = []
    for name, record in results.items():
        by_budget = [row for row in record["cached_search"] if "budget" in row["method"]]
        joint, preview = (
            next(row for row in by_budget if row["method"].endswith(f", {probe}")) for probe in ("joint", "preview")
        )
        sentences.append(
            f"On {NAMES[name]} a search with the smaller budget takes {points(joint['rows_fewer'], 1)} times fewer "
            f"rows than best of ten by the joint probe and {points(preview['rows_fewer'], 1)} times by previews, and "
            f"keeps {percent(joint['share'], 1)} and {percent(preview['share'], 1)} of its reward without the cache."
        )
    shares = [row["share"] for record in results.values() for row in record["cached_search"]]
    return [
        *sentences,
        f"Over all rows the reward with the cache is {percent(min(shares), 1)} to {percent(max(shares), 1)} of that "
        "without.",
    ]


CACHED = Page(
    name="cached-search",
    question="What is a seed search worth when TC-Padé Cache shortens its survivor's run?",
    files={"flux": "seed_search_flux", "sdxl": "seed_search_sdxl"},
    method=lambda results: [
        "On the prompts, candidates and recorded scores of [the page about seed search](seed-search.md). A candidate "
        "is computed step by step as long as it may still be dropped; part of what is left of the survivor is "
        f"predicted (preset {results['flux']['cached_search'][0]['preset']}). *Over best of n* is at as many rows as "
        f"the search really took. {INTERVALS}",
    ],
    tables=lambda results: [cached_table(record) for record in results.values()],
    reading=cached_reading,
    limits=lambda results: [
        "The smaller budget was chosen by the counts of evaluations of a search by previews, so that it computes a "
        "fifth of best of ten; no reward had a part in the choice.",
        "These rows are part of what `benchmarks.seed_search` writes.",
    ],
)


def wording_tables(results: Results) -> list[Table]:
    """Return how often each probe chooses the better wording."""
    tables = []
    for name, record in results.items():
        figures = record["prompt_search"]
        rows = [
            [
                row["probe"],
                f"{percent(row['picks_better'])} {between([100 * edge for edge in row['picks_better_ci']], 0)}",
                f"{points(100 * row['over_chance'], 0, sign=True)} points "
                f"{between([100 * edge for edge in row['over_chance_ci']], 0)}",
                points(row["wall_times_faster"]),
            ]
            for row in figures["rows"]
        ]
        head = (
            "probe",
            f"chose the better wording (chance: {percent(figures['chance'])})",
            "over chance",
            "× all in turn",
        )
        tables.append(Table(head, rows, f"Testbed {NAMES[name]}, {figures['scenes']} scenes:"))
    return tables


def wording_reading(results: Results) -> list[str]:
    """Return which probes choose wordings better than chance."""
    sentences = []
    for name, record in results.items():
        rows = record["prompt_search"]["rows"]
        above = [row for row in rows if row["over_chance_ci"][0] > 0]
        best = max(rows, key=lambda row: row["over_chance"])
        sentences.append(
            f"On {NAMES[name]} a search chooses the better wording more often than chance by "
            f"{listed([row['probe'] for row in above])}; the largest gain is that of {best['probe']} "
            f"({points(100 * best['over_chance'], 0, sign=True)} points, {points(best['wall_times_faster'], 1)} times "
            "as fast as sampling all wordings)."
        )
    fewer = points(results["flux"]["prompt_search"]["rows_fewer"], 1)
    return [*sentences, f"It takes {fewer} times fewer model rows than all wordings."]


WORDINGS = Page(
    name="prompt-search",
    question="Does a search choose the better of several wordings of a scene?",
    files={"flux": "seed_search_flux", "sdxl": "seed_search_sdxl"},
    method=lambda results: [
        f"{results['flux']['prompt_search']['wordings']} wordings of each scene of three objects: as written, the "
        "two relations in the other order, without sizes, and without relations. The reward of all is that of the "
        "scene as written. One seed of each is looked at after 20 % of the steps and one is finished. The better "
        f"wording is the one with the best mean true reward over several seeds. {INTERVALS}",
    ],
    tables=wording_tables,
    reading=wording_reading,
    limits=lambda results: [
        '"Better" is the best of means of four seeds each, and these are close to each other.',
        "These rows are part of what `benchmarks.seed_search` writes.",
    ],
)

SAVED_COLUMNS = (
    "testbed model",
    "time",
    "search",
    "estimate of finishing all",
    "finishing all",
    "estimate / finishing all",
    "range of rounds",
)
CLOCKS = {"cpu": "processor", "wall": "wall-clock"}


def saved_table(record: Record) -> Table:
    """Return a row for each testbed model and kind of time."""
    rows = []
    for row in record["rows"]:
        for kind, called in CLOCKS.items():
            measured = row[kind]
            seconds = (f"{points(measured[name], 1)} s" for name in ("search", "estimate", "batch"))
            spread = f"{points(measured['ratio_min'])} to {points(measured['ratio_max'])}"
            rows.append([NAMES[row["model"]], called, *seconds, points(measured["ratio_median"]), spread])
    return Table(SAVED_COLUMNS, rows)


def saved_reading(results: Results) -> list[str]:
    """Return how far the estimate is from a stopwatch."""

    def off(kind: str) -> str:
        rows = results["saved"]["rows"]
        return listed([f"{percent(abs(row[kind]['ratio_median'] - 1))} on {NAMES[row['model']]}" for row in rows])

    return [
        f"In processor time the estimate differs from what finishing all takes by {off('cpu')} in the median, in "
        f"wall-clock time by {off('wall')}.",
    ]


SAVED = Page(
    name="saved-seconds",
    question="Do the seconds that a board says were saved agree with a stopwatch?",
    files={"saved": "saved_seconds"},
    method=lambda results: [
        f"A search by previews with one cut at 20 %, {results['saved']['candidates']} candidates of which one is "
        "finished, says how long finishing all would have taken. The stock sampler samples the same seeds to the end "
        f"in one batch. The two take turns in one process, {results['saved']['rounds']} rounds with another prompt "
        "each, and the order changes from round to round. Ratios are those within a round; medians over rounds.",
        "*Processor time* is what the process really computed: other programs disturb it less than wall-clock time.",
    ],
    tables=lambda results: [saved_table(results["saved"])],
    reading=saved_reading,
    limits=lambda results: [
        "Other programs took most of the machine at the same time, so wall-clock times of single rounds are far apart.",
        "The testbed models are tiny; on a GPU this has not been measured. There, seeds that are sampled one after "
        "the other take longer than in one batch, which is what the estimate stands for.",
    ],
)

PAGES = (POLICY, SEARCH, CACHED, WORDINGS, SAVED)
