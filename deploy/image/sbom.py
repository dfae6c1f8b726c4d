"""The image's bill of materials as CycloneDX JSON: every Python package by its wheel's hash, every Debian package.

A function of what is in the image and of one timestamp, so that the same image gives the same bill.

Not promised: licences and vulnerabilities, which scanners look up by the package URLs given here.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote


def bill(*, version: str, wheels: Sequence[Path], dpkg_status: str, os_release: str, python: str, built_at: int) -> str:
    """`dpkg_status` and `os_release` are those files' texts, `built_at` seconds since 1970."""
    components = [
        *(_of_wheel(path) for path in wheels),
        _component("application", "python", python, f"pkg:generic/python@{python}"),
        *_of_debian(dpkg_status, os_release),
    ]
    components.sort(key=lambda component: component["bom-ref"])
    content = json.dumps(components, sort_keys=True)
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, content)}",
        "version": 1,
        "metadata": {
            "timestamp": datetime.fromtimestamp(built_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": {"type": "container", "bom-ref": "image", "name": "muster", "version": version},
        },
        "components": components,
        "dependencies": [{"ref": "image", "dependsOn": [component["bom-ref"] for component in components]}],
    }
    return json.dumps(document, indent=2) + "\n"


def _of_wheel(path: Path) -> dict[str, Any]:
    name, version = path.name.split("-")[:2]
    name = name.replace("_", "-").lower()
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    made = _component("library", name, version, f"pkg:pypi/{name}@{quote(version)}")
    return made | {"hashes": [{"alg": "SHA-256", "content": digest}]}


def _of_debian(status: str, os_release: str) -> Iterable[dict[str, Any]]:
    system = dict(line.partition("=")[::2] for line in os_release.splitlines())
    distribution = system.get("ID", "debian").strip('"')
    release = system.get("VERSION_ID", "").strip('"')
    for stanza in status.split("\n\n"):
        fields = dict(line.partition(": ")[::2] for line in stanza.splitlines() if not line.startswith(" "))
        if not fields.get("Status", "").endswith(" installed"):
            continue
        name, version, machine = fields["Package"], fields["Version"], fields["Architecture"]
        where = f"?arch={machine}&distro={distribution}-{release}" if release else f"?arch={machine}"
        yield _component("library", name, version, f"pkg:deb/{distribution}/{quote(name)}@{quote(version)}{where}")


def _component(kind: str, name: str, version: str, purl: str) -> dict[str, Any]:
    return {"type": kind, "bom-ref": purl, "name": name, "version": version, "purl": purl}
