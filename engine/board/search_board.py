"""The board of a Seed Search: filled while the candidates are sampled."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from ..capture.previews import preview_images
from ..core.features import Features
from ..core.marks import Marks
from ..core.scores import Look
from ..seed_search.candidates import Candidate
from ..seed_search.outcome import Outcome
from ..seed_search.policies.policy import State
from ..seed_search.policies.steered import sends_to_the_end
from .channel import Channel
from .pictures import small_picture, word_maps
from .place import previews_off
from .values import RUNNING, Bars, Board, header, outcome_board, with_rows


class SearchBoard:
    """What a search tells as it goes on: a ``engine.seed_search.watcher.Watcher``.

    Args:
        hold_seconds: how long to wait for the user before the survivors are finished; None: not at all.
        target: the score that is good enough, where the policy asks for one.
    """

    def __init__(
        self,
        channel: Channel,
        model: Any,
        candidates: Sequence[Candidate],
        probe: Any,
        hold_seconds: float | None = None,
        target: float | None = None,
    ):
        self.channel, self.model, self.probe = channel, model, probe
        self.hold_seconds, self.target = hold_seconds, target
        self.pictured = not previews_off()
        self.looks: list[Look | None] = [None] * len(candidates)
        self.scores: list[tuple[int, float] | None] = [None] * len(candidates)
        self.rows = [_row(row, candidate) for row, candidate in enumerate(candidates)]

    @property
    def marks(self) -> Marks:
        return self.channel.marks

    def looked(
        self,
        moment: int,
        seen: Mapping[int, Features],
        pictures: Mapping[int, Tensor],
        scores: Mapping[int, float],
    ) -> None:
        """Candidates stand at a moment; some could be scored."""
        shown = self._pictures(seen, pictures)
        for row, features in seen.items():
            self.looks[row] = Look(shown.get(row), word_maps(features, len(self.rows)))
            self.rows[row]["at"] = f"step {moment}"
            if row in scores:
                self.scores[row] = (moment, scores[row])
        self.channel.send(self.board())

    def _pictures(self, seen: Mapping[int, Features], pictures: Mapping[int, Tensor]) -> dict[int, str]:
        if not self.pictured:
            return {}
        missing = [row for row in seen if row not in pictures]
        drawn = preview_images(self.model, [seen[row] for row in missing]) if missing else None
        pictures = {**pictures, **dict(zip(missing, () if drawn is None else drawn))}
        return {row: small_picture(picture) for row, picture in pictures.items() if row in seen}

    def decided(self, goals: Mapping[int, int], state: State) -> None:
        """Those in ``goals`` go on; whoever was looked at and isn't among them stands still."""
        self._decide(goals, state)
        self.channel.send(self.board())

    def _decide(self, goals: Mapping[int, int], state: State) -> None:
        last = sends_to_the_end(dict(goals), state.steps)
        for row, values in enumerate(self.rows):
            finished = state.reached[row] == state.steps
            values["gone"] = row not in state.alive
            if row in goals or finished:
                values["kept"] = True if last or finished else None
            elif state.reached[row]:
                values["kept"] = False

    def hold(self, goals: Callable[[], Mapping[int, int]], state: State) -> None:
        """Let the user choose before the last stretch."""

        def board() -> Board:
            self._decide(goals(), state)
            return self.board()

        self.channel.send(board())
        if self.hold_seconds is not None:
            self.channel.hold(self.hold_seconds, board)

    def ended(self, outcome: Outcome) -> Board:
        """The board as it stays."""
        return outcome_board(outcome, self.looks, self.target)

    def board(self) -> Board:
        """As it is now."""
        scored = [score for score in self.scores if score]
        bars = Bars([score for _, score in scored] or [0.0], tuple(self.probe.calibration))
        order = sorted((row for row, score in enumerate(self.scores) if score), key=lambda row: self._standing(row))
        ranks = {row: place for place, row in enumerate(order, start=1)}
        rows = [
            {
                **values,
                "score": score[1] if score else None,
                "place": bars.place(score[1]) if score else None,
                "rank": ranks.get(row),
                "mark": self.marks.of(row),
            }
            for row, (values, score) in enumerate(zip(self.rows, self.scores, strict=True))
        ]
        board = header("search", RUNNING, self.probe, bars.scale, line=bars.place(self.target))
        return with_rows(board, rows, self.looks)

    def _standing(self, row: int) -> tuple:
        moment, score = self.scores[row]
        return -moment, -score, row


def _row(row: int, candidate: Candidate) -> dict[str, Any]:
    return {
        "row": row,
        "seed": str(candidate.name),
        "prompt": candidate.prompt + 1,
        "kept": None,
        "at": None,
        "gone": False,
        "note": "",
    }
