import pytest

from placement.inventory import DeviceForm
from placement.kinds import devices


@pytest.mark.parametrize(
    ("resource", "vendor", "form"),
    [
        ("nvidia.com/gpu", "nvidia", DeviceForm.WHOLE),
        ("nvidia.com/gpu.shared", "nvidia", DeviceForm.TIME_SLICED),
        ("nvidia.com/mig-1g.10gb", "nvidia", DeviceForm.MIG),
        ("nvidia.com/mig-1g.5gb.me", "nvidia", DeviceForm.MIG),
        ("nvidia.com/mig-3g.40gb.shared", "nvidia", DeviceForm.MIG),
        ("nvidia.com/mig-3g.99gb", "nvidia", DeviceForm.MIG),  # a card to come
        ("amd.com/gpu", "amd", DeviceForm.WHOLE),
        ("amd.com/cpx_nps4", "amd", DeviceForm.WHOLE),
        ("gpu.intel.com/i915", "intel", DeviceForm.WHOLE),
        ("aliyun.com/gpu-mem", "nvidia", DeviceForm.SHARED_MEMORY),
        ("volcano.sh/vgpu-number", "nvidia", DeviceForm.VGPU),
        ("nvidia.com/vgpu", "nvidia", DeviceForm.VGPU),
        ("metax-tech.com/gpu", "metax-tech", DeviceForm.WHOLE),
    ],
)
def test_devices(resource: str, vendor: str, form: DeviceForm) -> None:
    assert devices.classify(resource) == devices.DeviceName(resource, vendor, form)
    assert devices.misspelling(resource) is None


@pytest.mark.parametrize(
    "resource",
    [
        "rdma/hca",
        "rdma/rdma_shared_device_a",
        "example.com/fpga",
        "nvidia.com/GA102GL_A10",
        "nvidia.com/gpumem",
        "volcano.sh/vgpu-memory",
        "gpu.intel.com/millicores",
        "google.com/tpu",
        "cpu",
    ],
)
def test_ordinary_resources(resource: str) -> None:
    assert devices.classify(resource) is None
    assert devices.misspelling(resource) is None


@pytest.mark.parametrize(
    ("resource", "meant"),
    [
        ("nvidia.com/gpus", "nvidia.com/gpu"),
        ("nvidia.com/GPU", "nvidia.com/gpu"),
        ("nvidia.com/mig-9g.99gb", None),
        ("nvidia.com/mig-1g5gb", "nvidia.com/mig-1g.5gb"),
        ("nvidia.com/MIG-1g.10gb", "nvidia.com/mig-1g.10gb"),
        ("nvida.com/gpu", "nvidia.com/gpu"),
        ("nvidia/gpu", "nvidia.com/gpu"),
        ("amd.com/gpus", "amd.com/gpu"),
        ("aliyun.com/gpu-memory", "aliyun.com/gpu-mem"),
        ("gpu", "nvidia.com/gpu"),
    ],
)
def test_misspellings(resource: str, meant: str | None) -> None:
    assert devices.classify(resource) is None
    found = devices.misspelling(resource)
    assert found is not None
    if meant is not None:
        assert found == meant
    else:
        assert devices.classify(found)


def test_a_profile_of_no_known_card_is_doubted() -> None:
    assert "did you mean nvidia.com/mig-3g.93gb" in devices.doubt("nvidia.com/mig-3g.99gb")
    assert devices.doubt("nvidia.com/mig-3g.40gb") == ""
