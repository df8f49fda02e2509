"""``python -m training verify``: a damaged file is found, named and recorded again."""

import pytest
from diffusion_probe.training import command
from diffusion_probe.training.dataset.checking import check_dataset, remove_damaged
from diffusion_probe.training.dataset.folder import Dataset

from support.recorded import record


@pytest.fixture
def folder(tmp_path):
    return record(tmp_path / "data", prompts=4, rows=2)


def files(folder):
    return sorted((folder / "runs").glob("*.safetensors"))


def test_a_whole_dataset_is_counted_and_nothing_is_named(folder):
    check = check_dataset(folder)
    assert (check.runs, check.images, check.damaged, check.unlisted) == (4, 8, {}, 0)
    assert check.size == sum(path.stat().st_size for path in files(folder))
    assert check.text().endswith("Nothing is damaged or missing.")


def test_one_changed_bit_a_cut_file_and_a_lost_one_are_named_each(folder):
    changed, cut, lost, _ = files(folder)
    content = bytearray(changed.read_bytes())
    content[-3] ^= 1
    changed.write_bytes(content)
    cut.write_bytes(cut.read_bytes()[:-10])
    lost.unlink()
    assert len(Dataset(folder).runs) == 2  # a changed bit alone is no reason to leave a run out
    check = check_dataset(folder)
    assert check.damaged.keys() == {changed.name, cut.name, lost.name} and check.runs == 1
    assert "another SHA-256" in check.damaged[changed.name] and "not there" in check.damaged[lost.name]
    assert remove_damaged(check) == 2 and len(files(folder)) == 1
    assert {path.name for path in (folder / "damaged").iterdir()} == {changed.name, cut.name}


def test_a_run_that_was_recorded_again_is_whole(folder):
    record(folder, prompts=4, rows=2, seed=1)
    assert check_dataset(folder).damaged == {}


def test_lists_of_earlier_versions_have_no_digests_and_that_is_said(folder):
    for path in folder.glob("runs-*.jsonl"):
        path.unlink()
    check = check_dataset(folder)
    assert check.unlisted == check.runs == 4 and "4 files have no SHA-256" in check.text()


def test_the_command_ends_with_1_and_moves_files_only_with_remove(folder, capsys):
    command.main(["verify", str(folder)])
    files(folder)[0].write_bytes(b"")
    with pytest.raises(SystemExit) as ended:
        command.main(["verify", str(folder)])
    assert ended.value.code == 1 and "--remove" in capsys.readouterr().out and len(files(folder)) == 4
    with pytest.raises(SystemExit):
        command.main(["verify", str(folder), "--remove"])
    assert "1 files were moved" in capsys.readouterr().out and len(files(folder)) == 3
    with pytest.raises(SystemExit, match="holds no dataset"):
        command.main(["verify", str(folder / "runs")])
