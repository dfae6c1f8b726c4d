"""Who an object is: its apiVersion and kind, its namespace and name, valid as Kubernetes has them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import orjson

from placement.kinds import fields
from placement.kinds.catalogue import Catalogue
from placement.kinds.fields import Object
from placement.kinds.problems import Findings, did_you_mean

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_LABEL_1035 = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_RULES: Mapping[str, tuple[re.Pattern[str], int, str]] = {
    "subdomain": (_SUBDOMAIN, 253, "lower-case letters, digits, - and ., a letter or digit at both ends"),
    "label": (_LABEL, 63, "lower-case letters, digits and -, a letter or digit at both ends"),
    "label-1035": (_LABEL_1035, 63, "lower-case letters, digits and -, a letter first, no - at the end"),
}
_SUFFIX_LENGTH = 5
OWN_GROUP = "muster.dev"  # of kinds that Muster puts together, and nobody writes
DISTRIBUTE = "an admin gives it to the clusters that need it: muster distribute FILE --to SELECTOR"


@dataclass(frozen=True, slots=True)
class Identity:
    api_version: str
    kind: str
    namespace: str
    name: str


def type_of(found: Findings, obj: Object) -> tuple[str, str] | None:
    """apiVersion and kind; None, with a problem, where the document does not say."""
    api_version, kind = fields.text(found, obj, "", "apiVersion"), fields.text(found, obj, "", "kind")
    if api_version and kind:
        return api_version, kind
    if not found.problems:
        missing = " and ".join(word for word, value in (("apiVersion", api_version), ("kind", kind)) if not value)
        found.error(missing.split()[0], f"the document has no {missing}", "give a whole Kubernetes object")
    return None


def refuse_type(found: Findings, catalogue: Catalogue, api_version: str, kind: str) -> None:
    """Says why an object of this type cannot be submitted, and what can."""
    if other := catalogue.refused(api_version, kind):
        mend = DISTRIBUTE if other.distribute else _supported(catalogue)
        found.error("kind", f"{kind} cannot be submitted: {other.because}", mend)
        return
    if versions := catalogue.versions_of(kind):
        meant = catalogue.meant_by(api_version, kind)
        known = f"{kind} is known in {', '.join(versions)}"
        mend = f"write apiVersion: {meant} ({known})" if meant else known
        found.error("apiVersion", f"there is no {kind} in {api_version}", mend)
        return
    near = did_you_mean(kind, (each.kind for each in catalogue.kinds), cutoff=0.75)
    mend = f"did you mean {near}? " if near else ""
    found.error("kind", f"{kind} ({api_version}) is not supported", mend + _supported(catalogue))


def identify(found: Findings, obj: Object, name_rule: str, namespace: str, salt: str) -> Identity:
    """Namespace and name with their defaults. A generateName is completed from the document itself."""
    metadata = fields.mapping(found, obj, "", "metadata")
    given = fields.text(found, metadata, "metadata", "namespace") or namespace
    _check(found, given, "label", "metadata.namespace")
    name = fields.text(found, metadata, "metadata", "name")
    path = "metadata.name"
    if not name and (prefix := fields.text(found, metadata, "metadata", "generateName")):
        name, path = prefix + _suffix(obj, salt), "metadata.generateName"
    if name:
        _check(found, name, name_rule, path)
    else:
        found.error("metadata.name", "is missing", "give the object a name")
    return Identity(str(obj["apiVersion"]), str(obj["kind"]), given, name)


def check_metadata(found: Findings, obj: Object) -> None:
    """Labels and annotations are strings."""
    metadata = obj.get("metadata")
    if isinstance(metadata, dict):
        for part in ("labels", "annotations"):
            if part in metadata:
                fields.string_map(found, metadata, "metadata", part)


def named(obj: Object, identity: Identity) -> dict[str, Any]:
    """The object with its namespace and name written out; the rest is shared with `obj`."""
    given = obj.get("metadata")
    metadata = {key: value for key, value in given.items() if key != "generateName"} if isinstance(given, dict) else {}
    return {**obj, "metadata": {**metadata, "name": identity.name, "namespace": identity.namespace}}


def _suffix(obj: Object, salt: str) -> str:
    return sha256(orjson.dumps(obj, option=orjson.OPT_SORT_KEYS) + salt.encode()).hexdigest()[:_SUFFIX_LENGTH]


def _check(found: Findings, name: str, rule: str, path: str) -> None:
    pattern, length, words = _RULES[rule]
    if len(name) > length:
        found.error(path, f'"{name[:40]}…" has {len(name)} characters, at most {length} are allowed', "shorten it")
    elif not pattern.fullmatch(name):
        found.error(path, f'"{name[:60]}" is not a valid name', words)


def _supported(catalogue: Catalogue) -> str:
    """Each kind once; under which versions is said where somebody is near one."""
    groups = {(each.kind, each.rules.group): None for each in catalogue.kinds if each.rules.group != OWN_GROUP}
    return "supported kinds: " + ", ".join(f"{kind} ({group or 'v1'})" for kind, group in sorted(groups))
