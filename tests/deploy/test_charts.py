"""What the charts make of values: no pod beyond `restricted`, no right beyond the files, no secret out of its place."""

from __future__ import annotations

import base64
import json
import tomllib
from typing import Any

import pytest
import yaml

from deploy.charts import VALUES
from hub.settings import HubSettings
from placement.kinds.catalogue import Catalogue
from placement.safety.levels import Level
from spoke import policy
from spoke.policy import ClusterPolicy
from spoke.settings import SpokeSettings
from tests.deploy.conftest import DEPLOY, SPOKE, TOKEN, Refused, Render

CATALOGUE = Catalogue.builtin()
EVERY = [(chart, values) for chart, sets in VALUES.items() for values in sets]


def only(found: list[dict[str, Any]], kind: str, name: str = "") -> dict[str, Any]:
    (one,) = [each for each in found if each["kind"] == kind and name in ("", each["metadata"]["name"])]
    return one


def environment(found: list[dict[str, Any]]) -> dict[str, str]:
    (container,) = only(found, "StatefulSet")["spec"]["template"]["spec"]["containers"]
    return {one["name"]: one.get("value", "") for one in container["env"]}


@pytest.mark.parametrize(("chart", "values"), EVERY)
def test_every_pod_meets_restricted(render: Render, chart: str, values: tuple[str, ...]) -> None:
    pod = only(render(chart, *values), "StatefulSet")["spec"]["template"]["spec"]
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == pod["securityContext"]["fsGroup"] == 65532
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert all(volume.keys() - {"name"} <= {"emptyDir", "secret", "configMap"} for volume in pod["volumes"])
    for container in [*pod["containers"], *pod.get("initContainers", ())]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {"startupProbe", "livenessProbe", "readinessProbe"} <= container.keys()
        assert {"name": "tmp", "mountPath": "/tmp"} in container["volumeMounts"]
    assert pod["automountServiceAccountToken"] is (chart == "spoke")


@pytest.mark.parametrize(("chart", "values"), EVERY)
def test_what_is_set_are_settings_of_the_program(render: Render, chart: str, values: tuple[str, ...]) -> None:
    prefix, settings = {"hub": ("MUSTER_HUB_", HubSettings), "spoke": ("MUSTER_SPOKE_", SpokeSettings)}[chart]
    names = {name for name in environment(render(chart, *values)) if name.startswith(prefix)}
    assert names
    assert {name.removeprefix(prefix).lower() for name in names} <= settings.model_fields.keys()


@pytest.mark.parametrize(("chart", "values"), EVERY)
def test_everything_is_labelled_and_of_this_version(render: Render, chart: str, values: tuple[str, ...]) -> None:
    version = tomllib.loads((DEPLOY.parent / "pyproject.toml").read_text())["project"]["version"]
    for found in render(chart, *values):
        labels = found["metadata"]["labels"]
        assert labels["app.kubernetes.io/instance"] == f"muster-{chart}"
        assert labels["app.kubernetes.io/part-of"] == "muster"
        assert labels["app.kubernetes.io/version"] == version
        assert labels["helm.sh/chart"] == f"muster-{chart}-{version}"
        assert "helm.sh/hook" not in found["metadata"].get("annotations", {})


def test_the_spokes_rights_are_those_of_the_files(render: Render) -> None:
    found = render("spoke", *SPOKE)
    files = DEPLOY / "spoke" / "files"
    always = yaml.safe_load((files / "cluster-rules.yaml").read_text())
    rules = only(found, "ClusterRole")["rules"]
    assert rules[: len(always)] == always
    assert [rule["resources"] for rule in rules[len(always) :]] == [["pods/exec"], ["pods/portforward"]]
    closed = render("spoke", *SPOKE, "policy.access={logs,events}")
    assert only(closed, "ClusterRole")["rules"] == always
    by_namespace = yaml.safe_load((files / "namespace-rules.yaml").read_text())
    roles = {one["metadata"]["namespace"]: one["rules"] for one in found if one["kind"] == "Role"}
    assert roles == by_namespace
    for binding in (one for one in found if one["kind"].endswith("RoleBinding")):
        assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "muster-spoke", "namespace": "muster-system"}]
    without = render("spoke", *SPOKE, "rbac.create=false")
    assert not any("Role" in one["kind"] for one in without)


def distributed(render: Render, kinds: str) -> dict[str, list[str]]:
    """group/resource -> verbs, beyond what the spoke always has."""
    before = only(render("spoke", *SPOKE), "ClusterRole")["rules"]
    after = only(render("spoke", *SPOKE, f"policy.distributed.kinds={{{kinds}}}"), "ClusterRole")["rules"]
    assert after[: len(before)] == before
    return {f"{one['apiGroups'][0]}/{one['resources'][0]}": one["verbs"] for one in after[len(before) :]}


def test_rights_to_distribute_are_those_that_the_owner_names(render: Render) -> None:
    table = yaml.safe_load((DEPLOY / "spoke" / "files" / "distributed-rules.yaml").read_text())
    builtin = distributed(render, "builtin")
    assert set(builtin) == {
        "/configmaps",
        "storage.k8s.io/storageclasses",
        "scheduling.k8s.io/priorityclasses",
        "scheduling.volcano.sh/queues",
        "monitoring.coreos.com/*",
        "data.fluid.io/*",
    }
    assert {kind for kind, one in table.items() if one.get("builtin")} == set(policy.DISTRIBUTED)
    assert set(map(tuple, builtin.values())) == {("get", "list", "watch", "create", "patch", "delete")}
    assert set(distributed(render, "apps/v1/DaemonSet,storage.k8s.io/*")) == {
        "apps/daemonsets",
        "storage.k8s.io/storageclasses",
    }
    assert set(distributed(render, "monitoring.coreos.com/v1/PrometheusRule")) == {
        "monitoring.coreos.com/prometheusrules"
    }
    everything = distributed(render, "*")
    assert len(everything) == len(table)
    assert "/secrets" not in everything
    assert not {"escalate", "bind", "impersonate", "*"} & {verb for verbs in everything.values() for verb in verbs}


def test_rules_of_the_owners_own_come_last(render: Render) -> None:
    more = ("rbac.extraRules[0].apiGroups={example.org}", "rbac.extraRules[0].verbs={get}")
    rules = only(render("spoke", *SPOKE, *more, "rbac.extraRules[0].resources={widgets}"), "ClusterRole")["rules"]
    assert rules[-1] == {"apiGroups": ["example.org"], "resources": ["widgets"], "verbs": ["get"]}


def test_the_hub_has_no_rights(render: Render) -> None:
    assert not any("Role" in one["kind"] for one in render("hub"))


def test_secrets_are_in_secrets_only(render: Render) -> None:
    url = "postgresql://muster:sesame@db:5432/muster"
    for chart, values, secret in (("hub", (f"database.url={url}",), "sesame"), ("spoke", SPOKE, TOKEN)):
        found = render(chart, *values)
        held = [one for one in found if one["kind"] == "Secret"]
        assert any(secret in base64.b64decode(text).decode() for one in held for text in one["data"].values())
        assert secret not in json.dumps([one for one in found if one["kind"] != "Secret"])


def test_models_lie_where_it_is_said(render: Render) -> None:
    assert "MUSTER_HUB_MODELS_STORE" not in environment(render("hub"))
    found = render("hub", "models.store=s3://bucket/models", "models.existingSecret=keys")
    assert HubSettings(models_store=environment(found)["MUSTER_HUB_MODELS_STORE"]).models == "s3://bucket/models"
    (container,) = only(found, "StatefulSet")["spec"]["template"]["spec"]["containers"]
    assert container["envFrom"] == [{"secretRef": {"name": "keys"}}]


def test_the_admins_token_is_one_and_new_each_time(render: Render) -> None:
    tokens = [base64.b64decode(only(render("hub"), "Secret", "muster-hub-admin")["data"]["token"]) for _ in range(2)]
    assert tokens[0] != tokens[1]
    for token in tokens:
        id_, _, secret = token.decode().removeprefix("muster-").partition(".")
        assert len(bytes.fromhex(id_)) == 6
        assert len(base64.urlsafe_b64decode(secret + "=")) == 32
    given = render("hub", "admin.existingSecret=mine", "admin.key=t")
    assert not any(one["kind"] == "Secret" for one in given)
    assert environment(given)["MUSTER_HUB_ADMIN_TOKEN_FILE"] == "/etc/muster/admin/t"


@pytest.mark.parametrize(
    ("chart", "values", "said"),
    [
        ("hub", ["bogus=1"], "'bogus' not allowed"),
        ("hub", ["settings.bogus=1"], "'bogus' not allowed"),
        ("hub", ["models.store=ftp://host"], "'/models/store'"),
        ("hub", ["replicas=two"], "got string, want integer"),
        ("hub", ["service.type=Ingress"], "must be one of 'ClusterIP', 'NodePort', 'LoadBalancer'"),
        ("hub", ["settings.heartbeatSeconds=30"], "must outlast three heartbeats"),
        ("hub", ["replicas=2"], "several replicas need PostgreSQL"),
        ("hub", ["replicas=2", "tls.ca.existingSecret=ca"], "several replicas need PostgreSQL"),
        ("hub", ["replicas=2", "database.existingSecret=db"], "every replica needs the same CA"),
        ("hub", ["database.url=postgresql://x", "database.existingSecret=db"], "leave one of them out"),
        ("spoke", [], "hub.url is empty"),
        ("spoke", ["hub.url=http://h"], "'/hub/url'"),
        ("spoke", ["hub.url=https://h"], "a new spoke needs a token"),
        ("spoke", [*SPOKE, "join.existingSecret=t"], "leave one of them out"),
        ("spoke", [*SPOKE, "levels[0].name=rack"], "'label'"),
        ("spoke", [*SPOKE, "policy.jobs.level=tight"], "'privileged', 'baseline', 'restricted'"),
        ("spoke", [*SPOKE, "policy.jobs.namespace=x"], "'namespace' not allowed"),
    ],
)
def test_values_that_make_no_sense_are_refused_with_a_sentence(
    render: Render, chart: str, values: list[str], said: str
) -> None:
    with pytest.raises(Refused) as refused:
        render(chart, *values)
    assert said in str(refused.value)


def test_a_refused_database_url_is_not_repeated(render: Render) -> None:
    with pytest.raises(Refused) as refused:
        render("hub", "database.url=mysql://muster:sesame@db/x")
    assert "does not begin with postgresql://" in str(refused.value)
    assert "sesame" not in str(refused.value)


def test_what_the_volume_holds_goes_with_the_release_unless_it_is_kept(render: Render) -> None:
    for chart, values in (("hub", ()), ("spoke", SPOKE)):
        for extra, then in (((), "Delete"), (("persistence.keep=true",), "Retain")):
            policy = only(render(chart, *values, *extra), "StatefulSet")["spec"]["persistentVolumeClaimRetentionPolicy"]
            assert policy["whenDeleted"] == then


def test_a_token_or_a_database_that_changes_restarts_the_pod(render: Render) -> None:
    def checksum(chart: str, *values: str) -> str:
        annotations = only(render(chart, *values), "StatefulSet")["spec"]["template"]["metadata"]["annotations"]
        return next(text for name, text in annotations.items() if name.startswith("checksum/"))

    other = ("hub.url=https://hub.test:30443", "join.token=other.token.x")
    assert checksum("spoke", *SPOKE) != checksum("spoke", *other)
    assert checksum("spoke", *SPOKE) == checksum("spoke", *SPOKE, "settings.logLevel=debug")
    assert checksum("hub") == checksum("hub")  # whatever token was made
    assert checksum("hub") != checksum("hub", "priceBook=a: 1")


def test_the_network_lets_through_what_is_needed(render: Render) -> None:
    def out(found: list[dict[str, Any]]) -> set[int]:
        return {port["port"] for rule in only(found, "NetworkPolicy")["spec"]["egress"] for port in rule["ports"]}

    spoke = render("spoke", *SPOKE)
    assert only(spoke, "NetworkPolicy")["spec"]["ingress"] == [{"ports": [{"port": "health", "protocol": "TCP"}]}]
    assert out(spoke) == {53, 443, 6443, 30443, 8444}
    assert out(render("spoke", *SPOKE, "hub.link=hub.test:30444")) == {53, 443, 6443, 30443, 30444}
    assert out(render("spoke", *SPOKE, "networkPolicy.hubPorts={1,2}")) == {53, 443, 6443, 1, 2}
    assert out(render("hub")) == {53}
    assert out(render("hub", "database.existingSecret=db")) == {53, 5432}


def test_spokes_are_told_the_port_that_they_can_reach(render: Render) -> None:
    told = "MUSTER_HUB_GRPC_PUBLIC_ADDRESS"
    assert environment(render("hub"))[told] == ":8444"
    assert environment(render("hub", "service.type=NodePort", "service.grpcNodePort=30444"))[told] == ":30444"
    assert environment(render("hub", "grpcPublicAddress=hub.test:443"))[told] == "hub.test:443"
    names = environment(render("hub", "publicNames={hub.test}"))["MUSTER_HUB_PUBLIC_NAMES"].split(",")
    assert {"muster-hub", "muster-hub.muster-system.svc", "hub.test"} <= set(names)


def test_the_policy_is_the_owners_and_a_change_of_it_restarts_the_spoke(render: Render) -> None:
    def of(*values: str) -> tuple[ClusterPolicy, str]:
        rendered = render("spoke", *SPOKE, *values)
        (text,) = (one["data"]["policy.yaml"] for one in rendered if one["kind"] == "ConfigMap")
        (pod,) = (one["spec"]["template"] for one in rendered if one["kind"] == "StatefulSet")
        return policy.parse(yaml.safe_load(text), CATALOGUE), pod["metadata"]["annotations"]["checksum/policy"]

    default, before = of()
    assert default == policy.default(CATALOGUE)
    strict, after = of("policy.jobs.level=restricted", "policy.jobs.namespaces={ml-*}", "policy.access={logs}")
    assert (strict.jobs.level, strict.jobs.namespaces, strict.access) == (Level.RESTRICTED, ("ml-*",), ("logs",))
    assert before != after
    open_, _ = of("policy.distributed.kinds={builtin}", "policy.adopt=true")
    assert (open_.distributed.kinds, open_.adopt) == (policy.DISTRIBUTED, True)
