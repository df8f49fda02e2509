"""Features and scores of the rows of a LATENT, from the records of the runs that sampled it."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..core.features import NEEDS, Features
from ..core.probe import Probe, scored, scored_and_decoded
from ..core.scores import Scores
from ..core.texts import plain
from .attach import attachment_of, probe_of
from .previews import preview_images
from .scoring import why_missing, why_not_scored
from .store import RowRecord


def _records(model: Any, latent: dict[str, Any]) -> list[RowRecord]:
    records = attachment_of(model).store.find_rows(latent["samples"])
    unknown = [row for row, record in enumerate(records) if record is None]
    if unknown:
        raise ValueError(
            f"rows {unknown} of this LATENT were not sampled with the probed MODEL that is connected here (or so "
            "long ago that their records are gone). Connect the LATENT output of a sampler that ran this MODEL with "
            "its probe, with nothing between that changes the latent's values."
        )
    return records


def _features(record: RowRecord, probe: Probe, moment: str | None) -> Features:
    if moment is not None and moment in record.missing or not record.features:
        reasons = [record.missing[moment]] if moment in record.missing else list(record.missing.values())
        raise ValueError("nothing was captured: " + " ".join(reasons))
    name = moment or next(reversed(record.features))
    if name not in record.features:
        raise ValueError(f'"{plain(name)}" was not captured; captured were: {", ".join(record.features)}.')
    features = record.features[name]
    if why := why_not_scored(features, probe.needs):
        raise ValueError(f"{why}.")
    return features


def captured(model: Any, latent: dict[str, Any], moment: str | None = None) -> list[Features]:
    """Return the features of each row of a LATENT at one moment, in row order.

    Args:
        model: the MODEL that :func:`attach.attach_probe` returned, or a clone of it.
        latent: a LATENT as it left a sampler, also its denoised output; rows may have been taken
            out or put together from several runs.
        moment: one of the attached moments, as ``"20%"`` or ``"step 5"``; the latest by default.

    Raises:
        ValueError: no probe attached, rows that no probed model sampled, or nothing captured.
    """
    return [_features(record, probe_of(model), moment) for record in _records(model, latent)]


def finished_rows(model: Any, latent: dict[str, Any]) -> tuple[list[RowRecord], list[list[Features]]]:
    """Return all records and features of the rows of runs that went to their end.

    Arguments as :func:`captured`.

    Returns:
        The record of each row, and for each moment the features of all rows, in the
        order of evaluation. Moments at one evaluation count once.

    Raises:
        ValueError: as :func:`captured`; also a run that was cut, a moment that one of the rows
            misses, rows of different schedules, or needed features that are missing.
    """
    records = _records(model, latent)
    if any(record.finished is False for record in records):
        raise ValueError(
            "this LATENT is not finished: its sampler stopped before the noise was gone. "
            "Connect the LATENT of a sampler that runs to its last step."
        )
    for record in records:
        if record.missing:
            raise ValueError("nothing was captured at a moment: " + " ".join(dict.fromkeys(record.missing.values())))
    by_step = {features.step: name for name, features in reversed(records[0].features.items())}
    needs = frozenset(probe_of(model).needs)
    moments = [[record.features[by_step[step]] for record in records] for step in sorted(by_step)]
    for rows in moments:
        if len({(row.step, round(row.sigma, 6)) for row in rows}) > 1:
            raise ValueError("the rows come from runs with different schedules. Record each run by itself.")
        reasons = [why for row in rows for why in _reasons(row, needs)]
        if reasons:
            raise ValueError(f"{reasons[0]}. Record without it.")
    return records, moments


def _reasons(row: Features, needs: frozenset[str]) -> list[str]:
    """Return the reasons why a row can't be recorded: missing features, and missing attention blocks."""
    features = [(f"the {name}", why_missing(row, name)) for name in sorted(needs)]
    blocks = [(f"the attention of {name}", why) for name, why in row.why.items() if name not in NEEDS]
    return [f"{what} could not be captured at {row.moment}: {why}" for what, why in [*features, *blocks] if why]


class ScoredRows(NamedTuple):
    """Rows of a LATENT with their scores.

    Attributes:
        scores: one per row.
        previews: a picture of each row, float 0 to 1, ``[rows, height, width, 3]``: what the probe scored, for a
            probe that decodes images, else ComfyUI's latent preview. None for a model without one.
        features: the features that were scored, one per row.
    """

    scores: Scores
    previews: Tensor | None
    features: list[Features]


def score_latent(model: Any, latent: dict[str, Any], moment: str | None = None) -> Scores:
    """Score each row of a LATENT with the probe attached to the MODEL it was sampled with.

    Arguments and errors as :func:`captured`; also raised if the rows were captured at different
    noise levels, whose scores don't compare.
    """
    records, rows = _comparable(model, latent, moment)
    probe = probe_of(model)
    return _scores(probe, records, rows, scored(probe, rows), probe.remarks(rows))


def scores_from(
    model: Any, latent: dict[str, Any], values: Sequence[float], label: str, moment: str | None = None
) -> Scores:
    """Return numbers from elsewhere as the scores of the rows of a LATENT. They count as skilled: the user chose them.

    Args:
        values: one per row, in row order, higher is better.
        label: what they measure.

    Raises:
        ValueError: another number of values than rows; or as :func:`score_latent`.
    """
    records, rows = _comparable(model, latent, moment)
    if len(values) != len(rows):
        raise ValueError(
            f'"values" holds {len(values)} numbers, and the LATENT has {len(rows)} rows. Give one number per row, in '
            "row order."
        )
    scores = _scores(probe_of(model), records, rows, torch.tensor(values))
    name = label.strip() or "values"
    return replace(scores, values=tuple(values), probe="values", label=name, skilled=True, calibration=())


def score_with_previews(model: Any, latent: dict[str, Any], moment: str | None = None) -> ScoredRows:
    """Score each row of a LATENT as :func:`score_latent` does, with a picture of each."""
    records, rows = _comparable(model, latent, moment)
    probe = probe_of(model)
    values, images = scored_and_decoded(probe, rows)
    scores = _scores(probe, records, rows, values, probe.remarks(rows))
    return ScoredRows(scores, preview_images(model, rows) if images is None else images, rows)


def _comparable(model: Any, latent: dict[str, Any], moment: str | None) -> tuple[list[RowRecord], list[Features]]:
    """Return the records of rows and their features at one moment, all at one noise level."""
    records = _records(model, latent)
    rows = [_features(record, probe_of(model), moment) for record in records]
    if len({(row.moment, round(row.percent, 3)) for row in rows}) > 1:
        raise ValueError(
            "the rows were captured at different noise levels, whose scores don't compare. Score them separately."
        )
    return records, rows


def _scores(
    probe: Probe, records: list[RowRecord], rows: list[Features], values: Tensor, remarks: Sequence[str] = ()
) -> Scores:
    dropped_at = tuple(record.dropped_at for record in records)
    return Scores(
        values=tuple(float(value) for value in values),
        seeds=tuple(record.seed for record in records),
        probe=probe.name,
        label=probe.label,
        moment=rows[0].moment,
        step=rows[0].step,
        skilled=probe.skilled,
        exact_continuation=not any(record.why_not_cut for record in records),
        why_not_cut=_together(record.why_not_cut for record in records),
        cut_needs=_together(record.cut_needs for record in records),
        per_row=_together(record.per_row.items() for record in records),
        why_not_alone=_together(record.why_not_alone for record in records),
        finished=all(record.finished for record in records),
        sampler=records[0].sampler,
        model_rows=sum({record.run: record.model_rows for record in records}.values()),
        calibration=tuple(probe.calibration),
        dropped_at=dropped_at if any(dropped_at) else (),
        note="\n".join(dict.fromkeys(filter(None, [*(record.note for record in records), *remarks]))),
    )


def _together(of_records: Iterable[Iterable[Any]]) -> tuple[Any, ...]:
    """Return the items of all records, each once."""
    return tuple(dict.fromkeys(item for record in of_records for item in record))
