"""The cluster that a spoke is installed in, where Helm does not look after it: its namespace, and how the pod gets on.

The kubeconfig is the caller's own, so this acts with the caller's rights, and only where a command says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# A namespace that we made enforces the strictest of the Pod Security Standards, and bears a mark.
MADE_HERE = "muster.dev/made-by"
LABELS = {"pod-security.kubernetes.io/enforce": "restricted", MADE_HERE: "muster-cluster-install"}
_PATIENCE_S = 10.0


class TargetError(Exception):
    """`mend` says what to do about it."""

    def __init__(self, message: str, mend: str) -> None:
        super().__init__(message)
        self.mend = mend


class KubeTarget:
    def __init__(self, kubeconfig: str, context: str) -> None:
        """Raises TargetError where the kubeconfig has no such context."""
        from kubernetes import client, config

        mend = "kubectl config get-contexts names them; --kubeconfig FILE reads another file"
        try:
            api = config.new_client_from_config(kubeconfig or None, context)  # type: ignore[no-untyped-call]  # the client is typed in part
        except config.ConfigException as error:
            known = _contexts(kubeconfig)
            there = f" (there is {', '.join(known)})" if known else ""
            raise TargetError(f"the context {context} cannot be used{there}: {error}", mend) from error
        self._context = context
        self._core = client.CoreV1Api(api)
        self._apps = client.AppsV1Api(api)

    def ensure_namespace(self, name: str) -> bool:
        """Whether it was made now. Raises TargetError."""
        if self._ask("read_namespace", name=name) is not None:
            return False
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": LABELS}}
        return self._ask("create_namespace", body=body) is not None

    def remove_namespace_of_ours(self, name: str) -> str:
        """ "" where it is removed or gone, else why not. Raises TargetError."""
        found = self._ask("read_namespace", name=name)
        if found is None:
            return ""
        if LABELS[MADE_HERE] != (found.metadata.labels or {}).get(MADE_HERE):
            return "it was there before"
        for what, own in _KINDS.items():
            listed = self._ask(f"list_namespaced_{what}", namespace=name)
            others = [one.metadata.name for one in listed.items if one.metadata.name != own]
            if others:
                return f"it holds the {what.replace('_', ' ')} {others[0]}"
        self._ask("delete_namespace", name=name)
        return ""

    def lacks(self, namespace: str, name: str) -> str:
        """What the first pod waits for; "" once it is ready, as the newest revision. Raises TargetError."""
        found = self._ask("read_namespaced_stateful_set", name=name, namespace=namespace, api=self._apps)
        pod = self._ask("read_namespaced_pod", name=f"{name}-0", namespace=namespace)
        return waits_for(_plain(found), _plain(pod))

    def last_words(self, namespace: str, name: str) -> str:
        """The end of the pod's log, where it has one."""
        for previous in (False, True):
            try:
                text: str = self._ask(
                    "read_namespaced_pod_log", name=f"{name}-0", namespace=namespace, tail_lines=3, previous=previous
                )
            except TargetError:
                continue
            if text:
                return text.strip()
        return ""

    def _ask(self, method: str, *, api: Any = None, **arguments: Any) -> Any:
        """None where there is no such object."""
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        try:
            return getattr(api or self._core, method)(**arguments, _request_timeout=_PATIENCE_S)
        except ApiException as error:
            if error.status == 404:
                return None
            what = method.replace("_namespaced", "").replace("_", " ")
            raise TargetError(
                f"the cluster of {self._context} refused to {what}: {error.status} {error.reason}",
                "installing takes an admin's rights in that cluster",
            ) from error
        except HTTPError as error:
            raise TargetError(
                f"the cluster of {self._context} does not answer: {error}", "check that it runs, and the kubeconfig"
            ) from error


# What a namespace may hold of others, and the one that Kubernetes itself puts into each.
_KINDS = {
    "pod": "",
    "service": "",
    "persistent_volume_claim": "",
    "config_map": "kube-root-ca.crt",
    "secret": "",
    "service_account": "default",
}


def waits_for(stateful_set: Mapping[str, Any] | None, pod: Mapping[str, Any] | None) -> str:
    """Of the objects as the API writes them; "" means that the pod is ready and of the newest revision."""
    if stateful_set is None:
        return "the StatefulSet is not there yet"
    status = stateful_set.get("status") or {}
    if pod is None:
        return "its pod is not made yet"
    revision = ((pod.get("metadata") or {}).get("labels") or {}).get("controller-revision-hash")
    if revision != status.get("updateRevision"):
        return "the pod of the earlier revision ends"
    conditions = {one["type"]: one for one in (pod.get("status") or {}).get("conditions") or ()}
    if conditions.get("Ready", {}).get("status") == "True":
        return ""
    for container in (pod.get("status") or {}).get("containerStatuses") or ():
        waiting = (container.get("state") or {}).get("waiting")
        if waiting:
            return ": ".join(text for text in (waiting.get("reason"), waiting.get("message")) if text)
    scheduled = conditions.get("PodScheduled", {})
    if scheduled.get("status") == "False":
        return f"no node for its pod: {scheduled.get('message', '')}"
    return "its pod runs and is not ready yet"


def _plain(found: Any) -> dict[str, Any] | None:
    from kubernetes.client import ApiClient

    plain: dict[str, Any] | None = ApiClient().sanitize_for_serialization(found)  # type: ignore[no-untyped-call]  # the client is typed in part
    return plain


def _contexts(kubeconfig: str) -> list[str]:
    from kubernetes import config

    try:
        return [one["name"] for one in config.list_kube_config_contexts(kubeconfig or None)[0]]  # type: ignore[no-untyped-call]  # the client is typed in part
    except config.ConfigException:
        return []
