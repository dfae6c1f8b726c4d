"""Objects that a pod names and does not hold: claims, ConfigMaps, Secrets, accounts, priority classes, networks.

Optional ones are left out: a pod starts without them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from placement.kinds import fields
from placement.kinds.fields import Object
from placement.kinds.shared import reference
from placement.workload import Reference

NETWORKS = "k8s.v1.cni.cncf.io/networks"

# (field of a volume, field that names the object, kind)
_VOLUMES = (
    ("persistentVolumeClaim", "claimName", "PersistentVolumeClaim"),
    ("configMap", "name", "ConfigMap"),
    ("secret", "secretName", "Secret"),
)
_SOURCES = (("configMapRef", "ConfigMap"), ("secretRef", "Secret"))
_KEYS = (("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret"))
_BUILT_IN_PRIORITIES = "system-"


_Named = list[tuple[str, str, str]]  # kind, name, namespace


def of_templates(templates: Iterable[Object]) -> tuple[Reference, ...]:
    """Every reference of pod templates, in order and each once. Wrong types are passed over."""
    found: _Named = []
    for template in templates:
        _template(found, template)
    return tuple([reference(*each) for each in dict.fromkeys(found)])


def of_service_account(account: Object) -> tuple[Reference, ...]:
    """What an account in the same file draws in with it."""
    found: _Named = []
    for part in ("secrets", "imagePullSecrets"):
        for secret in fields.dicts(account.get(part)):
            _named(found, "Secret", secret, "name")
    return tuple([reference(*each) for each in found])


def _template(found: _Named, template: Object) -> None:
    if "metadata" in template:
        _networks(found, template["metadata"])
    spec = template.get("spec")
    if not isinstance(spec, dict):
        return
    if "volumes" in spec:
        for volume in fields.dicts(spec["volumes"]):
            _volume(found, volume)
    for part in ("initContainers", "containers"):
        if part in spec:
            for container in fields.dicts(spec[part]):
                _container(found, container)
    if "imagePullSecrets" in spec:
        for secret in fields.dicts(spec["imagePullSecrets"]):
            _named(found, "Secret", secret, "name")
    if "resourceClaims" in spec:
        for claim in fields.dicts(spec["resourceClaims"]):
            _named(found, "ResourceClaimTemplate", claim, "resourceClaimTemplateName")
            _named(found, "ResourceClaim", claim, "resourceClaimName")
    account = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if isinstance(account, str) and account != "default":
        found.append(("ServiceAccount", account, ""))
    priority = spec.get("priorityClassName")
    if isinstance(priority, str) and priority and not priority.startswith(_BUILT_IN_PRIORITIES):
        found.append(("PriorityClass", priority, ""))


def _volume(found: _Named, volume: Object) -> None:
    for part, key, kind in _VOLUMES:
        if part in volume:
            _named(found, kind, volume[part], key)
    projected = volume.get("projected")
    if isinstance(projected, dict):
        for source in fields.dicts(projected.get("sources")):
            _named(found, "ConfigMap", source.get("configMap"), "name")
            _named(found, "Secret", source.get("secret"), "name")


def _container(found: _Named, container: Object) -> None:
    if "envFrom" in container:
        for source in fields.dicts(container["envFrom"]):
            for part, kind in _SOURCES:
                _named(found, kind, source.get(part), "name")
    if "env" in container:
        for variable in fields.dicts(container["env"]):
            if isinstance(value_from := variable.get("valueFrom"), dict):
                for part, kind in _KEYS:
                    _named(found, kind, value_from.get(part), "name")


def _named(found: _Named, kind: str, holder: Any, key: str) -> None:
    if isinstance(holder, dict) and not holder.get("optional"):
        name = holder.get(key)
        if isinstance(name, str) and name:
            found.append((kind, name, ""))


def _networks(found: _Named, metadata: Any) -> None:
    """Multus: `net`, `namespace/net@eth1`, comma-separated; or a JSON list of objects with a name."""
    annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
    given = annotations.get(NETWORKS) if isinstance(annotations, dict) else None
    if not isinstance(given, str):
        return
    names: list[tuple[Any, Any]] = [_where(each) for each in given.split(",")]
    if given.lstrip().startswith("["):
        try:
            read = [each for each in json.loads(given) if isinstance(each, dict)]
        except (ValueError, RecursionError):
            return
        names = [(each.get("namespace") or "", each.get("name")) for each in read]
    for namespace, name in names:
        if isinstance(name, str) and name and isinstance(namespace, str):
            found.append(("NetworkAttachmentDefinition", name, namespace))


def _where(text: str) -> tuple[str, str]:
    namespace, _, name = text.strip().split("@")[0].rpartition("/")
    return namespace, name
