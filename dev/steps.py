"""Steps of set-up: one line with seconds each, one clear error, and stamps of what is done."""

import contextlib
import hashlib
import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from training.client.paths import CACHE

LOG = CACHE / "setup.log"


class SetupError(Exception):
    """Set-up can't go on; the message says what was wrong and what to do."""


@contextlib.contextmanager
def step(what: str) -> Iterator[None]:
    """Print ``what … N s`` around a piece of work."""
    started = time.monotonic()
    print(f"{what} … ", end="", flush=True)
    try:
        yield
    except BaseException:
        print("stopped", flush=True)
        raise
    print(f"{time.monotonic() - started:.0f} s", flush=True)


def run(command: list[str], failed: str, fix: str, **options) -> None:
    """Run a command with its output in the set-up log.

    Raises:
        SetupError: it failed; the message is ``failed``, its last words, and ``fix``.
    """
    LOG.parent.mkdir(parents=True, exist_ok=True)
    with LOG.open("a+b") as log:
        start = log.tell()
        log.write(f"\n$ {' '.join(command)}\n".encode())
        log.flush()
        try:
            code = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, **options
            ).returncode
        except FileNotFoundError:
            raise SetupError(f"{failed}: there is no {command[0]}. {fix}") from None
        if code == 0:
            return
        log.seek(start)
        output = log.read().decode(errors="replace").strip().splitlines()[1:]
    raise SetupError(f"{failed} (exit code {code}).\n{last_words(output)}\n{fix} The whole output: {LOG}")


def last_words(lines: list[str]) -> str:
    """Return the lines of a tool's output that say why it failed: its error lines, else its last ones."""
    errors = [line for line in lines if line.lower().lstrip().startswith(("error", "e:", "npm error", "npm err!"))]
    return "\n".join(f"    {line.strip()}" for line in (errors or lines)[-6:])


def compile_python(python: Path, folder: Path) -> None:
    """Compile a folder's modules on all cores, which pip does on one.

    Without it every start of the server takes three times as long where Python is told to write no
    bytecode (``PYTHONDONTWRITEBYTECODE``). A module that does not compile is nobody's problem here.
    """
    command = [str(python), "-m", "compileall", "-q", "-j", "0", str(folder)]
    subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def fingerprint(*inputs: str | Path) -> str:
    """Compute a hash of texts and of files' contents: what a finished step was made from."""
    digest = hashlib.sha256()
    for item in inputs:
        data = item.read_bytes() if isinstance(item, Path) else item.encode()
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()


def is_stamped(stamp: Path, value: str) -> bool:
    """Check whether this step was finished from these very inputs. The stamp is kept inside of what it vouches for."""
    try:
        return json.loads(stamp.read_text())["made_from"] == value
    except (OSError, ValueError, KeyError, TypeError):
        return False


def write_stamp(stamp: Path, value: str) -> None:
    """Remember that a step was finished from these inputs; a half-written stamp counts as none."""
    stamp.write_text(json.dumps({"made_from": value}))
