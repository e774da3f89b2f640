"""requirements.txt is a lock of what pyproject.toml asks for; other files name the same versions."""

import tomllib
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LOCK = [
    Requirement(line)
    for line in (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    if not line.startswith("#")
]


def required(names: list[str]) -> list[Requirement]:
    """Return requirements with those of the package's own extras in place of them."""
    found = []
    for requirement in map(Requirement, names):
        if requirement.name == PROJECT["name"]:
            for extra in requirement.extras:
                found += required(PROJECT["optional-dependencies"][extra])
        else:
            found.append(requirement)
    return found


def test_the_lock_pins_exact_versions_of_all_that_the_app_needs():
    pins = {}
    for requirement in LOCK:
        (pin,) = requirement.specifier
        assert pin.operator == "=="
        pins.setdefault(requirement.name, []).append(pin.version)
    for requirement in required([*PROJECT["dependencies"], "busi-unet[app,torch]"]):
        assert all(requirement.specifier.contains(version) for version in pins[requirement.name]), requirement
    assert "sdk_version: {}\n".format(*pins["gradio"]) in (ROOT / "README.md").read_text(encoding="utf-8")
