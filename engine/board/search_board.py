"""Board of a running search."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import isnan
from typing import Any

from torch import Tensor

from ..capture.previews import preview_images
from ..core.marks import NOBODY, Marks
from ..core.scores import Look
from ..core.seed_list import next_seed
from ..seed_search.clock import SearchClock
from ..seed_search.outcome import Outcome
from ..seed_search.policies.marked import all_finish
from ..seed_search.state import CandidateState, SearchState
from .address import previews_off
from .channel import Channel
from .pictures import small_picture, word_maps
from .schema import Board, Row
from .values import RUNNING, Bars, outcome_board, with_rows

LEAST_SECONDS_BETWEEN = 1.0
"""Least time between events that show the time alone."""


class SearchBoard:
    """Watcher of a search (``engine.seed_search.watcher.Watcher``) that shows it on a board.

    It reads everything else from the search's state, and keeps what it drew and the last decision.

    Args:
        probe: that scores the candidates; None: the user alone chooses who is finished.
        hold_seconds: how long to wait for the user before the survivors are finished; None: not at all.
        target: the score that is good enough, if the policy has one.
        wanted: how many finished images are wanted.
        prompts: texts of the prompts, as far as they are known.

    Attributes:
        looks: pictures and maps of the candidates that were scored, by number.
        goals: of the last decision.
        clock: of the search, from when the board is made.
    """

    def __init__(
        self,
        channel: Channel,
        model: Any,
        probe: Any,
        hold_seconds: float | None = None,
        target: float | None = None,
        wanted: int = 1,
        prompts: tuple[str, ...] = (),
    ):
        self.channel, self.model, self.probe = channel, model, probe
        self.hold_seconds, self.target, self.wanted, self.prompts = hold_seconds, target, wanted, prompts
        self.pictured = probe is None or not previews_off()  # nobody can choose without pictures
        self.looks: dict[int, Look] = {}
        self.goals: Mapping[int, int] = {}
        self.clock = SearchClock()
        self._shown_at = 0.0
        self._rows_of_all: float | None = None

    @property
    def marks(self) -> Marks:
        """The user's marks as they are now."""
        return self.channel.marks

    def on_progress(self, state: SearchState) -> None:
        """Send the time, at most once a second."""
        if self.clock.elapsed - self._shown_at >= LEAST_SECONDS_BETWEEN:
            self.channel.send(self.board(state))

    def on_scores(self, state: SearchState, numbers: Sequence[int]) -> None:
        """Draw candidates that have new features, and send the board."""
        pictures = self._pictures(state, numbers) if self.pictured else {}
        for number, picture in pictures.items():
            self.channel.keep_picture(number, picture)
        for number in numbers:
            small = small_picture(pictures[number]) if number in pictures else None
            self.looks[number] = Look(small, word_maps(state.candidates[number].features, len(state.candidates)))
        self.channel.send(self.board(state))

    def _pictures(self, state: SearchState, numbers: Sequence[int]) -> dict[int, Tensor]:
        """Return what the probe decoded, and latent previews of candidates of which it decoded nothing."""
        pictures = {number: state.candidates[number].picture for number in numbers}
        missing = [number for number, picture in pictures.items() if picture is None]
        if missing:
            drawn = preview_images(self.model, [state.candidates[number].features for number in missing])
            if drawn is not None:
                pictures |= dict(zip(missing, drawn, strict=True))
        return {number: picture for number, picture in pictures.items() if picture is not None}

    def on_goals(self, state: SearchState, goals: Mapping[int, int]) -> None:
        """Send the board with a decision."""
        self.goals = dict(goals)
        self.channel.send(self.board(state))

    def on_last_cut(self, state: SearchState, goals: Callable[[], Mapping[int, int]]) -> str:
        """Send the board with the last cut, wait for the user if the node is to hold, and return how that ended."""

        def board() -> Board:
            self.goals = dict(goals())
            return self.board(state)

        self.channel.send(board())
        if self.hold_seconds is None:
            return NOBODY
        with self.clock.held():
            return self.channel.hold(self.hold_seconds, board)

    def outcome_board(self, outcome: Outcome) -> Board:
        """Return the board of the finished search, with the pictures and maps that were drawn."""
        looks = [self.looks.get(row) for row in range(len(outcome.candidates))]
        rows = outcome.rows_of_all()
        times = self._times(self._rows_of_all if isnan(rows) else rows)
        return replace(outcome_board(outcome, looks, self.target), **times, left=0.0, prompts=self.prompts)

    def board(self, state: SearchState) -> Board:
        """Return the board as it is now."""
        scores = {n: each.last_score for n, each in enumerate(state.candidates) if each.last_score is not None}
        calibration = tuple(self.probe.calibration) if self.probe else ()
        bars = Bars([score for _, score in scores.values()] or [0.0], calibration)
        order = sorted(scores, key=lambda number: (-scores[number][0], -scores[number][1], number))
        ranks = {number: rank for rank, number in enumerate(order, start=1)}
        rows = [self._row(state, number, bars, ranks.get(number)) for number in range(len(state.candidates))]
        line = bars.position(self.target)
        about = self._about_probe()
        about |= {"chooses": self._chooses(state), "adds": state.finishes, "wanted": self.wanted}
        if not state.finishes:
            about["next_seed"] = str(next_seed(each.candidate.name for each in state.candidates))
        self._rows_of_all = state.rows_of_all()
        times = {**self._times(self._rows_of_all), "left": _rounded(self.clock.left)}
        board = Board(kind="search", state=RUNNING, **about, scale=bars.scale, line=line, prompts=self.prompts, **times)
        board = replace(board, reason=state.remark)
        return with_rows(board, rows, [self.looks.get(number) for number in range(len(rows))])

    def _about_probe(self) -> dict[str, Any]:
        probe = self.probe
        if probe is None:
            return {"probe": "", "label": "", "skilled": False}
        return {"probe": probe.name, "label": probe.label, "skilled": probe.skilled}

    def _chooses(self, state: SearchState) -> bool:
        """Tell whether the user alone chooses."""
        return self.probe is None and not state.finishes

    def _times(self, rows_of_all: float | None) -> dict[str, Any]:
        """Return the board's fields of the time so far, and of that which finishing all would have taken."""
        self._shown_at = self.clock.elapsed
        of_all = None if rows_of_all is None else self.clock.seconds_for(rows_of_all)
        return {"elapsed": _rounded(self._shown_at), "all_seconds": _rounded(of_all)}

    def _row(self, state: SearchState, number: int, bars: Bars, rank: int | None) -> Row:
        candidate = state.candidates[number]
        score = candidate.last_score[1] if candidate.last_score else None
        return Row(
            row=number,
            seed=str(candidate.candidate.name),
            prompt=candidate.candidate.prompt + 1,
            score=score,
            place=bars.position(score),
            rank=rank,
            kept=self._is_kept(state, number, candidate),
            at=candidate.features.moment if candidate.features else None,
            gone=not candidate.can_continue,
            mark=self.marks.of(number),
            finished=candidate.run.sampled or candidate.finished,
        )

    def _is_kept(self, state: SearchState, number: int, candidate: CandidateState) -> bool | None:
        """Tell whether a candidate survives the decisions so far; None while that is open."""
        if candidate.reached and candidate.reached == state.steps:
            return True
        if number in self.goals:
            return True if all_finish(self.goals, state.steps) else None
        open_choice = self._chooses(state) and state.hold is None
        return False if candidate.reached and not open_choice else None


def _rounded(seconds: float | None) -> float | None:
    """Return seconds with one decimal, as they are sent."""
    return None if seconds is None else round(seconds, 1)
