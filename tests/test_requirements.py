"""requirements.txt is a lock of what pyproject.toml asks for; other files name the same versions."""

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

from busi_unet.version import __version__

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


def test_what_a_library_needs_are_ranges():
    for requirement in required(PROJECT["dependencies"]):
        assert {pin.operator for pin in requirement.specifier} == {">=", "<"}, requirement


def test_other_files_name_the_same_versions():
    assert f"\nversion: {__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\n## {__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    (ruff,) = (each for each in required(["busi-unet[dev]"]) if each.name == "ruff")
    hook = re.search(r"rev: v(\S+)", (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))[1]
    assert str(ruff.specifier) == f"=={hook}"
