"""Pages about how well scores choose seeds, and what scoring costs."""

from .page import (
    INTERVALS,
    NAMES,
    Page,
    Record,
    Results,
    Table,
    counted,
    estimate,
    listed,
    one,
    percent,
    points,
    settings,
)

PROBES = {
    "focus": "Attention Focus",
    "focus without words": "Attention Focus without words",
    "preview": "Preview Reward with the ground truth",
    "attention": "word-map probe",
    "activation": "activation probe",
    "joint": "joint probe",
    "joint with preview": "joint probe with previews (Combine Probes)",
}
"""Probes by the name that result files give them."""

BASELINES = {
    "best-of-n": "best of n finished images at equal cost",
    "text-only": "text only",
    "random": "random scores",
    "oracle": "oracle",
}

LOOK = 5
"""The evaluation at 20 % of a run of 25 steps."""

POOLED = ("srcc", "ktc", "pcc", "auc")


def rho(record: Record, probe: str, step: int) -> str:
    """Return a probe's ρ within prompts at an evaluation, with its interval."""
    row = one(record["rows"], probe=probe, step=step)
    return estimate(row["within_spearman"], row["within_ci"])


def share(record: Record, probe: str, step: int) -> str:
    """Return a probe's oracle share at an evaluation, with its interval."""
    row = one(record["rows"], probe=probe, step=step)
    return estimate(row["oracle_share"], row["oracle_share_ci"])


def looks(record: Record) -> list[int]:
    """Return the evaluations at which the probes looked."""
    return sorted({row["step"] for row in record["rows"]})


def measured(record: Record) -> list[str]:
    """Return the probes of a result file in the order of the tables."""
    there = {row["probe"] for row in record["rows"]}
    return [name for name in PROBES if name in there]


def accuracy_tables(record: Record) -> list[Table]:
    """Return ρ within prompts, oracle share and pooled correlations of a testbed model."""
    steps, model = looks(record), NAMES[record["model"]]
    head = [f"evaluation of {record['steps']}", *(f"{step} ({percent(step / record['steps'])})" for step in steps)]
    within = [[PROBES[name], *(rho(record, name, step) for step in steps)] for name in measured(record)]
    shares = [
        [(PROBES | BASELINES)[name], *(share(record, name, step) for step in steps)]
        for name in (*measured(record), *BASELINES)
    ]
    pooled = []
    for name in (*measured(record), "text-only"):
        rows = [one(record["rows"], probe=name, step=step) for step in steps]
        pooled.append([(PROBES | BASELINES)[name], *(points(row["srcc"]) for row in rows)])
    return [
        Table(head, within, f"Testbed {model}, ρ within prompts:"),
        Table(head, shares, f"Testbed {model}, oracle share:"),
        Table(head, pooled, f"Testbed {model}, Spearman pooled over all images (SRCC):"),
        pooled_table(record),
    ]


def pooled_table(record: Record) -> Table:
    """Return the four pooled figures at the evaluation at which the papers state theirs."""
    step = 10
    rows = [
        [PROBES[name], *(points(one(record["rows"], probe=name, step=step)[key]) for key in POOLED)]
        for name in measured(record)
    ]
    caption = f"Testbed {NAMES[record['model']]}, pooled over all images at evaluation {step}:"
    return Table(("", *(key.upper() for key in POOLED)), rows, caption)


def cost_table(results: Results) -> Table:
    """Return what scoring a row costs on the testbeds."""
    costs = [record["cost"]["probes"] for record in results.values()]
    rows = [[PROBES[name], *(cost_cell(cost[name], 1) for cost in costs)] for name in costs[0]]
    head = ("", *(f"testbed {NAMES[name]}" for name in results))
    return Table(head, rows, "Scoring one row: processor time, and its share of sampling the row to 20 % of a run:")


def cost_cell(cost: Record, digits: int) -> str:
    """Return the cost of scoring one row."""
    return f"{points(cost['ms_per_row'], 1)} ms, {percent(cost['share_of_partial_run'], digits)}"


def accuracy_method(results: Results) -> list[str]:
    """Return the protocol."""
    record = results["flux"]
    return [
        f"{record['prompts']} held-out prompts × {record['seeds']} seeds on each testbed model, {record['steps']} "
        f"steps ({settings(record)}; CFG {results['sdxl']['cfg']:g} on SDXL). Every seed is sampled to the end once, "
        "the probes look on the way, and the reward of the finished image is the testbed's ground truth. Previews "
        f"are decoded on the first {record['previews_on']} prompts.",
        "Choosing a seed needs the order *within* a prompt. **ρ within prompts** is the mean of Spearman's "
        "correlation between the seeds of a prompt. The **oracle share** is what finishing the best-scored of 8 "
        "seeds gains over a random one, as a share of what finishing the truly best gains; it is averaged over all "
        f"subsets of 8. **Best of n** finishes as many images as the same number of evaluations pays for. {INTERVALS}",
        "*Text only* scores every seed of a prompt alike, by finished images of other seeds. Pooled figures mostly "
        "measure how hard a prompt is; they are here because the papers state them.",
    ]


def accuracy_reading(results: Results) -> list[str]:
    """Return what the tables say about each probe."""
    flux, sdxl = results["flux"], results["sdxl"]
    paired = one(sdxl["rows"], probe="joint", step=LOOK)
    over = estimate(paired["oracle_share_over_preview"], paired["oracle_share_over_preview_ci"])
    return [
        f"**Joint probe.** At 20 % its ρ is {rho(flux, 'joint', LOOK)} on FLUX and {rho(sdxl, 'joint', LOOK)} on "
        f"SDXL, where previews with the ground truth have {rho(flux, 'preview', LOOK)} and "
        f"{rho(sdxl, 'preview', LOOK)}; it decodes nothing. Its choice after the first evaluation (oracle share "
        f"{share(flux, 'joint', 1)} and {share(sdxl, 'joint', 1)}) gains more than full images at equal cost do at "
        f"20 % ({share(flux, 'best-of-n', LOOK)} and {share(sdxl, 'best-of-n', LOOK)}). On SDXL its oracle share at "
        f"20 % is above that of previews by {over}, paired over prompts.",
        f"**Preview Reward** pays from 20 % on: its oracle share there is {share(flux, 'preview', LOOK)} on FLUX and "
        f"{share(sdxl, 'preview', LOOK)} on SDXL, above best of n at equal cost. At evaluation 3 it is level with "
        f"best of n on FLUX ({share(flux, 'preview', 3)} and {share(flux, 'best-of-n', 3)}). Combine Probes adds "
        "little to the joint probe early in a run, and later is level with the better of the two.",
        "**Word-map probe.** It reads the words and their attention maps and nothing of the image: ρ "
        f"{rho(flux, 'attention', LOOK)} and {rho(sdxl, 'attention', LOOK)} at 20 %. It is another network than that "
        "of the Diffusion Probe paper: beside the maps it reads the embeddings and spellings of the words, and it "
        "was also trained on parts of prompts.",
        f"**Attention Focus** orders seeds a little better than chance from 20 % on ({rho(flux, 'focus', LOOK)} and "
        f"{rho(sdxl, 'focus', LOOK)}) and gains far less than best of n at equal cost. It counts as unskilled: it "
        "shows its scores and drops nothing unless a user says so. Without words its ρ at 20 % is "
        f"{rho(flux, 'focus without words', LOOK)} and {rho(sdxl, 'focus without words', LOOK)}; each difference is "
        "within one interval.",
        f"**Training.** On the validation prompts of their recordings the files state a ρ of {trained(flux)} on FLUX "
        f"and of {trained(sdxl)} on SDXL, at the recorded moment nearest to 20 %. Their cards say what they learnt "
        "from ([FLUX](../../testbed/probes/flux/joint.md), [SDXL](../../testbed/probes/sdxl/joint.md)).",
    ]


def trained(record: Record) -> str:
    """Return the ρ that each probe file states of its own validation prompts."""
    return listed([f"{points(card['within_spearman'])} ({PROBES[name]})" for name, card in record["trained"].items()])


ACCURACY = Page(
    name="probe-accuracy",
    question="How well does each probe choose the good seeds of a prompt, and what is that worth at equal cost?",
    files={"flux": "probe_accuracy_flux", "sdxl": "probe_accuracy_sdxl"},
    method=accuracy_method,
    tables=lambda results: [
        *accuracy_tables(results["flux"]),
        *accuracy_tables(results["sdxl"]),
        cost_table(results),
    ],
    reading=accuracy_reading,
    limits=lambda results: [
        "The reward model of the previews is the ground truth of the testbed here, which no real model has.",
        "The testbed's images are rendered scenes, and its models are tiny; a preview's decoder is as large as a "
        "real one, so its cost is a far larger share of a run than on a real model.",
        "No probe for FLUX.1-dev or SDXL has been trained or measured.",
        "Attention Focus has no calibration on a user's model: its percentile is the rank within a batch.",
    ],
)


def other_runs_table(results: Results) -> list[Table]:
    """Return a row for each length and size of a run."""
    names = [name for name in PROBES if name in measured(results["plain"])]
    rows = []
    for record in results.values():
        (step,) = looks(record)
        size = record["size"]
        height, width = size if isinstance(size, list) else (size, size)
        cells = [rho(record, name, step) if name in measured(record) else "–" for name in names]
        rows.append([f"{record['steps']} steps, {height} × {width}", f"{step} of {record['steps']}", *cells])
    return [Table(("run", "evaluation", *(PROBES[name] for name in names)), rows)]


def other_runs_reading(results: Results) -> list[str]:
    """Return how far the probes carry over."""

    def value(name: str, probe: str = "joint") -> str:
        return rho(results[name], probe, looks(results[name])[0])

    return [
        f"Runs of other lengths: the joint probe has ρ {value('steps10')} in {results['steps10']['steps']} steps, "
        f"{value('plain')} in {results['plain']['steps']} and {value('steps50')} in {results['steps50']['steps']}.",
        f"Other sizes: {value('new')} at a size that neither the model nor the probe had seen, where previews fall "
        f"to {value('new', 'preview')} from {value('plain', 'preview')}.",
        f"At the largest size the joint probe has {value('large')} although it learnt from images of that size. The "
        f"model itself gets worse there (mean true reward {points(results['large']['truth_mean'])} instead of "
        f"{points(results['plain']['truth_mean'])}), and what shows early says less about the end: previews have "
        f"{value('large', 'preview')}.",
    ]


OTHER_RUNS = Page(
    name="probe-accuracy-other-runs",
    question="Do the trained probes hold in runs of other lengths and at other image sizes?",
    files={
        "steps10": "probe_accuracy_flux_steps10",
        "plain": "probe_accuracy_flux_steps25",
        "steps50": "probe_accuracy_flux_steps50",
        "new": "probe_accuracy_flux_size112x144",
        "large": "probe_accuracy_flux_size160",
    },
    method=lambda results: [
        f"{results['plain']['prompts']} held-out prompts of the testbed FLUX × {results['plain']['seeds']} seeds, "
        "with the probes looking at 20 % of the noise range. The columns are ρ within prompts, as on [the page of "
        f"all probes](probe-accuracy.md). {INTERVALS}",
    ],
    tables=other_runs_table,
    reading=other_runs_reading,
    limits=lambda results: [
        f"{counted(results['plain']['prompts'], 'prompt')} only: the intervals are wide.",
        "The testbed SDXL was not measured at other sizes or lengths.",
        "Previews were decoded where a column has a figure.",
    ],
)


def focus_table(results: Results) -> list[Table]:
    """Return ρ with and without words, and their difference."""
    rows = [
        [f"{step} of {results['flux']['settings']['steps']}", *(estimate(value, ci) for value, *ci in figures.values())]
        for step, figures in results["flux"]["within_spearman"].items()
    ]
    return [Table(("evaluation", "with words", "without", "difference, paired"), rows)]


def focus_reading(results: Results) -> list[str]:
    """Return what the words are worth, on training and on held-out prompts."""
    figures = results["flux"]["within_spearman"]
    first, *_, last = (estimate(values["difference"][0], values["difference"][1:]) for values in figures.values())
    return [
        f"On training prompts the words of the prompt gain {first} at the first of these evaluations and {last} at "
        "the last. So words are used where they are known.",
        "On held-out prompts the gain is smaller, and on SDXL it is a small loss: the rows *Attention Focus* and "
        "*Attention Focus without words* of [the page of all probes](probe-accuracy.md).",
    ]


FOCUS = Page(
    name="focus-words",
    question="Does Attention Focus choose seeds better when it knows the words of the prompt?",
    files={"flux": "focus_words_flux"},
    method=lambda results: [
        f"{results['flux']['settings']['prompts']} *training* prompts of the testbed FLUX × "
        f"{results['flux']['settings']['seeds']} seeds. The answer decides how the probe is built, so held-out "
        "prompts had no part in it. Both ways see the same captured maps. The columns are ρ within prompts. "
        f"{INTERVALS}",
    ],
    tables=focus_table,
    reading=focus_reading,
    limits=lambda results: [
        "The rule for words was chosen on the first half of these prompts ([notes](../notes/attention-focus.md)).",
        "FLUX pads its T5 text with copies of one token, which take most of the attention; whether words help there "
        "could not be measured on real weights.",
    ],
)


def real_cost_table(results: Results) -> list[Table]:
    """Return the cost of scoring at real dimensions."""
    costs = [record["probes"] for record in results.values()]
    rows = [[name, *(cost_cell(cost[name], 3) for cost in costs)] for name in costs[0]]
    return [Table(("probe", *(record["dimensions"] for record in results.values())), rows)]


def real_cost_reading(results: Results) -> list[str]:
    """Return the largest share."""
    worst = {
        name: max(cost["share_of_partial_run"] for cost in record["probes"].values())
        for name, record in results.items()
    }
    shares = listed([f"{percent(value, 3)} beside {NAMES[name]}" for name, value in worst.items()])
    return [f"Scoring costs next to nothing at these sizes: at most {shares} of sampling a row to 20 % of its run."]


SCORING = Page(
    name="scoring-cost",
    question="What does scoring a row cost at the dimensions of FLUX.1-dev and SDXL?",
    files={"flux": "scoring_cost_flux", "sdxl": "scoring_cost_sdxl"},
    method=lambda results: [
        "One row at 1024², random weights, probes of the default sizes with random weights, "
        f"{results['flux']['blocks']} blocks of maps and 40 words; what is computed does not depend on the weights. "
        "Stated are processor time and its share of sampling the row to 20 % of a run.",
    ],
    tables=real_cost_table,
    reading=real_cost_reading,
    limits=lambda results: [
        "Measured on a CPU. FLUX has only some of its blocks, and both run without CFG, so the shares of real runs "
        "are smaller than these.",
        "The row of the word-map probe on FLUX was measured before that network read words.",
        "On a GPU this has not been measured. The costs on the testbeds are on [the page of all "
        "probes](probe-accuracy.md).",
    ],
)

PAGES = (ACCURACY, OTHER_RUNS, FOCUS, SCORING)
