"""A probe's file: what was written comes back, and anything else is refused with cause and fix."""

import json
import pickle
from dataclasses import asdict, replace

import pytest
import torch
from diffusion_probe.engine.core.features import Features
from diffusion_probe.engine.core.probe import Probe
from diffusion_probe.engine.core.prompt_words import Word
from diffusion_probe.probe_models import probe_file
from diffusion_probe.probe_models.inputs import row_inputs
from diffusion_probe.probe_models.probe_card import FORMAT, ProbeCard
from diffusion_probe.probe_models.probe_file import METADATA, load_probe, save_probe
from safetensors.torch import load_file, save_file

BLOCKS = ("double 0", "double 1", "single 0")


def row(seed=0, grid=(6, 9), tokens=7, blocks=BLOCKS, **changes):
    attention = torch.rand(len(blocks), tokens, *grid, generator=torch.Generator().manual_seed(seed)) / tokens
    words = (Word("red", (1,)), Word("circle", (2, 3)), Word("blue", (5,)))
    return Features(
        **{"family": "FLUX", "moment": "20%", "step": 5, "sigma": 0.9, "percent": 0.2, "blocks": blocks,
           "attention": attention.half(), "words": words, "text": torch.zeros(tokens, 5).half(), **changes}
    )  # fmt: skip


@pytest.fixture
def path(tmp_path):
    return tmp_path / "faces.safetensors"


@pytest.fixture
def right(path, write_probe):
    """After a refusal: a right file still loads and scores."""

    def check():
        write_probe(path)
        return load_probe(path).score([row()]).isfinite().all()

    return check


def rewrite(path, **changes):
    """Change the card that a file holds, as text."""
    with probe_file.safe_open(str(path), "pt") as file:
        record = json.loads(file.metadata()[METADATA])
    save_file(load_file(path), path, {METADATA: json.dumps({**record, **changes})})


def test_card_and_weights_come_back_bit_by_bit(path, write_probe):
    card, network = write_probe(
        path, calibration=(-1.5, 0.1, 2.0), prompts=144, images=2300, command="python -m training train",
        held_out={"within_spearman": 0.47}, skilled=True, heads=("ImageReward", "CLIPScore"),
        search_skill={"progress": [0.2], "correlation": [0.5], "spread": [], "source": "held out"},
    )  # fmt: skip
    probe = load_probe(path)
    assert isinstance(probe, Probe) and asdict(probe.card) == asdict(card)
    assert (probe.name, probe.label, probe.skilled) == ("faces", "ImageReward", True)
    assert probe.calibration == (-1.5, 0.1, 2.0)
    for name, tensor in network.state_dict().items():
        assert torch.equal(probe.network.state_dict()[name], tensor)
    rows = [row(seed) for seed in range(3)]
    with torch.no_grad():
        expected = [network.eval()(row_inputs(one, card.blocks, network.needs))[0, 0] for one in rows]
    torch.testing.assert_close(probe.score(rows), torch.stack(expected))


def test_half_precision_files_score_in_full_precision(path, write_probe):
    card, network = write_probe(path)
    full = load_probe(path).score([row()])
    save_probe(path, card, network.half())
    half = load_probe(path)
    assert half.score([row()]).dtype == torch.float32
    torch.testing.assert_close(half.score([row()]), full, atol=1e-2, rtol=0)


def test_a_score_does_not_depend_on_other_rows_which_may_differ_in_grid_and_words(path, write_probe):
    write_probe(path)
    probe = load_probe(path)
    rows = [row(0), row(1, (4, 4)), row(2, (1, 1), tokens=30), row(3, words=())]
    together = probe.score(rows)
    assert len(set(together.tolist())) == 4
    torch.testing.assert_close(together, torch.cat([probe.score([one]) for one in rows]))
    torch.testing.assert_close(together.flip(0), probe.score(rows[::-1]))


def test_it_reads_its_own_blocks_wherever_they_stand(path, write_probe):
    write_probe(path)
    probe, one = load_probe(path), row()
    order = [2, 0, 1]
    turned = replace(one, blocks=tuple(BLOCKS[block] for block in order), attention=one.attention[order])
    assert torch.equal(probe.score([turned]), probe.score([one]))
    other = one.attention.clone()
    other[0] = 0  # a block that the probe doesn't read
    assert torch.equal(probe.score([replace(one, attention=other)]), probe.score([one]))


@pytest.mark.parametrize(
    "changes, says",
    [
        ({"family": "SDXL"}, "faces was trained for FLUX, and row 0 is of SDXL"),
        ({"attention": None}, "faces: no attention was captured for row 0. Attach this probe to the MODEL"),
        ({"blocks": ("double 1", "single 7", "single 8")}, "has none of single 0. Use a probe that was trained for"),
        ({"attention": torch.full((3, 7, 2, 2), float("nan"))}, "holds NaN or infinity"),
        ({"attention": torch.zeros(3, 0, 2, 2)}, "is empty"),
    ],
)
def test_features_it_was_not_trained_for_are_refused(path, write_probe, changes, says):
    write_probe(path)
    with pytest.raises(ValueError, match=says):
        load_probe(path).score([row(**changes)])


class Planted:
    """Unpickled, it would leave a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("ending", ["pt", "pth", "safetensors"])
@pytest.mark.parametrize("by", ["pickle", "torch", "old torch"])
def test_a_pickled_file_is_refused_by_its_content_and_never_run(tmp_path, right, by, ending):
    path, mark = tmp_path / f"probe.{ending}", tmp_path / "it ran"
    if by == "pickle":
        path.write_bytes(pickle.dumps(Planted(mark)))
    else:
        torch.save(Planted(mark), path, _use_new_zipfile_serialization=by == "torch")
    with pytest.raises(ValueError, match=rf"probe.{ending} is a pickled file.*can run code. Choose a probe's .safe"):
        load_probe(path)
    assert not mark.exists() and right()


@pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 0.5, 0.999])
def test_a_file_cut_off_anywhere_is_refused(path, write_probe, right, share):
    write_probe(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ValueError, match=r"faces.safetensors is (cut off or damaged. Copy it again|no safetensors)"):
        load_probe(path)
    assert right()


def test_a_header_that_looks_like_a_pickle_is_no_pickle(path):
    """Its length's first bytes are those of a pickle of protocol 2."""
    path.write_bytes(b"\x80\x02" + bytes(6) + b"{" + b" " * 100)
    with pytest.raises(ValueError, match="cut off"):
        load_probe(path)


def test_a_lora_is_no_probe(path, right):
    save_file({"lora_up.weight": torch.zeros(4, 4)}, path, {"format": "pt"})
    with pytest.raises(ValueError, match="faces.safetensors is a safetensors file, but not of a probe: a LoRA"):
        load_probe(path)
    assert right()


def test_a_missing_file_is_named(path):
    with pytest.raises(ValueError, match="faces.safetensors can't be opened: .*Check that the file is there"):
        load_probe(path)


@pytest.mark.parametrize(
    "changes, says",
    [
        ({"format": FORMAT + 1}, f"it is of format {FORMAT + 1}, and this version .* reads {FORMAT}.*update the pack"),
        ({"format": None}, "has no format version"),
        ({"kind": "oracle"}, 'kind "oracle", and this version knows attention cnn'),
        ({"calibration": [2, 1]}, "wrong value for calibration"),
        ({"label_quantiles": [1]}, "wrong value for label_quantiles"),
        ({"calibration": [0, float("nan")]}, "wrong value for calibration"),
        ({"calibration": ["a", "b"]}, "wrong value for calibration"),
        ({"heads": []}, "wrong value for heads"),
        ({"heads": ["a", "b", "c", "d"]}, "wrong value for heads"),
        ({"heads": ["a", "b"]}, "size mismatch"),
        ({"blocks": ["double 1"]}, "size mismatch"),
        ({"blocks": "double 1"}, "wrong value for blocks"),
        ({"network": {"widths": [16, 32], "layers": 2}}, "Missing key"),
        ({"network": {"widths": [10**9, 8], "layers": 1}}, ""),
        ({"network": {"widths": [8] * 10**5, "layers": 1}}, "wrong value for network"),
        ({"network": {"widths": [8], "layers": 10**9}}, "wrong value for network"),
        ({"network": {"widths": [9], "layers": 1}}, "divisible"),
        ({"network": []}, "lacks or adds"),
        ({"search_skill": {"progress": [0.2]}}, "wrong value for search_skill"),
        ({"skilled": "yes"}, "wrong value for skilled"),
        ({"more": 1}, "lacks or adds more"),
    ],
)
def test_a_card_that_makes_no_sense_is_refused(path, write_probe, right, changes, says):
    write_probe(path)
    rewrite(path, **changes)
    with pytest.raises(ValueError, match=f"(?s)faces.safetensors can't be used: .*{says}"):
        load_probe(path)
    assert right()


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "7"])
def test_a_card_that_is_no_json_object_is_refused(path, write_probe, text):
    write_probe(path)
    save_file(load_file(path), path, {METADATA: text})
    with pytest.raises(ValueError, match="faces.safetensors can't be used: .*copy or train it again"):
        load_probe(path)


def test_weights_that_are_not_numbers_are_refused(path, write_probe, right):
    card, network = write_probe(path)
    network.stem.weight.data[0, 0, 0, 0] = float("nan")
    save_probe(path, card, network)
    with pytest.raises(ValueError, match="its weights hold NaN or infinity"):
        load_probe(path)
    assert right()


def test_a_write_that_fails_leaves_the_file_that_was_there(path, write_probe, monkeypatch):
    write_probe(path)
    before = path.read_bytes()

    def disk_is_full(tensors, unfinished, metadata):
        unfinished.write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(probe_file, "save_file", disk_is_full)
    with pytest.raises(OSError, match="No space"):
        write_probe(path, seed=1)
    assert path.read_bytes() == before and [one.name for one in path.parent.iterdir()] == [path.name]


def test_a_card_with_wrong_values_is_not_even_made():
    with pytest.raises(ValueError, match="wrong value for blocks, prompts and images"):
        ProbeCard("attention cnn", "FLUX", (), ("20%",), "l", ("l",), {"widths": [8], "layers": 1}, prompts=-1)
