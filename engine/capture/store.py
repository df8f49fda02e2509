"""Bounded store of the records of rows, in an attachment of the patched MODEL."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID, uuid4

from torch import Tensor

from ..core.features import Features
from ..core.scores import SeedName
from ..runs.continuing import Original
from ..runs.latents import row_keys

STORE_BYTES = 512 * 2**20
"""Largest memory of all tensors in a store."""

STORE_ROWS = 4096
"""Largest number of rows in a store."""


@dataclass(frozen=True)
class RowRecord:
    """Record of one row of one run.

    Attributes:
        features: captured features by moment, in the order of capture.
        missing: reasons by moment, for moments that were not captured.
        seed: name of the row's initial noise.
        sampler: name of the sampler function.
        why_not_cut: sentences on why a second sampler node gives another result than one run; empty if it doesn't.
        model_rows: model rows that the run spent on all its rows.
        run: id of the run that the row belongs to.
        steps: number of steps of the run's schedule.
        finished: whether the schedule went to the end of the noise; None if that isn't known.
        dropped_at: the moment after which the row was not computed any more, None if it was not dropped.
        note: sentences for the user about rows that were dropped during the run, and about the captures.
        cut_needs: sentences on what a second sampler node needs for an exact continuation.
        per_row: names of fields that differ from row to row, by conditioning.
        why_not_alone: sentences on why a run of the row's seed alone gives another result; empty if it doesn't.
        original: picture and noise outside of the mask of a masked run that was cut, where they are known.
    """

    features: dict[str, Features]
    missing: dict[str, str]
    seed: SeedName
    sampler: str
    why_not_cut: tuple[str, ...]
    model_rows: int
    run: UUID
    steps: int
    finished: bool | None
    dropped_at: str | None = None
    note: str = ""
    cut_needs: tuple[str, ...] = ()
    per_row: dict[str, tuple[str, ...]] = field(default_factory=dict)
    why_not_alone: tuple[str, ...] = ()
    original: Original | None = None
    id: UUID = field(default_factory=uuid4)

    def size(self) -> int:
        """Return the memory of the record's tensors in bytes."""
        tensors = [tensor for features in self.features.values() for tensor in features.tensors()]
        tensors += self.original.tensors() if self.original else ()
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


class RecordStore:
    """Records of rows by the content of the latent row that left the sampler.

    The least recently used records are removed when there are more than ``limit_rows`` or their tensors
    take more than ``limit_bytes``; the rows of the newest run are never removed.
    """

    def __init__(self, limit_bytes: int = STORE_BYTES, limit_rows: int = STORE_ROWS):
        self.limit_bytes = limit_bytes
        self.limit_rows = limit_rows
        self._records: OrderedDict[UUID, tuple[RowRecord, tuple[bytes, ...]]] = OrderedDict()
        self._by_key: dict[bytes, UUID] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._records)

    def size(self) -> int:
        """Return the memory of the tensors of all records in bytes."""
        return self._bytes

    def add_run(self, rows: Sequence[tuple[RowRecord, tuple[bytes, ...]]]) -> None:
        """Add the records of one run, each with the keys of the latents that it is looked up by."""
        for record, keys in rows:
            self._records[record.id] = (record, keys)
            self._bytes += record.size()
            self._by_key.update(dict.fromkeys(keys, record.id))
        while len(self._records) > len(rows) and self._is_full():
            self._forget(next(iter(self._records)))

    def _is_full(self) -> bool:
        return len(self._records) > self.limit_rows or self._bytes > self.limit_bytes

    def find(self, key: bytes) -> RowRecord | None:
        """Return the record of a latent row by its key, None if there is none."""
        record_id = self._by_key.get(key)
        if record_id is None:
            return None
        self._records.move_to_end(record_id)
        return self._records[record_id][0]

    def find_rows(self, samples: Tensor) -> list[RowRecord | None]:
        """Return the record of each row of a latent ``[rows, channels, ...]``, None for rows without one."""
        return [self.find(key) for key in row_keys(samples)]

    def _forget(self, record_id: UUID) -> None:
        record, keys = self._records.pop(record_id)
        self._bytes -= record.size()
        for key in keys:
            if self._by_key.get(key) == record_id:
                del self._by_key[key]
