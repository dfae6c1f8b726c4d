"""Pods that do not run, or not for long: the hub says why, and the job is never just "starting"."""

from __future__ import annotations

from typing import Any

from e2e import manifests, truth
from e2e.kind.installed import InstalledFederation
from e2e.shapes import H100
from e2e.waiting import until
from placement.lifecycle import Phase

# Nobody listens there: refused at once, and no registry is asked.
NOWHERE = "localhost:1/nothing:1"


def test_an_image_that_cannot_be_pulled(federation: InstalledFederation) -> None:
    job = broken(federation, "no-image", image=NOWHERE)
    says(federation, job, "ImagePull", NOWHERE)
    federation.admin.cancel(job)
    federation.wait_phase(job, Phase.CANCELLED)


def test_a_crash_loop(federation: InstalledFederation) -> None:
    manifest = _manifest("crash-loop", command=["sh", "-c", "echo no such data set; exit 3"])
    manifest["spec"]["template"]["spec"]["restartPolicy"] = "OnFailure"
    manifest["spec"]["backoffLimit"] = 100
    job = federation.submit(manifest).id
    says(federation, job, "CrashLoopBackOff")
    assert "no such data set" in federation.muster("logs", job)


def test_a_volume_that_cannot_be_mounted(federation: InstalledFederation) -> None:
    """A key that is not in its Secret: the pod is bound, and its kubelet waits."""
    manifest = _manifest("no-volume")
    spec = manifest["spec"]["template"]["spec"]
    of_secret = {"secretName": "keys", "items": [{"key": "nobody-made-it", "path": "key"}]}
    spec["volumes"] = [{"name": "keys", "secret": of_secret}]
    spec["containers"][0]["volumeMounts"] = [{"name": "keys", "mountPath": "/keys"}]
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"}, "stringData": {"another": "x"}}
    job = federation.submit(secret, manifest).id
    says(federation, job, "FailedMount", "nobody-made-it")


def test_a_pod_that_takes_too_much_memory_fails_its_gang(federation: InstalledFederation) -> None:
    """Which word the kubelet has for it differs between versions of cgroups; that it was killed, it always says."""
    eats = "data = []\nwhile True: data.append(bytearray(4 << 20))"
    job = broken(federation, "eater", command=["python", "-c", eats])
    failed = federation.wait_phase(job, Phase.FAILED, timeout_s=90)
    assert failed.reason
    federation.wait_agreed()
    ended = truth.pods_of(federation.member(failed.cluster), job)
    codes = [status["state"]["terminated"]["exitCode"] for pod in ended for status in _statuses(pod)]
    assert 137 in codes, codes


def broken(federation: InstalledFederation, name: str, **container: Any) -> str:
    return federation.submit(_manifest(name, **container)).id


def says(federation: InstalledFederation, job: str, *words: str) -> None:
    """`muster show` does, while the job waits for it to get better."""

    def said() -> bool:
        shown = federation.muster("show", job)
        assert all(word in shown for word in words), shown
        return True

    until(f"{' and '.join(words)} at the hub", said, timeout_s=90, every_s=1)
    assert federation.admin.job(job).phase in (Phase.STARTING, Phase.RUNNING)


def _manifest(name: str, **container: Any) -> manifests.Manifest:
    manifest = manifests.indexed_job(name, pods=2, gpus=2, product=H100)
    manifest["spec"]["template"]["spec"]["containers"][0] |= container
    return manifest


def _statuses(pod: dict[str, Any]) -> list[dict[str, Any]]:
    return [status for status in pod["status"].get("containerStatuses", ()) if "terminated" in status["state"]]
