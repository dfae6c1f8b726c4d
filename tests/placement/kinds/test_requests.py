from typing import Any

import pytest

from placement.kinds import requests
from placement.kinds.problems import Findings
from placement.resources import Resources
from placement.workload import DeviceNeed


def container(limits: dict[str, Any] | None = None, asked: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    resources = {key: value for key, value in (("limits", limits), ("requests", asked)) if value is not None}
    return {"name": "c", "resources": resources, **more}


def read(spec: dict[str, Any]) -> tuple[Resources, tuple[DeviceNeed, ...]]:
    found = Findings()
    answer = requests.of_pod(found, spec, "spec")
    assert not found.problems
    return answer


def problem(spec: dict[str, Any]) -> tuple[str, str, str]:
    found = Findings()
    requests.of_pod(found, spec, "spec")
    (one,) = found.problems
    return one.path, one.message, one.mend


def test_a_pod_takes_a_place_even_when_it_asks_for_nothing() -> None:
    assert read({"containers": [{"name": "c"}]}) == (Resources({"pods": 1}), ())


def test_containers_add_up_and_limits_stand_for_missing_requests() -> None:
    need, devices = read(
        {
            "containers": [
                container({"cpu": "2", "nvidia.com/gpu": "1"}, {"cpu": "1"}),
                container({"memory": "1Gi", "nvidia.com/gpu": 2, "rdma/hca": 1}),
            ]
        }
    )
    assert need == Resources({"pods": 1, "cpu": 1000, "memory": 1024, "nvidia.com/gpu": 3, "rdma/hca": 1})
    assert devices == (DeviceNeed("nvidia.com/gpu", 3),)


def test_init_containers_run_alone_and_sidecars_beside_everything() -> None:
    need, _ = read(
        {
            "initContainers": [
                container(asked={"cpu": "5"}),
                container(asked={"cpu": "1"}, restartPolicy="Always"),
                container(asked={"cpu": "7", "memory": "1Gi"}),
            ],
            "containers": [container(asked={"cpu": "2"}), container(asked={"cpu": "3"})],
            "overhead": {"cpu": "250m"},
        }
    )
    # Running: 2 + 3 + sidecar 1 = 6; starting: max(5, 1, 7 + sidecar 1) = 8.
    assert need == Resources({"pods": 1, "cpu": 8250, "memory": 1024})


def test_resources_of_the_whole_pod_stand_instead_of_the_sum() -> None:
    need, _ = read(
        {
            "resources": {"requests": {"cpu": "4"}},
            "containers": [container({"nvidia.com/gpu": 1}, {"cpu": "1", "memory": "1Gi"})],
        }
    )
    assert need == Resources({"pods": 1, "cpu": 4000, "memory": 1024, "nvidia.com/gpu": 1})


def test_a_share_of_a_card_counts_as_no_gpu() -> None:
    _, (device,) = read({"containers": [container({"aliyun.com/gpu-mem": 4})]})
    assert device == DeviceNeed("aliyun.com/gpu-mem", 4, is_share=True)
    assert device.gpus == 0


def test_no_gpus_are_no_device() -> None:
    assert read({"containers": [container({"nvidia.com/gpu": 0})]}) == (Resources({"pods": 1}), ())


_AT = "spec.containers[0].resources"


@pytest.mark.parametrize(
    ("one", "path", "message", "mend"),
    [
        (
            container({"nvidia.com/gpu": 4}, {"nvidia.com/gpu": 2}),
            f'{_AT}.limits["nvidia.com/gpu"]',
            "limit 4",
            "equal",
        ),
        (container(None, {"nvidia.com/gpu": 2}), f'{_AT}.requests["nvidia.com/gpu"]', "no limit", "limits too"),
        (container({"nvidia.com/gpu": -1}), f'{_AT}.limits["nvidia.com/gpu"]', "negative", "whole devices"),
        (container({"nvidia.com/gpu": "0.5"}), f'{_AT}.limits["nvidia.com/gpu"]', "whole", "MIG"),
        (container({"nvidia.com/gpus": 1}), f'{_AT}.limits["nvidia.com/gpus"]', "no device", "nvidia.com/gpu?"),
        (container({"gpu": 1}), f"{_AT}.limits.gpu", "no device", "nvidia.com/gpu?"),
        (container({"memroy": "1Gi"}), f"{_AT}.limits.memroy", "no resource", "memory"),
        (container({"rdma/hca": "1.5"}), f'{_AT}.limits["rdma/hca"]', "whole", "whole number"),
        (container({"memory": "16g"}), f"{_AT}.limits.memory", "not a quantity", "16Gi"),
        (container({"cpu": "1"}, {"cpu": "2"}), f"{_AT}.requests.cpu", "more than the limit", "raise"),
        ({"name": "c", "resources": {"limits": 3}}, f"{_AT}.limits", "must be a mapping", "mapping"),
        (container({"dra/gpu.nvidia.com": 1}), f'{_AT}.limits["dra/gpu.nvidia.com"]', "by claim", "resourceClaims"),
    ],
)
def test_wrong_requests(one: dict[str, Any], path: str, message: str, mend: str) -> None:
    found = problem({"containers": [one]})
    assert found[0] == path
    assert message in found[1]
    assert mend in found[2]


def test_a_pod_without_containers() -> None:
    assert problem({})[0] == "spec.containers"
    assert problem({"containers": []})[0] == "spec.containers"


def test_an_unknown_mig_profile_is_warned_about() -> None:
    found = Findings()
    requests.of_pod(found, {"containers": [container({"nvidia.com/mig-1g.99gb": 1})]}, "spec")
    assert "did you mean nvidia.com/mig-1g." in found.warnings[0]
