"""Files from servers, added to a dataset here only if they are what was to be recorded."""

import errno
import shutil

import pytest
from diffusion_probe.training.client.jobs import Job
from diffusion_probe.training.dataset import writing
from diffusion_probe.training.dataset.checking import check_dataset
from diffusion_probe.training.dataset.folder import Dataset
from diffusion_probe.training.fleet.collection import Collection, DamagedRunError

from support.recorded import record


@pytest.fixture
def there(tmp_path):
    return record(tmp_path / "there", prompts=3, rows=2)


@pytest.fixture
def here(tmp_path, there):
    collection = Collection(tmp_path / "here")
    assert not collection.begun and collection.keys() == set()
    collection.begin((there / "dataset.json").read_bytes(), (there / "projection.safetensors").read_bytes())
    return collection


def sent(there, number=0):
    run = Dataset(there).runs[number]
    return Job(run.prompt, run.seeds, run.key), (there / "runs" / run.file).read_bytes()


def test_a_file_is_added_as_it_is_and_only_once(here, there):
    job, content = sent(there)
    assert here.begun and here.add(job, content) and not here.add(job, content)
    assert (here.folder / "runs" / f"{job.key}.safetensors").read_bytes() == content
    assert here.keys() == {job.key} and here.has(job.key)
    check = check_dataset(here.folder)
    assert (check.runs, check.damaged, check.unlisted) == (1, {}, 0)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda content: content[:-8], "incomplete|Error while deserializing|size"),
        (lambda content: b"", "header"),
        (lambda content: b"cos\nsystem\n(S'true'\ntR.", "header|deserializing"),  # a pickle: never loaded
        (lambda content: content[:-8] + b"\x00\x7c" * 4, "NaN or infinity"),
    ],
)
def test_a_damaged_file_is_not_added(here, there, change, says):
    job, content = sent(there)
    with pytest.raises(DamagedRunError, match=f"(?i){says}"):
        here.add(job, change(content))
    assert here.keys() == set() and not list(here.folder.glob("runs/.*.safetensors.*"))


def test_the_file_of_another_run_or_dataset_is_not_added(here, there, tmp_path):
    (job, _), (_, other) = sent(there), sent(there, 1)
    with pytest.raises(DamagedRunError, match="it has the key"):
        here.add(job, other)
    strange = Collection(tmp_path / "strange")
    header = (there / "dataset.json").read_bytes().replace(b'"double 1"', b'"double 1", "double 2"')
    strange.begin(header, (there / "projection.safetensors").read_bytes())
    with pytest.raises(DamagedRunError, match="its tensor 0.maps has shape"):
        strange.add(*sent(there))


def test_a_full_disk_here_is_one_sentence_and_what_is_there_stays(here, there, monkeypatch):
    here.add(*sent(there))

    def full(path, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(writing, "_write", full)
    with pytest.raises(OSError, match="the disk is full. Everything recorded before is intact"):
        here.add(*sent(there, 1))
    assert len(Dataset(here.folder).runs) == 1


def test_the_first_header_and_projection_stay(here, there, tmp_path):
    other = record(tmp_path / "other", prompts=1, seed=7)
    before = here.projection
    here.begin((other / "dataset.json").read_bytes(), (other / "projection.safetensors").read_bytes())
    assert here.projection == before == (there / "projection.safetensors").read_bytes()


def test_model_files_are_those_of_the_first_recording(here):
    assert here.other_models({}) == [] and here.other_models({"flux.safetensors": "a1"}) == []
    assert Collection(here.folder).other_models({"flux.safetensors": "b2", "lora.safetensors": "c3"}) == [
        "flux.safetensors"
    ]


def test_a_damaged_dataset_is_refused_before_anything_is_recorded(here, there):
    shutil.copy(there / "dataset.json", here.folder / "projection.safetensors")
    with pytest.raises(ValueError, match="projection.safetensors is damaged"):
        Collection(here.folder)
