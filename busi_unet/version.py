"""Which version of this package, and of what it runs on."""

import platform
from importlib import metadata

__version__ = "0.1.0"


def versions(*packages: str) -> dict[str, str]:
    """Versions of this package, of Python and of the named installed packages, to go with a figure."""
    return {
        "busi_unet": __version__,
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in packages},
    }
