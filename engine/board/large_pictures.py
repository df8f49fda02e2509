"""Store of large pictures of rows, which pages ask for while a board is open, and for some time after its run."""

MOST_STORED_BYTES = 64 * 2**20
"""Bound of all large pictures together. A board of 256 rows takes at most 24 MB."""

Run = tuple[str, str]
"""Run of a node: the ids of the prompt and of the node."""


class LargePictures:
    """Pictures of the last runs as JPEG files; those of the oldest runs are dropped when all take too many bytes.

    One thread puts pictures in, and others may read meanwhile.

    Args:
        most_bytes: bound of all pictures together; pictures of a single run are kept even if they take more.
    """

    def __init__(self, most_bytes: int = MOST_STORED_BYTES):
        self.most_bytes = most_bytes
        self._secrets: dict[Run, str] = {}
        self._pictures: dict[Run, dict[int, bytes]] = {}

    @property
    def size(self) -> int:
        """Bytes of all pictures together."""
        return sum(len(data) for rows in self._pictures.values() for data in rows.values())

    def put(self, run: Run, secret: str, row: int, data: bytes) -> None:
        """Keep the picture of a row of a run, in the place of the one before.

        Args:
            secret: value by which pages show that the run is theirs.
        """
        self._secrets[run] = secret
        self._pictures.setdefault(run, {})[row] = data
        while self.size > self.most_bytes and len(self._pictures) > 1:
            oldest = next(iter(self._pictures))
            del self._pictures[oldest], self._secrets[oldest]

    def secret_of(self, run: Run) -> str:
        """Return the secret of a run.

        Raises:
            KeyError: nothing of it is kept.
        """
        return self._secrets[run]

    def picture(self, run: Run, row: int) -> bytes | None:
        """Return the last picture of a row, None if none is kept."""
        return self._pictures.get(run, {}).get(row)


LARGE_PICTURES = LargePictures()
"""Large pictures of this server's boards."""
