"""Recorded runs of a real model, each with a truth that other questions told: what detectors are measured on."""

from pathlib import Path

HERE = Path(__file__).parent
TABLE = HERE / "runs.json"
