"""The cards of this machine by NVML, for the host cluster: their use, ECC counters, row remapping, Xids as they come.

Without a driver there are none. A call that a card does not support tells nothing of it.
"""

from __future__ import annotations

import contextlib
import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from spoke.gpus import signs
from spoke.gpus.dcgm import Reading

log = logging.getLogger(__name__)

_MOST_EVENTS = 256  # taken in at once
_WAIT_MS = 1


class Nvml:
    """`library` is pynvml, or what stands for it. `read` blocks for as long as the driver takes."""

    def __init__(self, library: Any = None) -> None:
        self._library = library
        self._ready = False
        self._events: Any = None
        self._xids: defaultdict[str, set[int]] = defaultdict(set)  # by UUID, since this agent began

    def read(self) -> Sequence[Reading]:
        if not self._open():
            return ()
        library = self._library
        try:
            self._take_events()
            return [self._card(index) for index in range(library.nvmlDeviceGetCount())]
        except library.NVMLError as error:
            log.warning("the cards of this machine cannot be read: %s", error)
            return ()

    def _open(self) -> bool:
        if self._ready:
            return True
        if self._library is None:
            try:
                import pynvml
            except ImportError:
                return False
            self._library = pynvml
        library = self._library
        try:
            library.nvmlInit()
        except library.NVMLError:
            return False
        self._ready = True
        with contextlib.suppress(library.NVMLError):
            self._events = library.nvmlEventSetCreate()
            for index in range(library.nvmlDeviceGetCount()):
                handle = library.nvmlDeviceGetHandleByIndex(index)
                with contextlib.suppress(library.NVMLError):  # not on every kind of card
                    library.nvmlDeviceRegisterEvents(handle, library.nvmlEventTypeXidCriticalError, self._events)
        return True

    def _take_events(self) -> None:
        library = self._library
        for _ in range(_MOST_EVENTS if self._events is not None else 0):
            try:
                event = library.nvmlEventSetWait_v2(self._events, _WAIT_MS)
            except library.NVMLError:  # a timeout: nothing more
                return
            if event.eventType == library.nvmlEventTypeXidCriticalError:
                self._xids[_text(library.nvmlDeviceGetUUID(event.device))].add(int(event.eventData))

    def _card(self, index: int) -> Reading:
        library = self._library
        try:
            handle = library.nvmlDeviceGetHandleByIndex(index)
        except library.NVMLError as error:
            # Fallen off the bus: the driver counts it and cannot reach it.
            log.warning("GPU %d of this machine cannot be reached: %s", index, error)
            return Reading(index=index, xids=frozenset({79}))

        def ask(call: Callable[[], Any]) -> Any:
            try:
                return call()
            except library.NVMLError:
                return None

        uuid = _text(ask(lambda: library.nvmlDeviceGetUUID(handle)) or "")
        pci = ask(lambda: library.nvmlDeviceGetPciInfo(handle))
        rates = ask(lambda: library.nvmlDeviceGetUtilizationRates(handle))
        memory = ask(lambda: library.nvmlDeviceGetMemoryInfo(handle))
        power_mw = ask(lambda: library.nvmlDeviceGetPowerUsage(handle))
        errors = ask(
            lambda: library.nvmlDeviceGetTotalEccErrors(
                handle, library.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, library.NVML_VOLATILE_ECC
            )
        )
        remapped = ask(lambda: library.nvmlDeviceGetRemappedRows(handle))  # corrected, uncorrected, pending, failed
        return Reading(
            index=index,
            uuid=uuid,
            pci=signs.pci(_text(pci.busId)) if pci is not None else "",
            util_percent=float(rates.gpu) if rates is not None else None,
            used_mib=memory.used / 2**20 if memory is not None else None,
            free_mib=memory.free / 2**20 if memory is not None else None,
            power_w=power_mw / 1000 if power_mw is not None else None,
            xids=frozenset(self._xids.get(uuid, ())),
            uncorrectable=int(errors or 0),
            remap_failed=bool(remapped is not None and remapped[3]),
        )


def _text(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else name
