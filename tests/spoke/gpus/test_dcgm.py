"""Prometheus' text format, and what a DCGM exporter tells in it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoke.gpus import dcgm, exposition
from spoke.gpus.book import Names
from spoke.gpus.nvml import Nvml
from spoke.gpus.signs import Card, Sign
from tests.spoke.gpus.dcgm_text import UUIDS, page


@pytest.mark.parametrize(
    ("line", "sample"),
    [
        ("a 1", ("a", {}, 1.0)),
        ('a{x="1",y="two words"} 2.5 1700000000', ("a", {"x": "1", "y": "two words"}, 2.5)),
        ('a{x="q\\"}\\\\n\\n",} 1e3', ("a", {"x": 'q"}\\n\n'}, 1000.0)),
        ('a{x="1" 2', None),
        ("a{} x", None),
        ("a", None),
        ("b 1", None),
        ("# a 1", None),
        ("ab 1", None),
    ],
)
def test_lines(line: str, sample: exposition.Sample | None) -> None:
    assert next(exposition.samples(line, {"a"}), None) == sample


label = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"))


@given(st.dictionaries(st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True), label, max_size=4), st.floats(-1e9, 1e9))
def test_what_is_written_by_the_format_is_read_back(labels: dict[str, str], value: float) -> None:
    def escaped(text: str) -> str:
        return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")

    inside = ",".join(f'{name}="{escaped(text)}"' for name, text in labels.items())
    assert list(exposition.samples(f"m{{{inside}}} {value!r}\n", {"m"})) == [("m", labels, value)]


@given(st.text(max_size=300))
def test_any_text_is_read(text: str) -> None:
    list(exposition.samples(text, dcgm.WANTED))
    dcgm.read(text)
    dcgm.read("DCGM_FI_DEV_GPU_UTIL{" + text)


def test_an_exporters_page() -> None:
    text = page({3: ("team", "train-0")}, util={3: 27.0}, xid={3: 79, 4: 31}, dbe={5: 2}, remap={6: 1}).decode()
    cards = dcgm.read(text)
    assert [card.index for card in cards] == list(range(8))
    third = cards[3]
    assert (third.pod, third.util_percent, third.used_mib, third.power_w) == (("team", "train-0"), 27.0, 40_000, 512.5)
    assert dcgm.unfit(cards) == (
        Sign(Card(index=3), "Xid 79 (GPU has fallen off the bus)", frozenset({("team", "train-0")})),
        Sign(Card(index=5), "2 uncorrectable ECC errors since its driver was loaded"),
        Sign(Card(index=6), "a row of its memory could not be remapped"),
    )
    assert dcgm.names(cards)[3] == Names(UUIDS[3], "0000:03:00")


def test_cards_are_bounded() -> None:
    text = "".join(f'DCGM_FI_DEV_GPU_UTIL{{gpu="{i}",UUID="u{i}"}} 1\n' for i in range(5000))
    assert len(dcgm.read(text)) == dcgm.MOST_CARDS


class FakeNvml(SimpleNamespace):
    """The part of pynvml that is used, for a machine whose second card has fallen off the bus."""

    class NVMLError(Exception):
        pass

    nvmlEventTypeXidCriticalError = 8  # noqa: N815  its names
    NVML_MEMORY_ERROR_TYPE_UNCORRECTED = 1
    NVML_VOLATILE_ECC = 0

    def __getattr__(self, name: str) -> Any:
        answers: dict[str, Any] = {
            "nvmlInit": lambda: None,
            "nvmlDeviceGetCount": lambda: 2,
            "nvmlDeviceGetHandleByIndex": self._handle,
            "nvmlEventSetCreate": lambda: self.queued,
            "nvmlDeviceRegisterEvents": lambda *given: None,
            "nvmlEventSetWait_v2": self._event,
            "nvmlDeviceGetUUID": lambda handle: UUIDS[handle],
            "nvmlDeviceGetPciInfo": lambda handle: SimpleNamespace(busId=b"00000000:0F:00.0"),
            "nvmlDeviceGetUtilizationRates": lambda handle: SimpleNamespace(gpu=42),
            "nvmlDeviceGetMemoryInfo": lambda handle: SimpleNamespace(used=1 << 30, free=3 << 30),
            "nvmlDeviceGetPowerUsage": lambda handle: 250_000,
        }
        if name not in answers:

            def unsupported(*given: object) -> None:
                raise self.NVMLError(name)

            return unsupported
        return answers[name]

    def _handle(self, index: int) -> int:
        if index == 1:
            raise self.NVMLError("GPU is lost")
        return index

    def _event(self, queue: list[int], wait_ms: int) -> Any:
        if not queue:
            raise self.NVMLError("timeout")
        return SimpleNamespace(eventType=8, device=0, eventData=queue.pop(0))


def test_the_cards_of_this_machine() -> None:
    library = FakeNvml(queued=[31, 48])
    first, lost = Nvml(library).read()
    assert (first.util_percent, first.used_mib, first.power_w, first.pci) == (42.0, 1024.0, 250.0, "0000:0f:00")
    assert first.xids == {31, 48}
    assert [sign.why for sign in dcgm.unfit([first, lost])] == [
        "Xid 48 (uncorrectable ECC error)",
        "Xid 79 (GPU has fallen off the bus)",
    ]


def test_a_machine_without_a_driver() -> None:
    class Without(FakeNvml):
        def nvmlInit(self) -> None:  # noqa: N802  its name
            raise self.NVMLError("driver not loaded")

    assert Nvml(Without(queued=[])).read() == ()
