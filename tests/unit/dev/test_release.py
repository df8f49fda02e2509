"""Whether the version changed, in a small repository."""

import subprocess

import pytest

from dev.release import version_changed, version_in


@pytest.fixture
def repository(tmp_path):
    """Makes a commit with each version that it is called with; the commit."""

    def git(*arguments: str) -> str:
        names = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
        done = subprocess.run(["git", *names, *arguments], cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def commit(version: str, name: str = "pack") -> str:
        (tmp_path / "pyproject.toml").write_text(f'[project]\nname = "{name}"\nversion = "{version}"\n')
        git("add", ".")
        git("commit", "--quiet", "-m", version)
        return git("rev-parse", "HEAD")

    git("init", "--quiet")
    return commit


def test_a_version_changed_if_it_is_another_than_before_the_push(repository, tmp_path):
    first = repository("0.1.0")
    assert version_changed(first, tmp_path) is False
    second = repository("0.2.0")
    repository("0.2.0", name="renamed")
    assert version_changed(first, tmp_path) is True and version_changed(second, tmp_path) is False


def test_without_the_commit_the_one_before_the_last_counts(repository, tmp_path):
    gone = "0" * 40
    repository("0.1.0")
    assert version_changed(gone, tmp_path) is True
    repository("0.1.0", name="renamed")
    assert version_changed(gone, tmp_path) is False
    repository("0.2.0")
    assert version_changed(gone, tmp_path) is True


def test_a_file_without_a_version_is_an_error():
    with pytest.raises(ValueError, match="no line version"):
        version_in("[project]\n")
