"""The original packages of the reward models, each set in a folder of its own that ``make parity`` fills by itself."""

import hashlib
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

from diffusion_probe.dev.steps import run, step

from training.client.paths import CACHE

FOLDER = CACHE / "parity"
PACKAGES = {
    "image-reward": (
        "image-reward==1.5",
        "transformers==4.55.4",
        "tokenizers==0.21.4",
        "huggingface-hub==0.36.2",
        "timm==0.6.13",
        "fairscale==0.4.13",
    ),
    "open_clip": ("open-clip-torch==3.3.0", "timm==1.0.31", "ftfy==6.3.1", "wcwidth==0.2.14"),
    "SPO": ("transformers==4.44.2", "tokenizers==0.19.1", "huggingface-hub==0.36.2"),
}
ORIGINALS = {
    "ImageReward": "image-reward",
    "PickScore": "image-reward",  # for its transformers
    "CLIPScore": "open_clip",
    "LAION aesthetic": "open_clip",
    "HPSv2.1": "open_clip",
    "SPM (SD1.5)": "SPO",
    "SPM (SDXL)": "SPO",
}
"""Set of packages by the name of the reward model."""

SPO = os.environ.get("SPO_REPOSITORY", "https://github.com/RockeyCoss/SPO")
"""Address or folder of the git repository of SPO's authors, which no registry has."""
SPO_COMMIT = "27a86428edcff3b25dcce8001be94a7a01608f58"
SPO_MODELS = "spo_training_and_inference/spo/preference_models/models"
SPO_FILES = ("time_conditioned_clip.py", "step_aware_preference_model.py")


def installed(name: str) -> Path:
    """Install a set of original packages unless it is there, and return its folder.

    Packages that it shares with this environment (torch, numpy, pillow) are not installed again.

    Raises:
        SetupError: the package registry or the repository can't be reached.
    """
    digest = hashlib.sha256(json.dumps([PACKAGES[name], SPO_COMMIT, sys.version]).encode()).hexdigest()
    folder = FOLDER / f"{name}-{digest[:12]}"
    if folder.exists():
        return folder
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=FOLDER) as temporary:
        where = Path(temporary) / "packages"
        with step(f"Installing {', '.join(PACKAGES[name])} into .cache"):
            run(
                [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile",
                 "--no-deps", "--target", str(where), *PACKAGES[name]],
                "Installing the original packages failed",
                "Check the connection to the package registry.",
            )  # fmt: skip
        if name == "SPO":
            _fetch_spo(where / "spo_models", Path(temporary) / "repository")
        shutil.move(where, folder)
    return folder


def _fetch_spo(package: Path, repository: Path) -> None:
    """Make a package of the two files that define the network of SPO's authors."""
    fix = "Check the connection, or name a clone of the repository in SPO_REPOSITORY."
    with step(f"Fetching {SPO} at {SPO_COMMIT[:8]}"):
        run(["git", "clone", "--quiet", "--bare", SPO, str(repository)], "Fetching SPO failed", fix)
        archive = package.with_suffix(".tar")
        paths = [f"{SPO_MODELS}/{file}" for file in SPO_FILES]
        run(
            ["git", f"--git-dir={repository}", "archive", "--output", str(archive), SPO_COMMIT, *paths],
            "Reading SPO failed",
            fix,
        )
    shutil.unpack_archive(archive, package.with_name("unpacked"))
    shutil.move(package.with_name("unpacked") / SPO_MODELS, package)
    shutil.rmtree(package.with_name("unpacked"))
    archive.unlink()


def run_original(name: str, script: str, *arguments: str) -> None:
    """Run ``script NAME ARGUMENTS`` with the packages of a reward model in front of this environment's.

    Raises:
        SetupError: its packages can't be installed, or it failed.
    """
    environment = os.environ | {"PYTHONPATH": str(installed(ORIGINALS[name])), "HF_HUB_OFFLINE": "1"}
    run(
        [sys.executable, script, name, *arguments],
        f"The original of {name} failed",
        "That is an error of the benchmark.",
        env=environment,
    )
