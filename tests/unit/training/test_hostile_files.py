"""Files that someone else wrote, cut or changed: each is refused or left out in one sentence, and the others count."""

import json
import shutil

import pytest
import torch
from diffusion_probe.engine.core.features import NEEDS, Features
from diffusion_probe.engine.core.json_text import read_json, storable
from diffusion_probe.engine.core.prompt_words import Word
from diffusion_probe.probe_models.probe_file import METADATA as CARD
from diffusion_probe.probe_models.probe_file import load_probe
from diffusion_probe.training.dataset.batches import Batches
from diffusion_probe.training.dataset.folder import Dataset
from diffusion_probe.training.dataset.projection import dataset_projection
from diffusion_probe.training.dataset.run_record import METADATA
from diffusion_probe.training.fitting.stage import Plan, Stage
from safetensors import safe_open
from safetensors.torch import save_file

from support import hostile

ROWS = 2


def read(path):
    with safe_open(str(path), "pt") as file:
        return file.metadata(), {name: file.get_tensor(name) for name in file.keys()}


def write(path, key, text, tensors):
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path, {key: text})


def broken_tensors(rng, tensors):
    """The tensors with one of them left out, cut, turned, of another type, no number or renamed."""
    tensors = {name: tensor.clone() for name, tensor in tensors.items()}
    name = rng.choice(sorted(tensors))
    tensor = tensors.pop(name)
    changes = [
        lambda: {},
        lambda: {name: tensor[:-1]},
        lambda: {name: tensor[..., :-1]},
        lambda: {name: torch.cat([tensor, tensor])},
        lambda: {name: torch.cat([tensor, tensor], -1)},
        lambda: {name: tensor.flatten()},
        lambda: {name: tensor[None]},
        lambda: {name: tensor.to(torch.int8)},
        lambda: {name: tensor.to(torch.float8_e4m3fn) if tensor.is_floating_point() else tensor.double()},
        lambda: {name: torch.full_like(tensor, float("nan")) if tensor.is_floating_point() else tensor[:0]},
        lambda: {f"{name}x\ud800"[:-1]: tensor},
        lambda: {name: tensor, "more": torch.zeros(3)},
    ]
    return tensors | rng.choice(changes)()


def spoilt(rng, path, key):
    """Change a file: its text, its tensors, or its bytes."""
    text, tensors = read(path)
    kind = rng.randrange(4)
    if kind == 0:
        data = path.read_bytes()
        at = rng.randrange(len(data))
        path.write_bytes(rng.choice((data[:at], data[:at] + bytes([data[at] ^ 255]) + data[at + 1 :], b"", data[at:])))
        return
    if kind == 1:
        tensors = broken_tensors(rng, tensors)
    said = hostile.changed(rng, json.loads(text[key]), rng.choice((1, 1, 3))) if kind > 1 else json.loads(text[key])
    write(path, key, rng.choice((json.dumps(said), json.dumps(said), "[" * 5000))[:100_000], tensors)


def one_row():
    attention = torch.rand(2, 7, 4, 4)
    words = (Word("red", (1,)), Word("circle", (2, 3)))
    return Features(
        family="FLUX", moment="20%", step=5, sigma=0.9, percent=0.2, blocks=("double 1", "single 0"), words=words,
        attention=attention.half(), text=torch.zeros(7, 5).half(),
    )  # fmt: skip


def test_a_hostile_probe_file_is_refused_in_one_sentence_or_scores(tmp_path, draws, write_probe):
    path = tmp_path / "odd.safetensors"
    for rng in draws * 2:
        write_probe(path, held_out={"label_spread": 0.5}, search_skill={
            "progress": [0.2, 0.4], "correlation": [0.5, 0.7], "spread": [1.0, 0.9], "source": "here"
        }, calibration=(0.0, 1.0))  # fmt: skip
        spoilt(rng, path, CARD)
        try:
            probe = load_probe(path)
            assert probe.score([one_row()]).shape == (1,)
        except ValueError as error:
            assert str(error).startswith("odd") and hostile.is_sentence(str(error)), error


@pytest.fixture(scope="module")
def recorded(tmp_path_factory, record):
    return record(tmp_path_factory.mktemp("dataset") / "data", prompts=6, rows=ROWS)


@pytest.fixture
def folder(recorded, tmp_path):
    """A dataset of six runs, to be spoilt."""
    shutil.copytree(recorded, tmp_path / "data")
    return tmp_path / "data"


def learn_from(dataset):
    """Read all that a training reads."""
    batches = Batches(dataset, dataset.runs, frozenset(NEEDS), ("reward",))
    assert dataset_projection(dataset.folder) is not None
    for group in batches.groups:
        for moment in range(len(group.runs[0].moments)):
            assert batches.read([(group, moment, group.rows)]).labels.isfinite().all()
    for seed in range(4):
        batches.draw(torch.Generator().manual_seed(seed), 4, ROWS, others=2)


def test_a_hostile_run_file_is_left_out_by_name_and_all_others_are_learnt_from(folder, draws):
    whole = {path.name: path.read_bytes() for path in (folder / "runs").iterdir()}
    for rng in draws * 2:
        for name, content in whole.items():
            (folder / "runs" / name).write_bytes(content)
        spoiled = rng.choice(sorted(whole))
        spoilt(rng, folder / "runs" / spoiled, METADATA)
        dataset = Dataset(folder)
        assert {run.file for run in dataset.runs} >= set(whole) - {spoiled}
        assert set(dataset.damaged) <= {spoiled} and all(map(hostile.is_sentence, dataset.damaged.values()))
        try:
            learn_from(dataset)
        except ValueError as error:  # numbers are looked at when they are read
            assert spoiled in str(error) and "NaN or infinity" in str(error)


def test_a_hostile_header_projection_or_list_is_refused_in_one_sentence(folder, draws):
    files = [path for path in folder.iterdir() if path.is_file() and path.suffix != ".lock"]
    whole = {path: path.read_bytes() for path in files}
    for rng in draws * 2:
        for path, content in whole.items():
            path.write_bytes(content)
        path = rng.choice(files)
        data = path.read_bytes()
        if path.suffix == ".safetensors":
            write(path, "format", "pt", broken_tensors(rng, read(path)[1]))
        elif path.suffix == ".json" and rng.random() < 0.8:
            path.write_text(json.dumps(hostile.changed(rng, json.loads(data))))
        else:
            cut = data[: rng.randrange(len(data))]
            path.write_bytes(rng.choice((cut, b"[" * 9999, b"\xff", data + b'\n{"key": []}\n')))
        try:
            dataset = Dataset(folder)
            learn_from(dataset)
        except ValueError as error:
            assert path.suffix != ".jsonl" and hostile.is_sentence(str(error)), error


# One by one: what was raw before ----------------------------------------------------------------

RECORD = {
    "no seeds": {"seeds": []},
    "text for seeds": {"seeds": "ab"},
    "seeds that are no numbers": {"seeds": ["1", "2"]},
    "more seeds than rows": {"seeds": [1, 2, 3], "labels": {"reward": [1, 2, 3]}, "others": {}},
    "fewer labels than rows": {"labels": {"reward": [1.0], "other": [1.0]}},
    "a label of text": {"labels": {"reward": ["high", "low"]}},
    "a label of null": {"labels": {"reward": [None, 1.0]}},
    "an infinite label": {"labels": {"reward": [float("inf"), 1.0]}},
    "no labels": {"labels": {}},
    "labels that are a list": {"labels": [1.0, 2.0]},
    "others of another length": {"others": {"a fox": [1.0]}},
    "parts of words that aren't there": {"parts": {"a fox": [99]}, "others": {"a fox": [1.0, 2.0]}},
    "parts of no words": {"parts": {"a fox": []}, "others": {"a fox": [1.0, 2.0]}},
    "no words": {"words": []},
    "more words than maps": {"words": ["a", "circle", "more"]},
    "words that are numbers": {"words": [1, 2]},
    "half a character in a word": {"words": ["a", "\ud800"]},
    "half a character in the prompt": {"prompt": "\ud800"},
    "a prompt of null": {"prompt": None},
    "no moments": {"moments": []},
    "one moment more": {"moments": [{"step": step, "sigma": 0.5, "percent": 0.1 * step} for step in (1, 2, 3)]},
    "a moment of text": {"moments": ["20%", "40%"]},
    "a sigma of null": {"moments": [{"step": 1, "sigma": None, "percent": 0.1}] * 2},
    "a percent of 7": {"moments": [{"step": 1, "sigma": 0.5, "percent": 7}] * 2},
    "no steps": {"steps": 0},
    "steps of text": {"steps": "many"},
    "a key that leads out": {"key": "../../outside"},
    "a key of null": {"key": None},
    "grids of its own": {"grids": [["final", 1, 1]]},
    "a format of text": {"format": "1"},
    "nested": {"settings": "NESTED"},
}


@pytest.mark.parametrize("kind", RECORD)
def test_a_record_that_does_not_hold_together_is_left_out_by_name(folder, kind):
    path = min((folder / "runs").iterdir())
    text, tensors = read(path)
    said = json.dumps({**json.loads(text[METADATA]), **RECORD[kind]})
    said = said.replace('"NESTED"', '{"a": ' * 5000 + "1" + "}" * 5000)
    write(path, METADATA, said, tensors)
    dataset = Dataset(folder)
    assert list(dataset.damaged) == [path.name] and hostile.is_sentence(dataset.damaged[path.name])
    assert len(dataset.runs) == 5
    learn_from(dataset)


TENSORS = {
    "no final latents": lambda held: held.pop("final"),
    "no maps": lambda held: held.pop("1.maps"),
    "a row less": lambda held: held.update({"0.latent": held["0.latent"][:1]}),
    "other channels": lambda held: held.update({name: held[name][:, :2] for name in held if name != "text"}),
    "another text encoder": lambda held: held.update(text=held["text"][:, :3]),
    "whole numbers": lambda held: held.update({"0.maps": held["0.maps"].to(torch.int8)}),
    "an axis less": lambda held: held.update({"0.activation": held["0.activation"].flatten(1)}),
    "moments of two sizes": lambda held: held.update({"1.maps": held["1.maps"][..., :1]}),
    "another size than came out": lambda held: held.update({"0.denoised": held["0.denoised"][..., :1]}),
}


@pytest.mark.parametrize("kind", TENSORS)
def test_tensors_that_the_record_is_not_of_leave_their_run_out_by_name(folder, kind):
    path = min((folder / "runs").iterdir())
    text, tensors = read(path)
    TENSORS[kind](tensors)
    write(path, METADATA, text[METADATA], tensors)
    dataset = Dataset(folder)
    assert list(dataset.damaged) == [path.name] and hostile.is_sentence(dataset.damaged[path.name])
    learn_from(dataset)


def test_a_copied_file_counts_once_under_whatever_name_and_key(folder, caplog):
    path = min((folder / "runs").iterdir())
    copy, other = path.with_name("a copy.safetensors"), path.with_name("0.safetensors")
    copy.write_bytes(path.read_bytes())
    text, tensors = read(path)
    write(other, METADATA, json.dumps({**json.loads(text[METADATA]), "key": "0"}), tensors)
    dataset = Dataset(folder)
    assert len(dataset.runs) == 6 and {run.file for run in dataset.runs} & {path.name, other.name}
    copies = sorted({path.name, copy.name, other.name} - {run.file for run in dataset.runs})
    assert sorted(dataset.damaged) == copies and all("is a copy of" in why for why in dataset.damaged.values())
    assert "2 of 8 recorded runs can't be used" in caplog.text


def test_a_renamed_file_is_read_where_it_lies(folder):
    path = min((folder / "runs").iterdir())
    path.rename(path.with_name("renamed.safetensors"))
    dataset = Dataset(folder)
    assert not dataset.damaged and "renamed.safetensors" in {run.file for run in dataset.runs}
    learn_from(dataset)


def test_a_record_whose_key_leads_out_reads_no_file_outside(folder):
    path = min((folder / "runs").iterdir())
    text, tensors = read(path)
    outside = folder.parent / "outside.safetensors"
    outside.write_bytes(path.read_bytes())
    write(path, METADATA, json.dumps({**json.loads(text[METADATA]), "key": "../../outside"}), tensors)
    assert "wrong value for key" in Dataset(folder).damaged[path.name]


def test_a_file_that_changes_while_it_is_learnt_from_is_named(folder):
    dataset = Dataset(folder)
    path = folder / "runs" / dataset.runs[0].file
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match=f"{path.name} can't be read any more"):
        learn_from(dataset)


@pytest.mark.parametrize("shape", [(3,), (4, 5, 1), (3, 5)])
def test_a_projection_of_another_shape_is_refused_when_a_probe_is_loaded(tmp_path, write_probe, shape):
    path = tmp_path / "odd.safetensors"
    write_probe(path, kind="activation ranker", network={"activation": 4, "text": 5, "widths": [8, 16], "vector": 16})
    text, tensors = read(path)
    assert load_probe(path).projection is None
    write(path, CARD, text[CARD], {**tensors, "projection": torch.rand(4, 7)})
    assert load_probe(path).projection.shape == (4, 7)
    write(path, CARD, text[CARD], {**tensors, "projection": torch.rand(*shape)})
    with pytest.raises(ValueError, match=r"odd.safetensors can't be used: its projection has the shape \[.*4 channels"):
        load_probe(path)


WRONG = {
    "null": None, "nulls": [None], "no layers": {"layers": None}, "layers by list": {"layers": [1]}, "digits": 10**400,
    "half a character": "\ud800", "lists": [[]], "objects": {"a": {}},
}  # fmt: skip


@pytest.mark.parametrize("field", ["calibration", "held_out", "blocks", "network", "search_skill", "moments", "kind"])
@pytest.mark.parametrize("value", WRONG.values(), ids=WRONG)
def test_null_and_other_wrong_values_in_a_card_are_refused_by_name(tmp_path, write_probe, field, value):
    if field == "search_skill" and value is None:
        pytest.skip("that says that it wasn't measured")
    path = tmp_path / "odd.safetensors"
    write_probe(path)
    text, tensors = read(path)
    write(path, CARD, json.dumps({**json.loads(text[CARD]), field: value}), tensors)
    said = f"odd.safetensors can't be used: .*({field}|kind, family|sizes of the network)"
    with pytest.raises(ValueError, match=said):
        load_probe(path)


def stage(path, steps=4):
    torch.manual_seed(0)
    module = torch.nn.Linear(3, 1)

    def loss_of(step):
        return module(torch.ones(2, 3) * step).square().mean()

    return Stage(path, module, loss_of, Plan(steps, 0.1), {"a": 1})


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_torn_checkpoint_goes_on_from_the_one_before_to_the_same_end(tmp_path, share, caplog):
    expected = stage(tmp_path / "whole.safetensors").run()
    path = tmp_path / "torn.safetensors"
    for until in (2, 3):
        stage(path).run(until=until)
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    torn = stage(path)
    torn.resume()
    assert len(torn.losses) == 2 and "goes on from the previous one" in caplog.text
    assert stage(path).run() == expected


def test_of_two_torn_checkpoints_the_training_starts_anew(tmp_path, caplog):
    expected = stage(tmp_path / "whole.safetensors").run()
    path = tmp_path / "torn.safetensors"
    for until in (2, 3):
        stage(path).run(until=until)
    for left in tmp_path.glob("torn*"):
        left.write_bytes(b"torn")
    assert stage(path).run() == expected and "starts anew" in caplog.text


def test_hostile_checkpoints_end_where_whole_ones_do(tmp_path, draws):
    expected = stage(tmp_path / "whole.safetensors").run()
    for number, rng in enumerate(draws):
        path = tmp_path / f"{number}.safetensors"
        for until in (1, 2, 3):
            stage(path).run(until=until)
        text, tensors = read(path)
        if rng.random() < 0.5:
            path.write_bytes(path.read_bytes()[: rng.randrange(path.stat().st_size)])
        else:
            del tensors[rng.choice(sorted(name for name in tensors if not name.startswith("optimizer")))]
            save_file(tensors, path, text)
        assert stage(path).run() == expected


def test_json_that_is_nested_too_deeply_is_no_json_and_no_number_is_lost():
    with pytest.raises(ValueError, match="nested too deeply"):
        read_json("[" * 10**5)
    deep = []
    for _ in range(5000):
        deep = [deep]
    kept = storable({"a": [float("nan"), 1.5, float("-inf")], "b": deep})
    assert kept["a"] == ["nan", 1.5, "-inf"] and json.dumps(kept, allow_nan=False)
