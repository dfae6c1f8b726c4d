"""What a DCGM exporter serves, in its own words."""

from __future__ import annotations

from collections.abc import Mapping

UUIDS = tuple(f"GPU-a8394b51-c086-568a-9f1a-{index:012x}" for index in range(16))


def page(
    pods: dict[int, tuple[str, str]],
    *,
    cards: int = 8,
    util: dict[int, float] | None = None,
    xid: dict[int, int] | None = None,
    dbe: dict[int, int] | None = None,
    remap: dict[int, int] | None = None,
) -> bytes:
    """`pods`: (namespace, name) of who has which card."""

    def lines(name: str, help_: str, values: Mapping[int, float], more: str = "") -> list[str]:
        found = [f"# HELP {name} {help_}", f"# TYPE {name} gauge"]
        for index, value in values.items():
            namespace, pod = pods.get(index, ("", ""))
            labels = (
                f'gpu="{index}",UUID="{UUIDS[index]}",pci_bus_id="00000000:{index:02X}:00.0",device="nvidia{index}",'
                f'modelName="NVIDIA H100 80GB HBM3",Hostname="n",DCGM_FI_DRIVER_VERSION="580.95.05",'
                f'container="main",namespace="{namespace}",pod="{pod}"{more}'
            )
            found.append(f"{name}{{{labels}}} {value}")
        return found

    every = range(cards)
    text = lines("DCGM_FI_DEV_SM_CLOCK", "SM clock frequency (in MHz).", dict.fromkeys(every, 1980))
    text += lines("DCGM_FI_DEV_GPU_UTIL", "GPU utilization (in %).", {i: (util or {}).get(i, 90.0) for i in every})
    text += lines("DCGM_FI_DEV_FB_USED", "Framebuffer memory used (in MiB).", dict.fromkeys(every, 40_000))
    text += lines("DCGM_FI_DEV_FB_FREE", "Framebuffer memory free (in MiB).", dict.fromkeys(every, 41_000))
    text += lines("DCGM_FI_DEV_POWER_USAGE", "Power draw (in W).", dict.fromkeys(every, 512.5))
    codes = {i: (xid or {}).get(i, 0) for i in every}
    text += lines(
        "DCGM_FI_DEV_XID_ERRORS", "Value of the last XID error encountered.", codes, ',err_msg="a \\"b\\" {c}"'
    )
    text += lines("DCGM_FI_DEV_ECC_DBE_VOL_TOTAL", "Double-bit errors.", dict(dbe or {}))
    text += lines("DCGM_FI_DEV_ROW_REMAP_FAILURE", "Row remapping failure.", dict(remap or {}))
    return "\n".join([*text, ""]).encode()
