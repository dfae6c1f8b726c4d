"""Which resource names mean accelerators, and which look like one but can mean none.

A name is known by its vendor's own naming (device plugins, MIG, GPU sharing). Every other name with a domain
(`rdma/hca`, `example.com/fpga`) is an ordinary extended resource, kept literally; but one that looks like a GPU of a
known vendor and is none (`nvidia.com/gpus`) would wait for ever, so it is refused with the nearest name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from placement.dra.names import PREFIX, is_counted_by_claim
from placement.inventory import DeviceForm
from placement.kinds.problems import did_you_mean


@dataclass(frozen=True, slots=True)
class DeviceName:
    resource: str
    vendor: str
    form: DeviceForm

    @property
    def is_share(self) -> bool:
        return self.form is DeviceForm.SHARED_MEMORY


_EXACT: dict[str, tuple[str, DeviceForm]] = {
    "nvidia.com/gpu": ("nvidia", DeviceForm.WHOLE),
    "nvidia.com/gpu.shared": ("nvidia", DeviceForm.TIME_SLICED),
    "nvidia.com/pgpu": ("nvidia", DeviceForm.WHOLE),
    "amd.com/gpu": ("amd", DeviceForm.WHOLE),
    "gpu.intel.com/i915": ("intel", DeviceForm.WHOLE),
    "gpu.intel.com/xe": ("intel", DeviceForm.WHOLE),
    "aliyun.com/gpu-mem": ("nvidia", DeviceForm.SHARED_MEMORY),
    "volcano.sh/gpu-memory": ("nvidia", DeviceForm.SHARED_MEMORY),
    "volcano.sh/gpu-number": ("nvidia", DeviceForm.WHOLE),
    "volcano.sh/vgpu-number": ("nvidia", DeviceForm.VGPU),
}
# Ordinary resources though they look like a GPU: they count properties of a card and not cards.
_PROPERTIES = frozenset(
    {
        "nvidia.com/gpumem",
        "nvidia.com/gpumem-percentage",
        "nvidia.com/gpucores",
        "volcano.sh/vgpu-memory",
        "volcano.sh/vgpu-cores",
        "volcano.sh/vgpu-memory-percentage",
        "aliyun.com/gpu-count",
        "aliyun.com/gpu-core.percentage",
        "gpu.intel.com/millicores",
        "gpu.intel.com/memory.max",
        "gpu.intel.com/tiles",
        "gpu.intel.com/i915_monitoring",
        "gpu.intel.com/xe_monitoring",
    }
)
# Compute slices and GB of the profiles that NVIDIA's cards offer (A30, A100, H100, H200, GH200, B200, RTX PRO 6000).
_MIG_GB: dict[int, frozenset[int]] = {
    1: frozenset({5, 6, 10, 12, 16, 18, 20, 23, 24, 34, 35, 45, 67}),
    2: frozenset({10, 12, 20, 24, 32, 33, 35, 45, 47, 48, 67}),
    3: frozenset({20, 40, 47, 48, 71, 72, 90, 93, 139}),
    4: frozenset({20, 24, 40, 47, 48, 64, 71, 72, 90, 93, 95, 96, 139}),
    7: frozenset({40, 80, 94, 95, 96, 141, 144, 180, 183, 186, 278}),
}
_MIG = re.compile(r"nvidia\.com/mig-(\d+)g\.(\d+)gb((?:\.me)?(?:\.gfx)?(?:\.all)?)(\.shared)?")
_AMD_PARTITION = re.compile(r"amd\.com/(?:spx|dpx|tpx|qpx|cpx)_nps[1248]")
_WORDS = re.compile(r"[.\-]")
_VENDORS = frozenset({"nvidia", "amd", "intel", "aliyun", "google", "aws", "habana", "furiosa"})
_BESIDE_GPUS = (
    *("nic", "net", "dranet", "rdma", "roce", "ib", "infiniband", "sriov"),
    *("cpu", "mem", "hugepage", "nvme", "storage", "compute", "domain", "daemon", "channel"),
)
_VENDOR_DOMAINS = ("nvidia.com", "amd.com", "gpu.intel.com", "aliyun.com", "volcano.sh")
_MEANT_DOMAINS = {"nvidia": "nvidia.com", "amd": "amd.com", "aliyun": "aliyun.com"}  # too short for likeness
_LOOKS_LIKE_GPU = re.compile(r"gpu|^mig|i915|^xe$|cuda", re.IGNORECASE)


@lru_cache(maxsize=1024)
def classify(resource: str) -> DeviceName | None:
    """The device that the name means; None for everything else, ordinary or misspelt."""
    if resource in _EXACT:
        return DeviceName(resource, *_EXACT[resource])
    if resource in _PROPERTIES:
        return None
    if mig := _MIG.fullmatch(resource):
        return DeviceName(resource, "nvidia", DeviceForm.MIG) if int(mig[1]) in _MIG_GB else None
    if _AMD_PARTITION.fullmatch(resource):
        return DeviceName(resource, "amd", DeviceForm.WHOLE)
    if is_counted_by_claim(resource):
        return _by_claim(resource)
    domain, _, name = resource.rpartition("/")
    if name in ("gpu", "vgpu") and domain and not _meant_domain(domain):
        vendor = domain.split(".")[0]
        return DeviceName(resource, vendor, DeviceForm.WHOLE if name == "gpu" else DeviceForm.VGPU)
    return None


def _by_claim(resource: str) -> DeviceName | None:
    """A DeviceClass counts accelerators, unless a word of its name says that it has something that goes beside them."""
    words = _WORDS.split(resource.removeprefix(PREFIX).lower())
    if any(word.startswith(_BESIDE_GPUS) for word in words):
        return None
    vendor = next((word for word in words if word in _VENDORS), words[0])
    return DeviceName(resource, vendor, DeviceForm.DRA)


@lru_cache(maxsize=1024)
def misspelling(resource: str) -> str | None:
    """None where the name is all right; otherwise the name probably meant ("" where none is near)."""
    if classify(resource) is not None or resource in _PROPERTIES:
        return None
    domain, _, name = resource.rpartition("/")
    known = [*_EXACT, *(f"nvidia.com/mig-{g}g.{gb}gb" for g, sizes in _MIG_GB.items() for gb in sorted(sizes))]
    if not _LOOKS_LIKE_GPU.search(name if domain else resource):
        return None
    if not domain:
        return did_you_mean(resource, known) or "nvidia.com/gpu"
    if domain in _VENDOR_DOMAINS:
        return did_you_mean(resource, [each for each in known if each.startswith(domain)])
    near = _meant_domain(domain)
    return did_you_mean(f"{near}/{name}", known) if near else None


@lru_cache(maxsize=1024)
def doubt(resource: str) -> str:
    """A sentence where a MIG profile is well formed and yet known of no card; "" otherwise."""
    mig = _MIG.fullmatch(resource)
    if mig is None or int(mig[1]) not in _MIG_GB or int(mig[2]) in _MIG_GB[int(mig[1])]:
        return ""
    near = min(_MIG_GB[int(mig[1])], key=lambda gb: abs(gb - int(mig[2])))
    return f"{resource} is a MIG profile of no card known here; did you mean nvidia.com/mig-{mig[1]}g.{near}gb?"


def _meant_domain(domain: str) -> str:
    """`nvida.com`, `nvidia`: the vendor's domain that is near and not the same; "" where none is."""
    if domain in _VENDOR_DOMAINS:
        return ""
    return _MEANT_DOMAINS.get(domain) or did_you_mean(domain, _VENDOR_DOMAINS, cutoff=0.8)
