"""Objects that a pod names and does not hold: claims, ConfigMaps, Secrets, accounts, priority classes, networks.

Optional ones are left out: a pod starts without them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from placement.kinds import fields
from placement.kinds.fields import Object
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


def of_template(template: Object) -> Iterator[Reference]:
    """Every reference of a pod template, in order; the same one may come twice. Wrong types are passed over."""
    yield from _networks(template.get("metadata"))
    spec = template.get("spec")
    if not isinstance(spec, dict):
        return
    for volume in fields.dicts(spec.get("volumes")):
        yield from _volume(volume)
    for part in ("initContainers", "containers"):
        for container in fields.dicts(spec.get(part)):
            yield from _container(container)
    for secret in fields.dicts(spec.get("imagePullSecrets")):
        yield from _named("Secret", secret, "name")
    for claim in fields.dicts(spec.get("resourceClaims")):
        yield from _named("ResourceClaimTemplate", claim, "resourceClaimTemplateName")
        yield from _named("ResourceClaim", claim, "resourceClaimName")
    account = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if isinstance(account, str) and account != "default":
        yield Reference("ServiceAccount", account)
    priority = spec.get("priorityClassName")
    if isinstance(priority, str) and priority and not priority.startswith(_BUILT_IN_PRIORITIES):
        yield Reference("PriorityClass", priority)


def of_service_account(account: Object) -> Iterator[Reference]:
    """What an account in the same file draws in with it."""
    for part in ("secrets", "imagePullSecrets"):
        for secret in fields.dicts(account.get(part)):
            yield from _named("Secret", secret, "name")


def _volume(volume: Object) -> Iterator[Reference]:
    for part, key, kind in _VOLUMES:
        yield from _named(kind, volume.get(part), key)
    projected = volume.get("projected")
    for source in fields.dicts(projected.get("sources") if isinstance(projected, dict) else None):
        yield from _named("ConfigMap", source.get("configMap"), "name")
        yield from _named("Secret", source.get("secret"), "name")


def _container(container: Object) -> Iterator[Reference]:
    for source in fields.dicts(container.get("envFrom")):
        for part, kind in _SOURCES:
            yield from _named(kind, source.get(part), "name")
    for variable in fields.dicts(container.get("env")):
        value_from = variable.get("valueFrom")
        if isinstance(value_from, dict):
            for part, kind in _KEYS:
                yield from _named(kind, value_from.get(part), "name")


def _named(kind: str, holder: Any, key: str) -> Iterator[Reference]:
    if isinstance(holder, dict) and not holder.get("optional"):
        name = holder.get(key)
        if isinstance(name, str) and name:
            yield Reference(kind, name)


def _networks(metadata: Any) -> Iterator[Reference]:
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
            yield Reference("NetworkAttachmentDefinition", name, namespace)


def _where(text: str) -> tuple[str, str]:
    namespace, _, name = text.strip().split("@")[0].rpartition("/")
    return namespace, name
