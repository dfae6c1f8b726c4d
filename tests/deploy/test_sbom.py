"""The bill of materials: what is in it, and that it depends on nothing else."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from deploy.image import build, sbom

STATUS = """\
Package: libc6
Status: install ok installed
Architecture: amd64
Version: 2.36-9+deb12u1
Description: GNU C Library
 Version: not this one

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1
"""


def bill(wheel: Path, built_at: int = 0) -> str:
    return sbom.bill(
        version="1.2",
        wheels=[wheel],
        dpkg_status=STATUS,
        os_release='ID=debian\nVERSION_ID="12"\n',
        python="3.11.9",
        built_at=built_at,
    )


def test_wheels_by_their_hash_and_debian_packages_that_are_installed(tmp_path: Path) -> None:
    wheel = tmp_path / "Some_Thing-2.0-py3-none-any.whl"
    wheel.write_bytes(b"wheel")
    found = json.loads(bill(wheel))
    by_url = {component["purl"]: component for component in found["components"]}
    assert by_url.keys() == {
        "pkg:pypi/some-thing@2.0",
        "pkg:generic/python@3.11.9",
        "pkg:deb/debian/libc6@2.36-9%2Bdeb12u1?arch=amd64&distro=debian-12",
    }
    assert by_url["pkg:pypi/some-thing@2.0"]["hashes"][0]["content"] == hashlib.sha256(b"wheel").hexdigest()
    assert found["metadata"]["component"]["version"] == "1.2"


def test_the_same_content_gives_the_same_bill_but_for_its_time(tmp_path: Path) -> None:
    wheel = tmp_path / "a-1-py3-none-any.whl"
    wheel.write_bytes(b"a")
    assert bill(wheel) == bill(wheel)
    early, late = json.loads(bill(wheel)), json.loads(bill(wheel, 86_400))
    assert late["metadata"].pop("timestamp") == "1970-01-02T00:00:00Z"
    early["metadata"].pop("timestamp")
    assert early == late
    serial = late["serialNumber"]
    wheel.write_bytes(b"b")
    assert json.loads(bill(wheel))["serialNumber"] != serial


def test_what_only_builds_stays_out() -> None:
    kept, built, after = (f"{text} \\\n    --hash=sha256:0\n" for text in ("a==1", "set_tools==2 ; x > '3'", "z==3"))
    assert build.without(kept + built + after, ["set-tools"]) == kept + after
