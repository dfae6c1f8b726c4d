"""The states page is the table's own drawing."""

import runpy
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_on_disk_is_the_one_the_table_draws() -> None:
    drawn = runpy.run_path(str(DOCS / "draw_states.py"))["page"]()
    assert (DOCS / "states.md").read_text() == drawn, "run: make generate"
