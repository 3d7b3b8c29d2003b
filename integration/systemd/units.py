"""Owns what the proofs of several units have in common: properties of a unit, and its log."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "machine"))
from world import sh

UNITS = pathlib.Path("/etc/systemd/system")


def shown(unit: str, *properties: str) -> dict[str, str]:
    """Properties of a unit."""
    text = sh("systemctl", "show", unit, *(f"--property={name}" for name in properties)).stdout
    return dict(line.split("=", 1) for line in text.splitlines())


def now() -> str:
    """The journal's current cursor."""
    sh("journalctl", "--sync")
    return (
        sh("journalctl", "--lines=1", "--show-cursor")
        .stdout.splitlines()[-1]
        .removeprefix("-- cursor: ")
    )


def log_since(unit: str, cursor: str) -> str:
    """A unit's output since then. (By unit: the journal may not record the invocation of a process
    that ends quickly.)
    """
    sh("journalctl", "--sync")
    return sh("journalctl", "--output=cat", f"--unit={unit}", f"--after-cursor={cursor}").stdout
