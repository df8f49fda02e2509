"""Boards in ComfyUI's history, which keeps ten thousand runs: pictures of the oldest boards are taken out of it."""

import threading
from collections import deque
from typing import Any

MOST_HISTORY_BYTES = 64 * 2**20
"""Bound of the pictures of all boards in the history together. A board of 256 rows has 2 MB, one of 16 rows 185 kB."""


class HistoryBoards:
    """Boards that nodes returned, in order; they are the very objects that ComfyUI's history holds.

    Args:
        most_bytes: bound of their pictures together; those of the newest board stay even if they take more.
    """

    def __init__(self, most_bytes: int = MOST_HISTORY_BYTES):
        self.most_bytes = most_bytes
        self.size = 0
        self._boards: deque[tuple[dict[str, Any], int]] = deque()
        self._lock = threading.Lock()

    def add(self, board: dict[str, Any]) -> dict[str, Any]:
        """Return the values of a finished board, whose pictures are taken out once newer boards have too many."""
        size = sum(map(_picture_bytes, board["rows"]))
        if not size:
            return board
        with self._lock:
            self._boards.append((board, size))
            self.size += size
            while self.size > self.most_bytes and len(self._boards) > 1:
                oldest, its_size = self._boards.popleft()
                self.size -= its_size
                for row in oldest["rows"]:
                    row.update(picture=None, heats={})
        return board


def _picture_bytes(row: dict[str, Any]) -> int:
    return len(row["picture"] or "") + sum(map(len, row["heats"].values()))


HISTORY = HistoryBoards()
"""Boards of all nodes of this process."""
