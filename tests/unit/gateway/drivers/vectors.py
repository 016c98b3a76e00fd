"""Frames from the field, with what they mean and where they were found."""

import csv
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Vector:
    """One frame."""

    protocol: str
    frame: bytes
    meaning: str

    @property
    def preamble(self) -> bytes:
        """The FE before it."""
        return self.frame[: len(self.frame) - len(self.bare)]

    @property
    def bare(self) -> bytes:
        """Without preamble."""
        return self.frame.lstrip(b"\xfe")


def load(folder: Path) -> list[Vector]:
    """The vectors beside a test."""
    with (folder / "vectors.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    return [Vector(row["protocol"], bytes.fromhex(row["frame"]), row["meaning"]) for row in rows]
