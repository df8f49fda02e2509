"""Header of a dataset, ``dataset.json``: properties that all of its runs share."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ...engine.core.json_text import read_json
from ...engine.core.texts import half_character, plain
from .run_record import FORMAT, versioned

HEADER = "dataset.json"


@dataclass(frozen=True)
class Header:
    """Properties that all runs of a dataset share.

    Attributes:
        family: of the model, as ``Features.family``.
        blocks: names of the recorded attention blocks, as in ``Features.blocks``.
        activation_channels: channels of the projected activation, 0 if none was recorded.
        model: name of the model, for people.
        label: unit of the first label of every run; empty where it isn't known.
    """

    family: str
    blocks: tuple[str, ...]
    activation_channels: int
    model: str = ""
    label: str = ""


def read_header(folder: Path) -> Header:
    """Read the header of a dataset.

    Raises:
        ValueError: the folder holds no dataset, or one of a newer format.
    """
    try:
        values = read_json((folder / HEADER).read_bytes())
    except FileNotFoundError:
        raise ValueError(
            f"{folder} holds no dataset: {HEADER} isn't there. Name a folder that Record Probe Data or "
            "python -m training record wrote."
        ) from None
    except ValueError as error:
        raise _damaged(folder, error) from error
    if isinstance(values, dict) and type(values.get("format")) is int and values["format"] > FORMAT:
        raise ValueError(f"the dataset {folder} is of a newer format than {FORMAT}. Update the pack.")
    try:
        values = versioned(values, "it is no description of a dataset", "")
        if set(values) - {each.name for each in fields(Header)}:
            raise ValueError("it holds what this version doesn't know")
        header = Header(**{**values, "blocks": _names(values.get("blocks"))})
    except TypeError as error:
        raise _damaged(folder, "fields are missing") from error
    except ValueError as error:
        raise _damaged(folder, error) from error
    texts = (header.family, header.model, header.label)
    count = header.activation_channels
    if not all(map(_is_text, texts)) or type(count) is not int or count < 0:
        raise _damaged(folder, "a value is of another kind")
    return header


def _names(values: Any) -> tuple[str, ...]:
    if not isinstance(values, list) or not all(map(_is_text, values)):
        raise ValueError("its blocks are no list of names")
    return tuple(values)


def _damaged(folder: Path, why: object) -> ValueError:
    return ValueError(f"{folder / HEADER} is damaged ({plain(why)}). Copy it again from where it was recorded.")


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and half_character(value) is None
