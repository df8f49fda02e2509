"""Attach a probe to a MODEL, and read what it saw from the latent that left the sampler."""

from collections.abc import Iterable
from typing import Any, Protocol

from comfy.patcher_extension import WrappersMP
from torch import Tensor

from ..core.features import NEEDS, Features
from ..core.probe import Probe, scored, scored_and_decoded
from ..core.scores import Scores
from ..core.texts import plain
from ..runs.keys import RECORDING
from ..runs.latents import row_keys
from ..runs.run_watch import add_watch
from .attachment import WRAPPERS, Attachment
from .moments import AUTO, parse_moments
from .previews import preview_images
from .scoring import why_missing, why_not_seen
from .store import RowRecord
from .taps.families import family_for, require_fit, require_images


class RowRule(Protocol):
    """What decides in a run, at its one moment, which rows go on."""

    def install(self, model: Any) -> None:
        """Add its wrappers to a MODEL that has an attachment, inside the wrappers of the recording."""
        ...


def attach_probe(model: Any, probe: Probe, moments: str = AUTO, rule: RowRule | None = None) -> Any:
    """A clone of a MODEL that records what ``probe`` needs whenever a sampler runs it.

    Args:
        model: a MODEL (``ModelPatcher``).
        probe: says what is captured, and scores it later.
        moments: see :func:`moments.parse_moments`.
        rule: which rows are computed after the moment, which has to be one then. None: all.

    Raises:
        ValueError: not a model of images, one whose family isn't supported where the probe reads more than x0,
            a probe trained for another model, a probe already attached,
            moments that can't be read or are several with a rule.
    """
    require_images(model)
    family = family_for(probe.needs, model)
    require_fit(probe, model)
    attached = model.get_attachment(RECORDING)
    if attached is not None:
        raise ValueError(
            f'a probe ("{attached.probe.name}") is already attached to this MODEL. One Attach Probe '
            "or Prune in Flight per MODEL: connect this one to the MODEL before the first, and sample each of them."
        )
    asked = parse_moments(moments)
    if rule is not None and asked is not None and len(asked) > 1:
        raise ValueError(
            f'"{plain(moments)}" are several moments, but rows are dropped at one. Write one, such as "20%".'
        )
    attachment = Attachment(probe, family, asked)
    model = model.clone()
    model.set_attachments(RECORDING, attachment)
    model.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, RECORDING, attachment.outer_sample)
    for kind, wrapper in WRAPPERS.items():
        model.add_wrapper_with_key(kind, RECORDING, wrapper)
    add_watch(model)
    if rule is not None:
        rule.install(model)
    return model


def _attachment(model: Any) -> Attachment:
    attachment = model.get_attachment(RECORDING)
    if attachment is None:
        raise ValueError(
            "no probe is attached to this MODEL. Put Attach Probe between the model loader and the sampler, "
            "and connect its MODEL output both to the sampler and here."
        )
    return attachment


def _records(attachment: Attachment, latent: dict[str, Any]) -> list[RowRecord]:
    records = [attachment.store.find(key) for key in row_keys(latent["samples"])]
    unknown = [row for row, record in enumerate(records) if record is None]
    if unknown:
        raise ValueError(
            f"rows {unknown} of this LATENT were not sampled with the probed MODEL that is connected here (or so long "
            "ago that their records are gone). Connect the LATENT output of a sampler whose MODEL comes from this "
            "Attach Probe, with nothing between that changes the latent's values."
        )
    return records


def _features(record: RowRecord, needs: frozenset[str], moment: str | None) -> Features:
    if moment is not None and moment in record.missing or not record.features:
        reasons = [record.missing[moment]] if moment in record.missing else list(record.missing.values())
        raise ValueError("nothing was captured: " + " ".join(reasons))
    name = moment or next(reversed(record.features))
    if name not in record.features:
        raise ValueError(f'"{plain(name)}" was not captured; captured were: {", ".join(record.features)}.')
    features = record.features[name]
    if why := why_not_seen(features, needs):
        raise ValueError(f"{why}.")
    return features


def captured(model: Any, latent: dict[str, Any], moment: str | None = None) -> list[Features]:
    """What was captured of each row of a LATENT, in row order.

    Args:
        model: the MODEL that Attach Probe returned, or a clone of it.
        latent: a LATENT as it left a sampler, also its denoised output; rows may have been taken
            out or put together from several runs.
        moment: one of the moments asked for, as ``"20%"`` or ``"step 5"``; the latest by default.

    Raises:
        ValueError: no probe attached, rows that no probed model sampled, nothing captured; each
            says how to wire it.
    """
    attachment = _attachment(model)
    needs = frozenset(attachment.probe.needs)
    return [_features(record, needs, moment) for record in _records(attachment, latent)]


def finished_rows(model: Any, latent: dict[str, Any]) -> tuple[list[RowRecord], list[list[Features]]]:
    """All that was captured of runs that went to their end.

    Arguments as :func:`captured`.

    Returns:
        The record of each row, and for each moment that was asked for the features of all rows, in the
        order of evaluation. Moments that fell on one evaluation count once.

    Raises:
        ValueError: as :func:`captured`; also a run that was cut short, a moment that one of the rows
            misses, rows of different schedules, or a part of what was asked for that wasn't seen.
    """
    records = _records(_attachment(model), latent)
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
    """Why a row can't be recorded: parts that are not there, and blocks."""
    parts = [(f"the {part}", why_missing(row, part)) for part in sorted(needs)]
    blocks = [(f"the attention of {name}", why) for name, why in row.why.items() if name not in NEEDS]
    return [f"{what} could not be captured at {row.moment}: {why}" for what, why in [*parts, *blocks] if why]


def probe_of(model: Any) -> Probe:
    """The probe attached to a MODEL. Raises ValueError if there is none."""
    return _attachment(model).probe


def score_latent(model: Any, latent: dict[str, Any], moment: str | None = None) -> Scores:
    """Score each row of a LATENT with the probe attached to the MODEL it was sampled with.

    Arguments and errors as :func:`captured`; also raised if the rows were captured at different
    noise levels, whose scores don't compare.
    """
    rows = _comparable(captured(model, latent, moment))
    return _scores(model, latent, rows, scored(probe_of(model), rows))


def score_with_previews(model: Any, latent: dict[str, Any], moment: str | None = None) -> tuple[Scores, Tensor | None]:
    """:func:`score_latent`, and a picture of each row, float 0 to 1, ``[rows, height, width, 3]``.

    A probe that decodes its rows shows what it judged; others show ComfyUI's latent preview, or
    None for a model without one.
    """
    rows, probe = _comparable(captured(model, latent, moment)), probe_of(model)
    values, images = scored_and_decoded(probe, rows)
    return _scores(model, latent, rows, values), preview_images(model, rows) if images is None else images


def _comparable(rows: list[Features]) -> list[Features]:
    if len({(row.moment, round(row.percent, 3)) for row in rows}) > 1:
        raise ValueError(
            "the rows were captured at different noise levels, whose scores don't compare. Score them apart."
        )
    return rows


def _scores(model: Any, latent: dict[str, Any], rows: list[Features], values: Tensor) -> Scores:
    records, probe = _records(_attachment(model), latent), probe_of(model)
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
        note="\n".join(dict.fromkeys(record.note for record in records if record.note)),
    )


def _together(of_records: Iterable[Iterable[Any]]) -> tuple[Any, ...]:
    """What is said of any of the records, once."""
    return tuple(dict.fromkeys(said for record in of_records for said in record))
