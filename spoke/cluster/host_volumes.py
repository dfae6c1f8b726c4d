"""A pod's volumes as directories of this machine: configMap, secret, emptyDir, hostPath and claims.

There is no mount: `host_env` rewrites the paths in command, args and environment instead. A claim is a directory of
the state directory, shared by every pod that names it and kept when they are gone. Other volumes are ignored, and the
pod's status says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spoke.cluster.host_env import ConfigError, Lookup, data_of
from spoke.cluster.port import Object

SUPPORTED = frozenset({"configMap", "secret", "emptyDir", "hostPath", "persistentVolumeClaim"})


def prepare(pod: Object, directory: Path, claims: Path, lookup: Lookup) -> dict[str, Path]:
    """Makes what is missing and answers each supported volume's place. Raises ConfigError."""
    places = {}
    for volume in pod["spec"].get("volumes") or ():
        place = _place(volume, directory, claims / pod["metadata"].get("namespace", ""), lookup)
        if place is not None:
            places[volume["name"]] = place
    return places


def ignored(pod: Object) -> tuple[str, ...]:
    """The volumes that pods of this cluster do without."""
    volumes = pod["spec"].get("volumes") or ()
    return tuple(volume["name"] for volume in volumes if not SUPPORTED & set(volume))


def _place(volume: Mapping[str, Any], directory: Path, claims: Path, lookup: Lookup) -> Path | None:
    if "hostPath" in volume:
        return Path(volume["hostPath"]["path"])
    if "persistentVolumeClaim" in volume:
        return _made(claims / volume["persistentVolumeClaim"]["claimName"])
    place = directory / volume["name"]
    if "emptyDir" in volume:
        return _made(place)
    if "configMap" in volume:
        return _filled(place, "ConfigMap", volume["configMap"]["name"], volume["configMap"], lookup)
    if "secret" in volume:
        return _filled(place, "Secret", volume["secret"]["secretName"], volume["secret"], lookup)
    return None


def _filled(place: Path, kind: str, name: str, source: Mapping[str, Any], lookup: Lookup) -> Path:
    obj = lookup(kind, name)
    if obj is None and not source.get("optional"):
        raise ConfigError(f"{kind} {name!r} not found (volume)")
    data = data_of(obj) if obj is not None else {}
    paths = {item["key"]: item["path"] for item in source.get("items") or ()} or {key: key for key in data}
    _made(place)
    for key, path in paths.items():
        if key not in data:
            raise ConfigError(f"{kind} {name!r} has no key {key!r} (volume)")
        file = _inside(place, path)
        _made(file.parent)
        file.write_bytes(data[key])
        file.chmod(0o700 if data[key].startswith(b"#!") else 0o600)
    return place


def _inside(place: Path, path: str) -> Path:
    file = (place / path).resolve()
    if not file.is_relative_to(place.resolve()):
        raise ConfigError(f"volume path {path!r} leads out of its volume")
    return file


def _made(place: Path) -> Path:
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    return place
