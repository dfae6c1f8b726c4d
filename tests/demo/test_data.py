"""Compute and data on real processes: a hub, two host clusters, and an object store in the region of the dearer one."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hub.api import schemas
from hub.cli.federation import SITES, Federation
from hub.client import MusterClient
from spoke.staging import copying
from tests.spoke.staging.store_server import Bucket, serving

PATIENCE_S = 120.0
FILES = {f"images/{number}.bin": bytes([number]) * 10_000 for number in range(6)}

pytestmark = pytest.mark.timeout(400)


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    with serving(Bucket(dict(FILES), needs_key="AKIATEST", hold=threading.Event())) as bucket:
        yield bucket


@pytest.fixture
def federation(tmp_path: Path) -> Iterator[Federation]:
    with Federation(tmp_path / "federation") as federation:
        yield federation
        federation.stop()
        federation.stop_pods()


def until(condition: Callable[[], Any], what: Callable[[], object]) -> Any:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.1)
    raise AssertionError(f"never came: {what()}")


def reading(name: str, bucket: Bucket) -> bytes:
    """A job that counts the bytes of its dataset, with the Secret that reading the store takes."""
    said = "cat $MUSTER_DATASET_IMAGES/*.bin | wc -c; echo $MUSTER_DATASET_IMAGES"
    container = {"name": "main", "command": ["sh", "-c", said], "resources": {"limits": {"nvidia.com/gpu": "1"}}}
    keys = {key: base64.b64encode(value.encode()).decode() for key, value in bucket.options.items()}
    metadata = {"name": name, "annotations": {"muster.dev/datasets": "images"}}
    template = {"spec": {"restartPolicy": "Never", "containers": [container]}}
    objects = [
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"}, "data": keys},
        {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": {"template": template}},
    ]
    return "\n---\n".join(map(json.dumps, objects)).encode()


def chosen(client: MusterClient, job: str) -> schemas.CandidateOut:
    decision = client.explain(job).decision
    assert decision is not None
    return next(one for one in decision.candidates if one.cluster == decision.chosen)


def test_data_goes_to_the_cheaper_cluster_once(federation: Federation, bucket: Bucket) -> None:
    client = federation.start_hub()
    sites = [site for site in SITES if site.name != "edge-c"]
    for site in sites:
        federation.start_spoke(site, client)
    for site in sites:
        federation.until_ready(site, client)
    spec = schemas.DatasetSpec(
        size=sum(map(len, FILES.values())),
        replicas=[schemas.ReplicaDoc(region="us-east", uri="s3://bucket/images")],
        secret="keys",
    )
    client.create_dataset("images", spec)

    # One cluster is where the data is; the other is cheaper, with the move.
    first = client.submit(reading("first", bucket)).jobs[0].job.id
    until(lambda: client.job(first).phase == "STAGING", lambda: client.explain(first))
    assert client.job(first).cluster == "onprem-a"
    [move] = chosen(client, first).moves
    assert (move.source, move.place) == ("us-east", "pvc://default/dataset-images")
    until(lambda: "of 60 kB" in client.job(first).reason, lambda: client.job(first).reason)
    assert bucket.hold is not None
    bucket.hold.set()
    until(lambda: client.job(first).phase == "SUCCEEDED", lambda: client.explain(first))
    phases = [one.phase for one in client.explain(first).history]
    assert list(dict.fromkeys(phases))[:3] == ["QUEUED", "PLACED", "STAGING"]
    assert sorted(bucket.got) == sorted(FILES)
    count, place = "".join(line.data for line in client.logs(first, follow=True)).split()
    assert (count, Path(place).name) == ("60000", "dataset-images")
    assert (Path(place) / copying.LOG).exists()

    # The next one finds it there.
    assert [one.copied for one in client.dataset("images").replicas] == [False, True]
    second = client.submit(reading("second", bucket)).jobs[0].job.id
    until(lambda: client.job(second).phase == "SUCCEEDED", lambda: client.explain(second))
    assert chosen(client, second).moves == []
    assert "STAGING" not in [one.phase for one in client.explain(second).history]
    assert sorted(bucket.got) == sorted(FILES)


def test_what_cannot_be_read_goes_where_it_lies(federation: Federation, bucket: Bucket) -> None:
    """The copy fails for good; the hub looks for another place, and in the store's region nothing is to be copied."""
    client = federation.start_hub()
    sites = [site for site in SITES if site.name != "edge-c"]
    for site in sites:
        federation.start_spoke(site, client)
    for site in sites:
        federation.until_ready(site, client)
    replicas = [schemas.ReplicaDoc(region="us-east", uri="s3://bucket/nothing")]
    client.create_dataset("images", schemas.DatasetSpec(size=1000, replicas=replicas, secret="keys"))
    job = client.submit(reading("job", bucket)).jobs[0].job.id
    until(lambda: client.job(job).cluster == "cloud-b", lambda: client.explain(job))
    refused = [one.message for one in client.explain(job).history if one.event == "refuse"]
    assert len(refused) == 1
    assert "s3://bucket/nothing cannot be copied" in refused[0]
