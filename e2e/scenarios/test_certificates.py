"""A spoke's certificate is renewed while it works, and a token that nobody used in time is worth nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from e2e import imposter, manifests, shapes
from e2e.processes import ProcessFederation
from e2e.programs import HubProgram, HubSettings
from e2e.provider import OutsideCluster
from e2e.waiting import until
from hub.client import ApiError
from placement.lifecycle import Phase

pytestmark = pytest.mark.processes

CERTIFICATE_S = 12
TOKEN_S = 1


@pytest.fixture
def short_lived(session_directory: Path, clusters: Mapping[str, OutsideCluster]) -> Iterator[ProcessFederation]:
    """One spoke under a hub of its own whose certificates live for seconds."""
    edge = {shapes.EDGE_C.name: clusters[shapes.EDGE_C.name]}
    settings = HubSettings(more={"MUSTER_HUB_CERTIFICATE_LIFE_S": str(CERTIFICATE_S)})
    federation = ProcessFederation(session_directory / "short-lived", edge, settings)
    try:
        federation.start()
        yield federation
    finally:
        federation.stop()


@pytest.fixture
def hasty_hub(session_directory: Path) -> Iterator[HubProgram]:
    """A hub whose join tokens are good for a second."""
    hub = HubProgram(session_directory / "hasty", HubSettings(more={"MUSTER_HUB_JOIN_TOKEN_LIFE_S": str(TOKEN_S)}))
    try:
        hub.start()
        yield hub
    finally:
        hub.stop()


def test_a_certificate_is_renewed_in_time_and_jobs_run_on(short_lived: ProcessFederation) -> None:
    first = short_lived.admin.cluster("edge-c").certificate_expires_at
    assert first is not None
    job = short_lived.submit(manifests.job("across-renewals", gpus=1, run_for=f"{2 * CERTIFICATE_S}s"))
    short_lived.wait_phase(job.id, Phase.RUNNING)

    def renewed_twice() -> bool:
        now = short_lived.admin.cluster("edge-c")
        assert now.certificate_expires_at is not None
        # A second renewal is made with the certificate of the first.
        assert (now.certificate_expires_at - first).total_seconds() > CERTIFICATE_S
        return now.health == "ready"

    until("two renewals", renewed_twice, timeout_s=3 * CERTIFICATE_S)
    short_lived.wait_phase(job.id, Phase.SUCCEEDED, timeout_s=3 * CERTIFICATE_S)
    # By now the first certificate is dead: a restart shows that the renewed one was kept.
    short_lived.spokes["edge-c"].kill()
    short_lived.spokes["edge-c"].start()
    after = short_lived.submit(manifests.job("after-renewals", gpus=1, run_for="1s"))
    short_lived.wait_phase(after.id, Phase.SUCCEEDED)


def test_an_expired_token_is_refused(hasty_hub: HubProgram) -> None:
    with hasty_hub.client(hasty_hub.admin_token) as admin:
        token = admin.cluster_token("too-late")
        made = time.monotonic()
        until("the token to expire", lambda: time.monotonic() > made + TOKEN_S, timeout_s=2 * TOKEN_S)
        with pytest.raises(ApiError) as refused:
            imposter.join(admin, token)
        assert refused.value.status in (401, 403)
        assert "expired" in refused.value.error.message
        assert [cluster.health for cluster in admin.clusters()] == ["joining"]
