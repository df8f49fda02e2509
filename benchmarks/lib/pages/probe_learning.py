"""Pages about what trained probes learn from."""

from .page import INTERVALS, Page, Record, Results, Table, estimate, listed, percent, points

LEVELS = ("0.16", "0.28", "0.56")
"""The noise levels of the tables, as shares of the noise range."""

NETWORKS = {"attention cnn": "word-map probe", "activation ranker": "activation probe", "joint": "joint probe"}

PARTS = {
    "": "whole",
    "first block": "the first block alone",
    "middle block": "the middle block alone",
    "last block": "the last block alone",
    "middle half of the blocks": "the middle half of the blocks",
    "every other block": "as many blocks, spread evenly",
    "without words": "without words (all maps as one)",
    "squared error alone": "squared error alone, no listwise loss",
    "one head": "one head instead of three",
    "own prompts only": "labelled under its own whole prompt only",
    "words told by their place alone": "the same, and words known by their position in the prompt alone",
}
"""Descriptions of ablations by the name that the result file gives them."""


def at(moments: Record, level: str) -> Record:
    """Return the figures at a noise level; the levels of runs are rounded differently."""
    return next(figures for key, figures in moments.items() if round(float(key), 2) == float(level))


def three(moments: Record) -> str:
    """Return ρ at the three noise levels."""
    return " / ".join(points(at(moments, level)["within_spearman"]) for level in LEVELS)


def level_names() -> str:
    """Return the three noise levels as text."""
    return " / ".join(percent(float(level)) for level in LEVELS)


def prompts_of(moments: Record) -> str:
    """Return how many validation prompts have the three noise levels."""
    return listed([str(at(moments, level)["prompts"]) for level in LEVELS])


def widest(results: Results) -> str:
    """Return the largest half width of an interval at the three noise levels."""
    intervals = [
        at(training["moments"], level)["ci"] for training in results["flux"]["trainings"].values() for level in LEVELS
    ]
    return points(max(high - low for low, high in intervals) / 2)


def short_trainings(results: Results) -> list[str]:
    """Return how the trainings of the two pages about FLUX are measured."""
    trainings = results["flux"]["trainings"]
    steps = {name.split(",")[0]: training["steps"] for name, training in trainings.items()}
    moments = next(iter(trainings.values()))["moments"]
    return [
        "The same short training on a recording of the testbed FLUX "
        f"({listed([f'{count} steps of the {name}' for name, count in steps.items()])}). Stated is ρ within prompts "
        f"on validation prompts of all sizes, which are one tenth of the recorded ones, at {level_names()} of the "
        f"noise range: {prompts_of(moments)} prompts × 8 seeds. No test prompt has a part in it. Intervals are up to ± "
        f"{widest(results)}.",
    ]


def image_counts(results: Results) -> list[int]:
    """Return the numbers of images that the trainings learnt from."""
    return sorted({training["images"] for training in results["flux"]["trainings"].values()})


def image_table(results: Results) -> list[Table]:
    """Return ρ of each network by the number of images."""
    counts, trainings = image_counts(results), results["flux"]["trainings"]
    rows = [
        [text, *(three(trainings[f"{name}, {count} images"]["moments"]) for count in counts)]
        for name, text in NETWORKS.items()
    ]
    return [Table(("images learnt from", *map(str, counts)), rows)]


def image_reading(results: Results) -> list[str]:
    """Return which networks gain by more images."""
    counts, trainings = image_counts(results), results["flux"]["trainings"]

    def early(name: str, count: int) -> str:
        return points(at(trainings[f"{name}, {count} images"]["moments"], LEVELS[0])["within_spearman"])

    return [
        f"At {percent(float(LEVELS[0]))} the word-map probe has {early('attention cnn', counts[1])} of {counts[1]} "
        f"images and {early('attention cnn', counts[-1])} of {counts[-1]}: in so short a training it learns no more "
        f"from more. The joint probe goes on gaining, {', '.join(early('joint', count) for count in counts)}.",
        "A longer training does more than more images: the files that ship were trained on the same recording for "
        "thousands of steps, and state their ρ on the same validation prompts in [their "
        "cards](../../testbed/probes/flux/joint.md).",
    ]


def part_table(results: Results) -> list[Table]:
    """Return ρ of each ablation beside the whole probes."""
    trainings = results["flux"]["trainings"]

    def cell(network: str, part: str) -> str:
        name = f"{network}, {part}" if part else network
        return three(trainings[name]["moments"]) if name in trainings else "–"

    rows = [[text, cell("attention cnn", part), cell("joint", part)] for part, text in PARTS.items()]
    return [Table((f"ρ at {level_names()}", "word-map probe", "joint"), rows)]


def part_reading(results: Results) -> list[str]:
    """Return what each part is worth."""
    trainings = results["flux"]["trainings"]

    def loss(network: str, part: str, than: str = "") -> str:
        whole, less = (trainings[f"{network}, {name}" if name else network]["moments"] for name in (than, part))
        differences = [at(whole, level)["within_spearman"] - at(less, level)["within_spearman"] for level in LEVELS]
        return f"{points(min(differences))} to {points(max(differences))}"

    return [
        f"With all maps as one the word-map probe loses {loss('attention cnn', 'without words')} and the joint probe "
        f"{loss('joint', 'without words')}. Labelled under its own whole prompt only, the word-map probe loses "
        f"{loss('attention cnn', 'own prompts only')} and the joint probe {loss('joint', 'own prompts only')}; if "
        "the word-map probe then knows words by their position alone, it loses another "
        f"{loss('attention cnn', 'words told by their place alone', 'own prompts only')}.",
        "The last block alone is nearly as good as all of them, as many spread evenly are as good, and those in the "
        "middle teach nothing. Listwise loss and further heads make no difference that these intervals could show.",
    ]


IMAGES = Page(
    name="probe-learning-images",
    question="Do trained probes get better with more recorded images?",
    files={"flux": "probe_learning_images_flux"},
    method=short_trainings,
    tables=image_table,
    reading=image_reading,
    limits=lambda results: [
        "One training of each, so the luck of weights and batches is in the figures and not in the intervals.",
        "How many images a probe for FLUX.1-dev needs is not known.",
    ],
)

ABLATIONS = Page(
    name="probe-learning-parts",
    question="What is each part of a trained probe worth?",
    files={"flux": "probe_learning_parts_flux"},
    method=lambda results: [
        *short_trainings(results),
        "Every row takes one thing away from the whole probe. The rows *whole* are those of [the page about more "
        "images](probe-learning-images.md), the same trainings.",
    ],
    tables=part_table,
    reading=part_reading,
    limits=lambda results: [
        "One training of each, short: what a long training would make of a missing part is not known.",
        "Which block says something depends on the model: this FLUX has six.",
    ],
)


def family_table(results: Results) -> list[Table]:
    """Return ρ at home and on the other family."""
    rows = []
    for record in results.values():
        (training,) = record["trainings"].values()
        home, other = record["settings"]["family"], record["settings"]["onto"]
        rows.append([f"testbed {home}", three(training["moments"]), f"testbed {other}", three(training["onto"])])
    return [Table(("learnt on", f"ρ there at {level_names()}", "measured on", "ρ there"), rows)]


FAMILIES = Page(
    name="probe-learning-families",
    question="Does a word-map probe carry over to a model of another family?",
    files={"flux": "probe_learning_flux_onto_sdxl", "sdxl": "probe_learning_sdxl_onto_flux"},
    method=lambda results: [
        "A word-map probe learns from a recording of one testbed model and scores the validation prompts of both. It "
        "reads as many blocks as both models have, spread evenly, and knows words by their spelling alone, as text "
        f"encoders differ ({next(iter(results['flux']['trainings'].values()))['steps']} steps). The other kinds of "
        "probe read latents and activations, which differ in size between families.",
    ],
    tables=family_table,
    reading=lambda results: [
        "What was learnt on FLUX orders seeds of SDXL, though worse than at home; what was learnt on SDXL says "
        "nothing about seeds of FLUX. A likely reason is that two of the four blocks read of FLUX say nothing.",
        "The nodes refuse a probe on a model of another family than the one it was trained for.",
    ],
    limits=lambda results: ["One training each way, of two testbed models that draw the same kind of scenes."],
)


def attention_tables(results: Results) -> list[Table]:
    """Return ρ by the kind of maps, and the paired differences."""
    record = results["flux"]
    moments = list(next(iter(record["within_spearman"].values())))
    head = [*("mean" if moment == "all" else moment for moment in moments)]

    def rows(figures: Record) -> list[list[str]]:
        return [
            [name, *(estimate(values[moment][0], values[moment][1:]) for moment in moments)]
            for name, values in figures.items()
        ]

    return [
        Table(("learnt from", *head), rows(record["within_spearman"])),
        Table(("difference, paired", *head), rows(record["differences"])),
    ]


def attention_reading(results: Results) -> list[str]:
    """Return whether words or the kind of attention count."""
    means = {
        name: estimate(values["all"][0], values["all"][1:])
        for name, values in results["flux"]["within_spearman"].items()
    }
    by_word, together, itself = means.values()
    return [
        f"Cross-attention by word teaches the network more ({by_word} on average) than self-attention ({itself}), as "
        f"the Diffusion Probe paper claims. Cross-attention of all words together teaches it nothing ({together}): "
        "the advantage is that of knowing the words.",
        "A likely reason is that these prompts ask for objects and their positions, and only a map for each word "
        "says whether each of them has one.",
    ]


SELF_ATTENTION = Page(
    name="self-attention",
    question="Does the word-map probe learn more from cross-attention or from self-attention?",
    files={"flux": "self_attention_flux"},
    method=lambda results: [
        "Training prompts of the testbed FLUX: {prompts} to learn from and {validation_prompts} to measure on, "
        "{seeds_per_prompt} seeds each. Both kinds of maps are captured in one sampling. Self-attention is one map per "
        "block: what each image token receives from all image tokens, softmax over all keys, mean over heads. Network, "
        "recipe, batches and images are the same, {training_steps} steps; only the maps differ. The columns are ρ "
        "within prompts by noise level. ".format(**results["flux"]["settings"])
        + INTERVALS,
    ],
    tables=attention_tables,
    reading=attention_reading,
    limits=lambda results: [
        "Measured with maps alone, before the word-map probe read words. The command trains a network on maps alone "
        "today too, but another one, so its figures will differ.",
        "One training of each, so the luck of weights and batches is in the figures and not in the intervals.",
    ],
)

PAGES = (IMAGES, ABLATIONS, FAMILIES, SELF_ATTENTION)
