"""Prompt Loop and Prompt to Rewrite: probe a few seeds of a prompt, and rewrite it while they score low."""

from typing import Any

import comfy.samplers
from comfy_api.latest import io, ui
from comfy_execution.graph_utils import GraphBuilder

from ..engine.capture.prompt.graph_texts import is_link, running_graph
from ..engine.capture.prompt.graph_walk import Nodes, sources, users
from ..engine.capture.prompt.variants import encoded_like
from ..engine.core.seed_list import LARGEST_SEED, seed_list
from ..engine.seed_search.policies.by_name import CUT_SHARE, cut_moment
from ..engine.seed_search.prompt_probing import probed, ready_probe
from ..engine.seed_search.prompt_trials import MEAN, REQUEST, ROWS, Trial, Trials
from ..engine.seed_search.ready import require_rows
from .errors import named_errors
from .expand import run_again
from .search import AS_IN_KSAMPLER
from .search_run import REFUSE, require_usable
from .sockets import USE_ANYWAY, Probe, TrialsSocket, use_anyway_input

REQUEST_ID = "DiffusionProbePromptToRewrite"


class PromptLoop(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DiffusionProbePromptLoop",
            display_name="Prompt Loop",
            category="diffusion probe/words",
            description="Looks at a few seeds of a prompt after the first steps. While they score low, it rewrites the "
            "prompt and looks again; the best wording goes on.",
            search_aliases=["prompt rewrite", "improve prompt", "agent", "llm", "variations", "diffusion probe"],
            has_intermediate_output=True,
            enable_expand=True,
            inputs=[
                io.Model.Input("model", tooltip="The model to sample, from before Attach Probe and Seed Batch."),
                io.Clip.Input("clip", tooltip="The text encoder, as for CLIP Text Encode."),
                Probe.Input("probe", tooltip="Scores the seeds, for example Preview Reward. All by the first prompt."),
                io.Conditioning.Input("negative", tooltip="What the image should not show."),
                io.Latent.Input("latent_image", tooltip="The latent that every seed starts from; one row."),
                io.String.Input("prompt", multiline=True, dynamic_prompts=True, tooltip="The prompt to begin with."),
                io.String.Input(
                    "rewrite",
                    multiline=True,
                    default="",
                    lazy=True,
                    raw_link=True,
                    placeholder="other wordings, one per line, or a text node",
                    tooltip="Other wordings, one per line, from any node. From behind Prompt to Rewrite it is computed "
                    "anew each round.",
                ),
                io.Int.Input("rounds", default=3, min=0, max=100, tooltip="How often the prompt is rewritten at most."),
                io.Float.Input(
                    "threshold",
                    default=0.5,
                    min=-1e6,
                    max=1e6,
                    step=0.01,
                    round=False,
                    tooltip="The score that is good enough, in the probe's unit. A wording that reaches it ends the "
                    "loop.",
                ),
                io.Combo.Input(
                    "rows",
                    options=list(ROWS),
                    default=MEAN,
                    tooltip="The score of a wording. The mean tells how well it does on average.",
                ),
                io.Int.Input(
                    "seed", default=0, min=0, max=LARGEST_SEED, tooltip="The first seed; the others count up."
                ),
                io.Int.Input(
                    "candidates", default=4, min=1, max=64, tooltip="How many seeds of each wording are looked at."
                ),
                io.Int.Input("steps", default=20, min=2, max=10000, tooltip=AS_IN_KSAMPLER),
                io.Float.Input("cfg", default=8.0, min=0.0, max=100.0, step=0.1, round=0.01, tooltip=AS_IN_KSAMPLER),
                io.Combo.Input("sampler_name", options=comfy.samplers.KSampler.SAMPLERS, tooltip=AS_IN_KSAMPLER),
                io.Combo.Input("scheduler", options=comfy.samplers.KSampler.SCHEDULERS, tooltip=AS_IN_KSAMPLER),
                io.Float.Input(
                    "cut",
                    default=CUT_SHARE,
                    min=0.05,
                    max=0.95,
                    step=0.05,
                    tooltip="Share of the steps after which the seeds are scored.",
                ),
                use_anyway_input(REFUSE, "is refused", optional=True),
                io.Conditioning.Input(
                    "positive",
                    optional=True,
                    tooltip="A conditioning whose guidance, ControlNets and masks each wording gets. Its text is not "
                    "used.",
                ),
                TrialsSocket.Input(
                    "trials", optional=True, tooltip="What another Prompt Loop tried. This one goes on from there."
                ),
            ],
            outputs=[
                io.Conditioning.Output(display_name="positive", tooltip="The best wording, for the sampler."),
                io.String.Output(display_name="prompt", tooltip="The best wording as text."),
                io.String.Output(
                    display_name="seeds", tooltip="The seeds that were looked at, the best first, for Seed Search."
                ),
                io.Int.Output(display_name="best_seed", tooltip="The best seed of the best wording, for KSampler."),
                io.Float.Output(display_name="score", tooltip="The score of the best wording."),
                io.Boolean.Output(display_name="passed", tooltip="Whether it reached the threshold."),
                io.String.Output(display_name="report", tooltip="Every wording that was tried, with its scores."),
                TrialsSocket.Output(display_name="trials", tooltip="What was tried, for another Prompt Loop."),
            ],
        )

    @classmethod
    def execute(
        cls, model, clip, probe, negative, latent_image, prompt, rounds, threshold, rows, seed, candidates, steps, cfg,
        sampler_name, scheduler, cut, rewrite="", unskilled_scores=REFUSE, positive=None, trials=None,
    ) -> io.NodeOutput:  # fmt: skip
        with named_errors("Prompt Loop"):
            seeds, ended = seed_list(seed, candidates), ""
            if trials is None:
                if not prompt.strip():
                    raise ValueError('"prompt" is empty. Write the prompt to begin with.')
                require_rows(probe, candidates)
                require_usable(probe, model, unskilled_scores == USE_ANYWAY)
                trials, wording = Trials(ready_probe(model, probe, prompt, latent_image)), prompt
            else:
                wording = trials.next_wording(prompt)
            if wording:
                settings = (steps, cfg, sampler_name, scheduler)
                encoded = encoded_like(clip, wording, positive)
                scores, pictures = probed(
                    model, trials.probe, encoded, negative, latent_image, seeds, settings, cut_moment(steps, cut)
                )
                trials = trials.and_then(Trial(wording, scores, rows, pictures))
            best = trials.best
            if best.score >= threshold:
                ended = "Good enough."
            elif not wording:
                ended = "The rewrite gives no wording that was not tried."
            elif rounds < 1:
                ended = "No round is left."
            elif not (rewrite if isinstance(rewrite, str) else is_link(rewrite)):
                ended = 'Nothing is connected to "rewrite".'
            if not ended:
                return next_round(cls, rewrite, trials, rounds - 1)
            report = trials.report(threshold, ended)
            shown: dict[str, Any] = {"text": [report]}
            if best.pictures is not None:
                shown |= ui.PreviewImage(best.pictures).as_dict()
            order = best.best_seeds(seeds)
        return io.NodeOutput(
            encoded_like(clip, best.prompt, positive),
            best.prompt,
            ", ".join(map(str, order)),
            order[0],
            best.score,
            best.score >= threshold,
            report,
            trials,
            ui=shown,
        )


def next_round(node: type[io.ComfyNode], rewrite: Any, trials: Trials, rounds: int) -> io.NodeOutput:
    """Return the outputs of the same node with a rewritten prompt.

    The nodes between Prompt to Rewrite and this node run again, with the best wording so far.

    Args:
        rewrite: the input, as a text or a link.
        rounds: how many are left after that one.
    """
    if isinstance(rewrite, str):
        return run_again(node, prompt=rewrite, trials=trials, rounds=rounds)
    graph, nodes = GraphBuilder(), running_graph()[1]
    return run_again(node, graph, prompt=rewritten(graph, nodes, rewrite, trials), trials=trials, rounds=rounds)


def rewritten(graph: GraphBuilder, nodes: Nodes, link: list, trials: Trials) -> list:
    """Add copies of the nodes between Prompt to Rewrite and an output to a graph, and return the link to the copy.

    Returns:
        The link itself if no Prompt to Rewrite is before it.
    """
    before = sources(nodes, link[0])
    requests = {node_id for node_id in before if nodes[node_id]["class_type"] == REQUEST_ID}
    copied = before & requests.union(*(users(nodes, request) for request in requests))
    for node_id in copied:
        inputs = {
            name: [graph.prefix + value[0], value[1]] if is_link(value) and value[0] in copied else value
            for name, value in nodes[node_id]["inputs"].items()
        }
        if nodes[node_id]["class_type"] == REQUEST_ID:
            inputs["trials"] = trials
        graph.node(nodes[node_id]["class_type"], node_id, **inputs)
    return [graph.prefix + link[0], link[1]] if link[0] in copied else link


class PromptToRewrite(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id=REQUEST_ID,
            display_name="Prompt to Rewrite",
            category="diffusion probe/words",
            description="Gives what Prompt Loop tried so far to the nodes that rewrite the prompt, such as Generate "
            "Text. They stand between this node and its rewrite input.",
            search_aliases=["prompt rewrite", "llm", "instruction", "improve prompt", "diffusion probe"],
            inputs=[
                io.String.Input(
                    "request",
                    multiline=True,
                    default=REQUEST,
                    tooltip="What a text model gets. {prompt}: the best wording, {tried}: all with scores, {round}: 1, "
                    "2 and so on.",
                ),
                TrialsSocket.Input(
                    "trials", optional=True, tooltip="Leave it unconnected: Prompt Loop fills it in each round."
                ),
            ],
            outputs=[
                io.String.Output(display_name="request", tooltip="The request, for a text model."),
                io.String.Output(display_name="prompt", tooltip="The best wording so far alone."),
                io.String.Output(display_name="tried", tooltip="All wordings so far with their scores, one per line."),
                io.Int.Output(display_name="round", tooltip="How many wordings were tried, for a seed or a switch."),
            ],
        )

    @classmethod
    def execute(cls, request: str, trials=None) -> io.NodeOutput:
        with named_errors("Prompt to Rewrite"):
            if trials is None:
                raise ValueError(
                    'it works inside of a loop only. Connect the nodes behind it to "rewrite" of Prompt Loop, and to '
                    "nothing else."
                )
            return io.NodeOutput(trials.request(request), trials.best.prompt, trials.listed(), len(trials.tried))


NODES = [PromptLoop, PromptToRewrite]
