"""The coverage-led fuzzer of the reader, for a moment: that it runs, that it finds nothing, and that it can."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None,
    reason="atheris is not installed: its wheels are for Linux on x86-64 (pyproject.toml)",
)


def fuzz(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.fuzz.read_manifests", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200, check=False)


def test_nothing_is_found_in_a_moment(tmp_path: Path) -> None:
    done = fuzz("--seconds", "60", "--runs", "2000", "--seed", "7", "--failures", str(tmp_path / "failures"))
    assert done.returncode == 0, done.stderr[-4000:]
    assert "stat::number_of_executed_units: 20" in done.stderr, done.stderr[-2000:]
    assert list((tmp_path / "failures").iterdir()) == []


def test_what_it_would_find_ends_it_and_is_left(tmp_path: Path) -> None:
    """A check that nothing can meet, in the place of the real one."""
    program = (
        "import sys\n"
        "import tests.fuzz.read_manifests as program\n"
        "def check(submission): raise AssertionError('planted')\n"
        "program.check = check\n"
        "sys.argv = ['fuzz', '--runs', '200', '--failures', sys.argv[1]]\n"
        "program.main()\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "failures")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode != 0
    assert "planted" in done.stdout + done.stderr
    assert len(list((tmp_path / "failures").iterdir())) == 1
