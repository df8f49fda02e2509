"""Decisions of a seed-selection run and their cost, read off its prompt, outputs and progress."""

from dataclasses import dataclass

SCORE, FILTER = "DiffusionProbeScore", "DiffusionProbeEarlySeedFilter"

Prompt = dict[str, dict]
Outputs = dict[str, dict]


@dataclass(frozen=True)
class Candidate:
    """One row of the batch: its seed, score, rank (1 is best), and whether it went on."""

    seed: str
    score: float
    rank: int
    kept: bool


@dataclass(frozen=True)
class Outcome:
    """The candidates in row order, what the score means, the text of the prompt, and the entries of their images.

    ``previews`` has one entry per candidate, or none; ``finished`` one per kept candidate, in their
    order. ``spent`` and ``full`` are model evaluations: one latent through the model for one
    conditioning, so classifier-free guidance counts twice. ``full`` is None when no run was finished.
    """

    candidates: list[Candidate]
    heading: str
    prompt: str
    previews: list[dict]
    finished: list[dict]
    spent: int
    full: int | None

    def cost_line(self) -> str:
        """Say in one sentence what was spent, and what full sampling of all would have cost."""
        if self.full is None:
            return f"Model evaluations: {self.spent} spent; no candidate went on."
        return (
            f"Model evaluations: {self.spent} spent; full sampling of all {len(self.candidates)} candidates would have "
            f"cost {self.full} ({1 - self.spent / self.full:.0%} saved)."
        )


def read_outcome(prompt: Prompt, outputs: Outputs, steps: dict[str, int]) -> Outcome:
    """Read a finished run.

    Args:
        prompt: in API format, with one Probe Score and one Early Seed Filter.
        outputs: the ``ui`` outputs by node id.
        steps: sampling steps done by node id, from the server's progress events.

    Raises:
        ValueError: the prompt has no such nodes, or they reported nothing.
    """
    score_id, filter_id = _only(prompt, SCORE), _only(prompt, FILTER)
    try:
        report = outputs[score_id]["diffusion_probe"][0]
        selection = outputs[filter_id]["diffusion_probe"][0]
    except KeyError as error:
        raise ValueError(f"Probe Score and Early Seed Filter reported nothing ({error}).") from None
    kept = {row["row"] for row in selection["kept"]}
    candidates = [Candidate(r["seed"], r["score"], r["rank"], r["row"] in kept) for r in report["rows"]]
    before = sum(steps.get(node_id, 0) for node_id in ancestors(prompt, score_id))
    after_filter = descendants(prompt, filter_id)
    after = sum(steps.get(node_id, 0) for node_id in after_filter)
    spent, full = evaluations(report["model_rows"], len(candidates), len(kept), before, after)
    images = [i for node_id in after_filter for i in outputs.get(node_id, {}).get("images", [])]
    saved = [image for image in images if image["type"] == "output"] or images
    heading = f"{report['probe']} at {report['moment']} (step {report['step']}): {selection['reason']}"
    return Outcome(
        candidates,
        heading,
        prompt_text(prompt, score_id),
        outputs[score_id].get("images", []),
        saved[: len(kept)],
        spent,
        full,
    )


def prompt_text(prompt: Prompt, node_id: str) -> str:
    """Return the longest text upstream of the positive conditioning of the samplers before a node; empty if none is."""
    texts = [""]
    for sampler in ancestors(prompt, node_id):
        link = prompt[sampler]["inputs"].get("positive")
        for each in [link[0], *ancestors(prompt, link[0])] if isinstance(link, list) else ():
            texts += [value for value in prompt[each]["inputs"].values() if isinstance(value, str)]
    return max(texts, key=len)


def evaluations(model_rows: int, candidates: int, kept: int, before: int, after: int) -> tuple[int, int | None]:
    """Count the model evaluations spent, and those of sampling all candidates to the end.

    Args:
        model_rows: what the probed part really spent, counted at the model.
        candidates, kept: rows of the probed part, and of the part that finishes.
        before, after: steps of the two parts. What one step of one row costs (2 with guidance,
            more for samplers of higher order) is taken from the first part.
    """
    if not after or not before:
        return model_rows, None
    per_step = model_rows / (candidates * before)
    return round(model_rows + kept * after * per_step), round(candidates * (before + after) * per_step)


def ancestors(prompt: Prompt, node_id: str) -> list[str]:
    """Find all nodes that a node's inputs come from, directly or not."""
    found, pending = [], [node_id]
    while pending:
        for value in prompt[pending.pop()]["inputs"].values():
            if isinstance(value, list) and len(value) == 2 and value[0] in prompt and value[0] not in found:
                found.append(value[0])
                pending.append(value[0])
    return found


def descendants(prompt: Prompt, node_id: str) -> list[str]:
    """Find all nodes that a node's outputs go to, directly or not, in the prompt's order."""
    return [other for other in prompt if node_id in ancestors(prompt, other)]


def _only(prompt: Prompt, class_type: str) -> str:
    found = [node_id for node_id, node in prompt.items() if node["class_type"] == class_type]
    if len(found) != 1:
        raise ValueError(f"The workflow has {len(found)} {class_type} nodes; the demo reads exactly one.")
    return found[0]
