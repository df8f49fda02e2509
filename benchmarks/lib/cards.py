"""Model cards of the shipped probes, from the description in each probe file and from the result files."""

import hashlib
import json
from pathlib import Path

from diffusion_probe.probe_models.probe_file import TITLES, LearnedProbe, load_probe

from training.client.paths import PACK_ROOT

from .pages.page import INTERVALS, NAMES, WRITTEN, Record, Table, listed, one, percent, points
from .pages.probe_accuracy import LOOK, looks, rho, share
from .pages.seed_search import worth

PROBES = PACK_ROOT / "testbed" / "probes"

KINDS = {
    "joint": "A joint probe: small transformers that read attention maps, one activation, the noisy latent and the x0 "
    "prediction of a row, and score how well they show the words of the prompt. No published system reads all of "
    "these; its components follow Diffusion Probe (maps of words) and Probe-Select (an activation and the text).",
    "attention cnn": "A word-map probe: it reads the attention maps of the prompt's words, with the embeddings and "
    "spellings of the words, and nothing of the image. The idea is that of Diffusion Probe; the network is another "
    "one.",
    "activation ranker": "An activation probe: it reads one activation of the model and the text embedding. The idea "
    "is that of Probe-Select.",
}
"""Description of a probe by its kind."""

HEADS = {
    "truth": "the ground truth of the testbed, in 0 … 1",
    "structure": "what of it is structure: objects, colours, count, relations",
    "appearance": "what of it is shapes and outlines",
}
"""Labels of the testbed."""

FIGURES = {
    "within_spearman": "ρ within prompts",
    "oracle_share": "oracle share",
    "best_of_n_share": "oracle share of finished images at equal cost",
    "srcc": "SRCC, pooled",
    "ktc": "KTC, pooled",
    "pcc": "PCC, pooled",
    "auc": "AUC, pooled",
}
"""Figures that a probe file states of its validation prompts."""

REMARKS = {
    ("sdxl", "joint"): "It was trained before the network could read the spelling of words; its file says `spelling` "
    "0, and the same command today trains a network that reads it.",
}
"""Limits of single files."""


def card_texts(results: Path) -> dict[Path, str]:
    """Return the model card of every shipped probe by its path, which is that of the probe with another ending.

    Args:
        results: the folder of the result files.
    """
    return {path.with_suffix(".md"): card_text(path, results) for path in sorted(PROBES.glob("*/*.safetensors"))}


def card_text(path: Path, results: Path) -> str:
    """Return one probe's model card as Markdown."""
    model, name, probe = path.parent.name, path.stem, load_probe(path)
    accuracy, search = (
        json.loads((results / f"{benchmark}_{model}.json").read_text())
        for benchmark in ("probe_accuracy", "seed_search")
    )
    blocks = [
        WRITTEN.format(source="the probe file and benchmarks/results"),
        f"# {TITLES[probe.card.kind].capitalize()} of the testbed {NAMES[model]}",
        KINDS[probe.card.kind],
        str(Table(("", ""), description(path, probe))),
        "## Training",
        *training(probe, model),
        "## Held-out figures",
        *held_out(probe, name, accuracy),
        "## In a seed search",
        in_search(name, search),
        "## Intended use",
        use(probe, model),
        "## Limits",
        "\n".join(f"- {limit}" for limit in limits(model, name, probe)),
    ]
    return "\n\n".join(blocks) + "\n"


def description(path: Path, probe: LearnedProbe) -> list[list[str]]:
    """Return what the probe file says of the probe."""
    card, data = probe.card, path.read_bytes()
    parameters = sum(parameter.numel() for parameter in probe.network.parameters())
    sizes = dict(sorted(card.network.items()))
    return [
        ["file", f"`{path.name}`, {len(data) / 1e6:.1f} MB, sha256 `{hashlib.sha256(data).hexdigest()[:16]}…`"],
        ["parameters", f"{parameters:,}"],
        ["models", f"family {card.family}, with these blocks: {', '.join(card.blocks)}"],
        ["reads", ", ".join(sorted(probe.needs))],
        ["label", f"`{card.label}`: {HEADS[card.label]}"],
        ["heads", listed([f"`{head}` ({HEADS[head]})" for head in card.heads]) + "; the first is the score"],
        ["moments", ", ".join(card.moments)],
        ["calibration", f"{len(card.calibration)} quantiles of its scores on validation images"],
        ["counts as skilled", "yes" if card.skilled else "no: it drops nothing unless a user says so"],
        ["network", f"`{json.dumps(sizes)}`"],
    ]


def training(probe: LearnedProbe, model: str) -> list[str]:
    """Return what the probe learnt from, and the command that trained it."""
    card = probe.card
    return [
        f"{card.images:,} recorded images of {card.prompts:,} training prompts of the testbed {NAMES[model]}, with "
        "the ground truth as label; a tenth of the recorded prompts was left out to decide when to stop.",
        f"    {card.command}",
    ]


def held_out(probe: LearnedProbe, name: str, accuracy: Record) -> list[str]:
    """Return the figures of the file, and those of the benchmark on prompts that had no part in the training."""
    stated = [[text, points(probe.card.held_out[key])] for key, text in FIGURES.items() if key in probe.card.held_out]
    steps = looks(accuracy)
    head = (f"evaluation of {accuracy['steps']}", *(f"{step} ({percent(step / accuracy['steps'])})" for step in steps))
    rows = [
        ["ρ within prompts", *(rho(accuracy, name, step) for step in steps)],
        ["oracle share", *(share(accuracy, name, step) for step in steps)],
        ["oracle share of finished images at equal cost", *(share(accuracy, "best-of-n", step) for step in steps)],
        ["SRCC, pooled", *(points(one(accuracy["rows"], probe=name, step=step)["srcc"]) for step in steps)],
    ]
    cost = accuracy["cost"]["probes"][name]
    return [
        f"On {accuracy['prompts']} held-out prompts × {accuracy['seeds']} seeds, which had no part in the training "
        f"of the model or of the probe ([page](../../../docs/results/probe-accuracy.md)). {INTERVALS}",
        str(Table(head, rows)),
        f"A score costs {points(cost['ms_per_row'], 1)} ms a row on one core, "
        f"{percent(cost['share_of_partial_run'], 1)} of sampling the row to evaluation {LOOK}.",
        "On the validation prompts of the recording, at the recorded moment nearest to 20 %, as the file states it:",
        str(Table(("figure", "value"), stated)),
    ]


def in_search(name: str, search: Record) -> str:
    """Return what searches by the probe are worth."""
    return (
        f"One survivor of {search['seeds']} candidates at the cost of one cut at 20 %, {search['prompts']} held-out "
        f"prompts: mean true reward {worth(search, f'sequential, {name}')} with the sequential policy and "
        f"{worth(search, f'one cut at 20 %, {name}')} with one cut, where best of n at equal rows has "
        f"{worth(search, 'best of n at equal rows')} and a random candidate {worth(search, 'one image')} "
        "([page](../../../docs/results/seed-search.md))."
    )


def use(probe: LearnedProbe, model: str) -> str:
    """Return what the probe is meant for."""
    return (
        "Load Probe offers it beside the files of a user, and it works in Attach Probe, Prune in Flight, Prompt Gate "
        f"and Seed Search on the testbed {NAMES[model]} that Load Testbed Model gives: to try the pack, to test it, "
        "and to compare probes. For another model train one of the same kind on recordings of that model."
    )


def limits(model: str, name: str, probe: LearnedProbe) -> list[str]:
    """Return what the probe can't do."""
    return [
        f"It scores the testbed {NAMES[model]} alone. It says nothing about FLUX.1-dev or SDXL; the nodes refuse it "
        "on another family and on models that lack its blocks.",
        "The testbed draws rendered scenes of one to three objects. Words outside of their vocabulary mean nothing "
        "to it.",
        "At other image sizes and lengths of a run see [the page about other "
        "runs](../../../docs/results/probe-accuracy-other-runs.md).",
        *([REMARKS[model, name]] if (model, name) in REMARKS else []),
        *([] if probe.card.skilled else ["Choosing by its score gains less than finishing more images does."]),
    ]
