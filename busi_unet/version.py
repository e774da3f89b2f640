"""Which version of this package, and of what it runs on."""

import platform
import subprocess
from importlib import metadata
from pathlib import Path

__version__ = "0.2.0"


def commit() -> str | None:
    """Return the commit of the clone that this package runs from, with "-dirty" where code was changed since.

    Returns:
        None where it runs from no clone, or git is not installed.
    """
    here = Path(__file__).resolve()

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(here.parent), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    try:
        # An installed package may lie inside a repository of somebody else.
        git("ls-files", "--error-unmatch", str(here))
        return git("describe", "--always", "--abbrev=12", "--exclude=*", "--dirty")
    except (OSError, subprocess.CalledProcessError):
        return None


def versions(*packages: str) -> dict[str, str]:
    """Return the versions of this package, of Python and of the named installed packages."""
    return {
        "busi_unet": __version__,
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in packages},
    }
