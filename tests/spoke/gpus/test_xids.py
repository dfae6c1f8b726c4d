"""Which Xids are a card's fault, and how they are read out of what people's agents write."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoke.gpus import xids
from spoke.gpus.xids import Fault


@pytest.mark.parametrize("code", [48, 63, 64, 74, 79, 94, 95, 119, 120])
def test_fatal_to_the_card(code: int) -> None:
    assert xids.of(code).fault is Fault.CARD


@pytest.mark.parametrize("code", [13, 31, 43, 45, 68])
def test_the_programs_own(code: int) -> None:
    assert xids.of(code).fault is Fault.PROGRAM


def test_one_that_nobody_lists_marks_nothing() -> None:
    assert xids.of(999).fault is Fault.UNKNOWN


def test_what_is_to_be_done_is_in_the_words() -> None:
    changed = "GPU recovery action changed from 0x0 (None) to "
    assert xids.of(154, changed + "0x1 (GPU Reset Required)").fault is Fault.CARD
    assert (
        xids.of(154, "GPU recovery action changed from 0x1 (GPU Reset Required) to 0x0 (None)").fault is Fault.UNKNOWN
    )


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ("NVRM: Xid (PCI:0000:0f:00): 79, pid=1234, name=python, GPU has fallen off the bus.", [79]),
        ("NVRM: Xid (PCI:0002:00:00): 119, pid=1582259, Timeout after 6s of waiting for RPC response from GPU1", [119]),
        ("NVRM: Xid (0000:cb:00): 13, Graphics SM Warp Exception", [13]),
        ("NvidiaXID79Error: XID 79 detected on GPU 3", [79]),
        ("SysLogsXIDError ErrorCode:48 PCI:0002:00:00 GPU_UUID:GPU-455d8f70-2051-db6c-0430-ffc457bff834", [48]),
        ("Xid79: GPU has fallen off the bus", [79]),
        ("xid errors: 48", [48]),
        ("no such number", []),
        ("ErrorCode:79", []),  # of something that has nothing to do with an Xid
    ],
)
def test_read_from_texts(text: str, codes: list[int]) -> None:
    assert xids.named_in(text) == codes


@given(st.text(max_size=400))
def test_any_text_is_read(text: str) -> None:
    for code in xids.named_in(text):
        assert str(xids.of(code, text)).startswith(f"Xid {code}")


@given(st.integers(0, 9999), st.integers(0, 0xFFFF), st.integers(0, 255), st.integers(0, 31))
def test_the_drivers_line_gives_its_code(code: int, domain: int, bus: int, slot: int) -> None:
    assert xids.named_in(f"NVRM: Xid (PCI:{domain:04x}:{bus:02x}:{slot:02x}): {code}, pid=7") == [code]
