"""Who is let in, and what a certificate may say: the refusals, each of which must change nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import grpc
import pytest

from e2e import imposter, manifests
from e2e.federation import Federation
from e2e.imposter import Imposter
from e2e.planes.certificates import Authority
from e2e.processes import ProcessFederation
from e2e.shapes import H100
from hub.client import ApiError, MusterClient
from placement.lifecycle import Phase


@pytest.fixture
def stranger(federation: Federation) -> Iterator[str]:
    """The name of a cluster that joins for a moment and is removed afterwards."""
    yield "mallory"
    if "mallory" in [cluster.name for cluster in federation.admin.clusters()]:
        federation.admin.remove_cluster("mallory", force=True)


def test_a_used_token_is_refused(federation: Federation, stranger: str) -> None:
    token = federation.admin.cluster_token(stranger)
    imposter.join(federation.admin, token)
    with pytest.raises(ApiError) as refused:
        imposter.join(federation.admin, token)
    assert refused.value.status in (401, 403, 409)
    assert "used" in refused.value.error.message


def test_a_token_with_a_wrong_secret_is_refused_and_stays_good(federation: Federation, stranger: str) -> None:
    token = federation.admin.cluster_token(stranger)
    identifier, secret, pin = token.split(".")
    guess = ".".join((identifier, secret[:-2] + ("AA" if not secret.endswith("AA") else "BB"), pin))
    with pytest.raises(ApiError) as refused:
        imposter.join(federation.admin, guess)
    assert refused.value.status in (401, 403)
    assert imposter.join(federation.admin, token).cluster == stranger


@pytest.mark.processes
def test_a_token_of_another_hub_sends_nothing_to_this_one(federation: ProcessFederation, stranger: str) -> None:
    token = federation.admin.cluster_token(stranger)
    identifier, secret, _ = token.split(".")
    said = federation.spokes["edge-c"].try_to_join(".".join((identifier, secret, "0" * 64)))
    assert said.returncode != 0
    assert "is not the hub that made this token" in said.stderr
    # It was not spent.
    assert imposter.join(federation.admin, token).cluster == stranger


def test_a_viewer_may_look_and_not_submit(federation: Federation) -> None:
    with user(federation, "onlooker", "research", "viewer") as viewer:
        with pytest.raises(ApiError) as refused:
            viewer.submit(manifests.text(manifests.job("by-a-viewer")))
        assert refused.value.status == 403
        assert "viewer" in refused.value.error.message
        assert viewer.jobs().total == 0


def test_another_tenants_job_is_not_there(federation: Federation) -> None:
    with (
        user(federation, "alice", "research", "submitter") as alice,
        user(federation, "bob", "sales", "submitter") as bob,
    ):
        job = (
            alice.submit(manifests.text(manifests.indexed_job("secret", pods=12, gpus=8, namespace="research")))
            .jobs[0]
            .job
        )
        for look in (bob.job, bob.cancel, bob.explain):
            with pytest.raises(ApiError) as refused:
                look(job.id)
            assert refused.value.status == 404
        assert bob.jobs().total == 0
        assert [event.job for event in bob.events(follow=False)] == []
        assert alice.job(job.id).phase is Phase.QUEUED
        alice.cancel(job.id)


def test_no_token_and_a_made_up_one_are_refused(federation: Federation) -> None:
    for token in ("", "made-up"):
        with federation.client(token) as nobody, pytest.raises(ApiError) as refused:
            nobody.jobs()
        assert refused.value.status == 401


def test_a_spoke_that_reports_for_another_cluster_changes_nothing(federation: Federation, stranger: str) -> None:
    job = federation.submit(manifests.indexed_job("victim", pods=2, gpus=8, product=H100))
    running = federation.wait_phase(job.id, Phase.RUNNING)
    known = imposter.join(federation.admin, federation.admin.cluster_token(stranger))
    with Imposter(federation.link_address, known) as spoke:
        assert spoke.welcome is not None
        assert list(spoke.welcome.live) == []
        for event in ("fail", "succeed", "stopped"):
            spoke.report(job.id, running.epoch, event)
            spoke.until_answered()
        after = federation.admin.job(job.id)
        assert (after.phase, after.epoch, after.cluster) == (Phase.RUNNING, running.epoch, "cloud-b")


def test_a_removed_cluster_is_cut_off_at_once_and_its_certificate_is_worth_nothing(
    federation: Federation, stranger: str
) -> None:
    known = imposter.join(federation.admin, federation.admin.cluster_token(stranger))
    with Imposter(federation.link_address, known) as spoke:
        federation.admin.remove_cluster(stranger)
        assert spoke.until_answered().goodbye.code == "removed"
    with pytest.raises((grpc.RpcError, AssertionError)), Imposter(federation.link_address, known):
        pass


def test_a_certificate_of_another_authority_does_not_get_through(federation: Federation, stranger: str) -> None:
    """The hub's CA is the only one that counts, whatever name a certificate bears."""
    known = imposter.join(federation.admin, federation.admin.cluster_token(stranger))
    forged = Authority.make("forger").client("muster://cluster/cloud-b")
    fake = type(known)(forged.key_pem, forged.certificate_pem, known.ca_pem, known.certificate)
    with pytest.raises(grpc.RpcError) as refused, Imposter(federation.link_address, fake):
        pass
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    assert federation.admin.cluster("cloud-b").health == "ready"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"{ not yaml", "YAML"),
        (b"a: 1\n", "apiVersion"),
        (manifests.text(manifests.job("twin"), manifests.job("twin")), "twin"),
        (manifests.text({"apiVersion": "example.org/v1", "kind": "Nonsense", "metadata": {"name": "x"}}), "Nonsense"),
        (manifests.text(manifests.indexed_job("negative", pods=-1, gpus=1)), "parallelism"),
    ],
    ids=["no yaml", "no object", "two of one name", "unknown kind", "negative replicas"],
)
def test_bad_manifests_are_refused_with_the_field_named(federation: Federation, text: bytes, said: str) -> None:
    before = federation.admin.jobs().total
    with pytest.raises(ApiError) as refused:
        federation.admin.submit(text)
    assert refused.value.status == 422
    problems = " ".join(f"{p.path} {p.message} {p.mend}" for p in refused.value.error.problems)
    assert said in f"{refused.value.error.message} {problems}"
    assert federation.admin.jobs().total == before


@contextmanager
def user(federation: Federation, name: str, tenant: str, role: str) -> Iterator[MusterClient]:
    """A user of the hub, for as long as the block lasts."""
    made = federation.admin.add_user(name, tenant=tenant, role=role)
    with federation.client(made.token) as client:
        yield client
    federation.admin.remove_user(name)
