"""The tables of the page are the tables of the code, and the policy that it shows is one."""

import runpy
from pathlib import Path

import yaml

from placement.kinds.catalogue import Catalogue
from spoke import policy

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "distributing.md").read_text()


def test_the_page_on_disk_is_the_one_the_tables_draw() -> None:
    drawn = runpy.run_path(str(DOCS / "draw_distributing.py"))["page"]()
    assert drawn == PAGE, "run: make generate"


def test_the_policy_of_the_page_can_be_read_and_so_can_the_defaults_of_the_page_on_tenancy() -> None:
    catalogue = Catalogue.builtin()
    said = policy.parse(yaml.safe_load(PAGE.split("```yaml\n")[1].split("```")[0]), catalogue)
    assert said.distributed.kinds == (*policy.DISTRIBUTED, "apps/v1/DaemonSet")
    (shown,) = [one for one in (DOCS / "tenancy.md").read_text().split("```yaml\n") if one.startswith("jobs:")]
    assert policy.parse(yaml.safe_load(shown.split("```")[0]), catalogue) == policy.default(catalogue)
