"""What a server says is installed: versions, and digests of the model files that a workflow names."""

import hashlib

import pytest
from comfyui_version import __version__
from diffusion_probe.engine.core import pack_version as of_pack
from diffusion_probe.engine.runs.installed import installed


@pytest.fixture
def models(tmp_path, monkeypatch):
    import folder_paths

    for folder in ("loras", "vae"):
        (tmp_path / folder / "below").mkdir(parents=True)
        monkeypatch.setitem(folder_paths.folder_names_and_paths, folder, ([str(tmp_path / folder)], {".safetensors"}))
    folder_paths.filename_list_cache.clear()
    yield tmp_path
    folder_paths.filename_list_cache.clear()


def sha(content):
    return hashlib.sha256(content).hexdigest()


def test_versions_are_those_of_this_comfyui_and_pack():
    said = installed([])
    assert said == {"comfyui": __version__, **of_pack.pack_version(), "files": {}} and said["pack"]


def test_model_files_have_their_sha256_and_everything_else_has_none(models):
    (models / "loras" / "below" / "a.safetensors").write_bytes(b"one")
    (models / "vae" / "notes.txt").write_bytes(b"no model")
    (models / "outside.safetensors").write_bytes(b"outside")
    names = ["below/a.safetensors", "a.safetensors", "notes.txt", "../outside.safetensors", str(models / "vae")]
    assert installed(names)["files"] == {"below/a.safetensors": sha(b"one")}
    (models / "loras" / "below" / "a.safetensors").write_bytes(b"other")
    assert installed(names)["files"] == {"below/a.safetensors": sha(b"other")}


def test_a_name_of_two_folders_counts_as_both_files(models):
    for folder, content in (("loras", b"one"), ("vae", b"two")):
        (models / folder / "a.safetensors").write_bytes(content)
    both = installed(["a.safetensors"])["files"]
    (models / "vae" / "a.safetensors").write_bytes(b"2nd")
    assert installed(["a.safetensors"])["files"] != both


@pytest.mark.parametrize("names", [None, "a.safetensors", [1], {"a": 1}, ["a"] * 1001])
def test_what_is_no_list_of_names_is_refused(names):
    with pytest.raises(ValueError, match="a list of at most 1000 texts"):
        installed(names)
