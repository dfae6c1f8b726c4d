from __future__ import annotations

from placement.kinds import reader
from placement.kinds.catalogue import Catalogue
from placement.workload import DataUse

JOB = """
apiVersion: batch/v1
kind: Job
metadata:
  name: train
  namespace: ml
  annotations: {muster.dev/datasets: "text, s3://bucket/images"}
spec:
  template:
    spec:
      restartPolicy: Never
      containers:
      - name: main
        command: [python, train.py, --data=s3://bucket/images/, "--out=gs://out/run-1 s3://bucket/more;"]
        args: ["{'base': 'hf://org/model'}", 5]
        env:
        - {name: A, value: "az://account/c/x,abfss://fs@account/y"}
        - {name: B, valueFrom: {secretKeyRef: {name: s, key: k}}}
        - {name: C, value: "https://example.org/x not-s3://no"}
      volumes:
      - {name: a, persistentVolumeClaim: {claimName: images}}
      - {name: b, persistentVolumeClaim: {claimName: scratch}}
"""
SCRATCH = """
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: scratch, namespace: ml}
spec: {}
"""


def names(text: str, catalogue: Catalogue) -> list[str]:
    return [use.name for use in reader.read(text.encode(), catalogue)[0].workload.data]


def test_claims_and_uris_are_data_after_what_the_hints_say(catalogue: Catalogue) -> None:
    assert names(JOB, catalogue) == [
        "text",
        "s3://bucket/images",
        "pvc://ml/images",
        "pvc://ml/scratch",
        "gs://out/run-1",
        "s3://bucket/more",
        "hf://org/model",
        "az://account/c/x",
        "abfss://fs@account/y",
    ]


def test_a_claim_that_comes_along_holds_nothing_yet(catalogue: Catalogue) -> None:
    found = names(JOB + SCRATCH, catalogue)
    assert "pvc://ml/images" in found
    assert "pvc://ml/scratch" not in found


def test_a_checkpoint_is_said_once(catalogue: Catalogue) -> None:
    text = JOB.replace("muster.dev/datasets", "muster.dev/checkpoint").replace("text, ", "")
    uses = reader.read(text.encode(), catalogue)[0].workload.data
    assert uses[0] == DataUse("s3://bucket/images", checkpoint=True)
    assert [use.name for use in uses].count("s3://bucket/images") == 1


def test_generated_lists_are_cut(catalogue: Catalogue) -> None:
    many = ", ".join(f"s3://bucket/{number}" for number in range(200))
    found = names(JOB.replace("5]", f"'{many}']"), catalogue)
    assert len(found) == 2 + 64
