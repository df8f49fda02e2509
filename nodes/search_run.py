"""The search of Seed Search and Seed Search (Custom): from the values of their inputs to what the nodes show."""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from comfy_api.latest import ui

from ..engine.board.channel import Channel
from ..engine.board.history import HISTORY
from ..engine.board.schema import BOARD_OUTPUT
from ..engine.board.search_board import SearchBoard
from ..engine.capture.hooks.families import require_fit
from ..engine.core.features import DENOISED
from ..engine.core.probe import Probe
from ..engine.core.scores import SeedName
from ..engine.core.seed_list import candidate_names, listed_names, names_around
from ..engine.core.skill import PREVIEW, Skill
from ..engine.seed_search.candidates import Candidate
from ..engine.seed_search.look_price import price_of_look
from ..engine.seed_search.outcome import outcome_report, outcome_text
from ..engine.seed_search.policies.by_name import CUT_SHARE, GOOD_ENOUGH, SEQUENTIAL, policy_named
from ..engine.seed_search.policies.chosen import Chosen
from ..engine.seed_search.prefixes import PREFIXES
from ..engine.seed_search.ready import require_numbers, require_rows
from ..engine.seed_search.result import FinalReward, SearchResult, candidate_pictures
from ..engine.seed_search.search import SearchOptions, finish_candidates, seed_search
from .sockets import USE_ANYWAY

REFUSE = "refuse"

NOTHING_CHOSEN: deque[dict[str, Any]] = deque(maxlen=64)
"""Values of the inputs of runs in which nothing was chosen. ComfyUI would not run them again, if nothing changed."""

Make = Callable[[SeedName, int], Candidate]
"""Function from the name of a candidate's noise and the index of its prompt to the candidate."""


@dataclass(frozen=True)
class Search:
    """Values of the inputs that both nodes have, by the names of the inputs."""

    seed: int
    candidates: int
    survivors: int
    budget: float
    policy: str = SEQUENTIAL
    probe: Probe | None = None
    seeds: str = ""
    judge: Probe | None = None
    target: float = 0.8
    max_rows: int = 0
    unskilled_scores: str = REFUSE
    hold_for_me: bool = False
    hold_seconds: int = 300
    cut: float = CUT_SHARE
    finish: str = ""
    around: str = ""
    strength: float = 0.15

    def run(
        self,
        channel: Channel,
        model: Any,
        make: Make,
        steps: int,
        latent: Mapping[str, Any],
        texts: tuple[str, ...] = (),
        prompts: int = 1,
    ) -> tuple[SearchResult, dict[str, Any]]:
        """Search the candidates, or finish those that ``finish`` names, and return the result and what the node shows.

        Args:
            channel: of the board.
            model: the MODEL that is sampled.
            make: makes the candidates.
            steps: of a whole run, as the node's inputs say.
            latent: the LATENT that every candidate starts from.
            texts: of the prompts, as far as they are known, for the board.
            prompts: number of wordings, each a candidate with each seed.

        Raises:
            ValueError: inputs that can't be used, or no candidate was finished.
        """
        final_reward = final_reward_of(self.judge)
        if self.judge is not None:
            require_fit(self.judge, model)
        if self.finish.strip():
            found = [make(name, prompt) for name, prompt in named_candidates(self.finish, prompts)]
            board = SearchBoard(channel, model, None, wanted=len(found), prompts=texts)
            result = finish_candidates(model, found, self._options(final_reward, board))
        else:
            require_usable(self.probe, model, self.unskilled_scores == USE_ANYWAY)
            names = names_around(self.around, self.strength, listed_names(self.seed, self.candidates, self.seeds))
            found = [make(name, prompt) for name in names for prompt in range(prompts)]
            if self.probe is not None:
                require_rows(self.probe, len(found))
                require_numbers(steps, len(found), self.survivors, self.budget, self.judge is not None)
            waits = self.hold_seconds if self.hold_for_me or self.probe is None else None
            aim = self.target if self.policy == GOOD_ENOUGH and self.probe is not None else None
            probe = self.probe and self.probe.for_model(model)
            board = SearchBoard(channel, model, probe, waits, aim, self.survivors, texts)
            options = self._options(final_reward, board)
            policy = self._policy(len(found), price_of_look(probe, model, latent))
            result = seed_search(model, found, probe, policy, self.survivors, options)
        shown = {"text": [outcome_text(result.outcome)], "diffusion_probe": [outcome_report(result.outcome)]}
        shown[BOARD_OUTPUT] = [HISTORY.add(board.outcome_board(result.outcome).values())]
        pictures = candidate_pictures(model, result)
        if pictures is not None:
            shown |= ui.PreviewImage(pictures).as_dict()
        return result, shown

    def note_nothing_chosen(self, **inputs: Any) -> None:
        """Note the values of a run in which nothing was chosen, and of other inputs of its node."""
        own = {name: getattr(self, name) for name in ("seed", "candidates", "seeds", "around")}
        NOTHING_CHOSEN.append({**own, **inputs})

    def _options(self, final_reward: FinalReward | None, board: SearchBoard) -> SearchOptions:
        return SearchOptions(self.max_rows, final_reward, board, PREFIXES)

    def _policy(self, candidates: int, look_price: float) -> Callable[[int], Any]:
        """Return the function that makes the policy for a number of steps."""
        free = self.probe.free_part if self.probe is not None else None

        def make_policy(run_steps: int) -> Any:
            if self.probe is None:
                return Chosen(self.cut)
            return policy_named(
                self.policy,
                run_steps,
                candidates,
                self.survivors,
                round(self.budget * run_steps) if self.budget else None,
                skill=skill_of(self.probe),
                final_reward=self.judge is not None,
                target=self.target,
                share=self.cut,
                look_price=look_price,
                free_skill=free.search_skill if free is not None else None,
            )

        return make_policy


def times_nothing_was_chosen(inputs: Mapping[str, Any]) -> int:
    """Return in how many runs nothing was chosen that had these values of a node's inputs, as far as they are known.

    A node that returns this as its fingerprint runs again after such a run. Values that come over links aren't known.
    """
    return sum(all(inputs.get(name, value) == value for name, value in run.items()) for run in NOTHING_CHOSEN)


def found_latent(latent_image: dict[str, Any], result: SearchResult) -> dict[str, Any]:
    """Return the survivors as a LATENT, with the mask and type of the one that they started from."""
    kept = {name: value for name, value in latent_image.items() if name in ("noise_mask", "type")}
    return {**kept, "samples": result.latents}


def skill_of(probe) -> Skill:
    """Return how well a probe's scores predict the reward: from its file, or as measured for previews."""
    return probe.search_skill or PREVIEW


def named_candidates(text: str, prompts: int) -> list[tuple[SeedName, int]]:
    """Parse the candidates to finish: name of the noise, and index of the prompt.

    Raises:
        ValueError: a text that names no candidates, or a prompt that isn't connected.
    """
    chosen = candidate_names(text)
    wrong = next((f"{name} prompt {prompt + 1}" for name, prompt in chosen if prompt >= prompts), None)
    if wrong:
        raise ValueError(
            f'"finish" names {wrong}, and the prompts that are there: {prompts}. Connect that prompt, or give a number '
            "that is there."
        )
    return chosen


def require_usable(probe, model, use_unskilled: bool) -> None:
    """Refuse a probe that doesn't fit the model, or has no measured skill; None, for no probe, is accepted.

    Raises:
        ValueError: says what to connect.
    """
    if probe is None:
        return
    require_fit(probe, model)
    if not probe.skilled and not use_unskilled:
        raise ValueError(
            f'the score "{probe.label}" of {probe.name} has no measured skill in ranking seeds: searching by it costs '
            "more than drawing a seed, and finds no better one. Connect Preview Reward, set unskilled scores to "
            f'"{USE_ANYWAY}", or take the probe out and choose yourself.'
        )


def final_reward_of(judge) -> FinalReward | None:
    """Return the reward of finished latents by a judge, None for none.

    Raises:
        ValueError: the judge can't score a finished latent.
    """
    if judge is None:
        return None
    if set(judge.needs) - {DENOISED}:
        raise ValueError(
            f"{judge.name} can't judge finished images: it needs what only a run on the way has. "
            "Connect a Preview Reward to judge."
        )
    return FinalReward(judge.score, judge.label)
