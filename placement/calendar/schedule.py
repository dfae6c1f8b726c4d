"""When a schedule is due: cron's five fields in a time zone, in moments of UTC.

Evaluated by `cronsim`, which follows Debian's cron through changes of the clock: what is said for an hour that is
skipped comes as the clock has jumped, and what is said for an hour that comes twice comes the first time; what is said
for every hour, or for every so many minutes, follows the time that passes.
"""

from __future__ import annotations

import functools
import zoneinfo
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

_MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_FIELDS = 5
_SECOND = timedelta(seconds=1)
_LONGEST = 200


class BadSchedule(ValueError):
    """Of no use as a schedule, or as a time zone."""

    def __init__(self, message: str, mend: str) -> None:
        super().__init__(message)
        self.mend = mend


@dataclass(frozen=True, slots=True)
class Schedule:
    """Made by `parse`. Every moment that goes in or comes out is in UTC."""

    expression: str  # five fields
    zone: str  # "Europe/Stockholm"

    def after(self, moment: datetime) -> Iterator[datetime]:
        """Those later than `moment`, in order, each once; ends where none comes within fifty years."""
        last = moment
        for found in CronSim(self.expression, moment.astimezone(_zone(self.zone))):
            at = found.astimezone(UTC)
            if at > last:  # in an hour that comes twice, the clock was set back in between
                last = at
                yield at

    def next_after(self, moment: datetime) -> datetime | None:
        return next(self.after(moment), None)

    def last_until(self, moment: datetime) -> datetime | None:
        """The latest that is not after `moment`."""
        ahead = (moment + _SECOND).replace(microsecond=0)
        backwards = CronSim(self.expression, ahead.astimezone(_zone(self.zone)), reverse=True)
        earlier = (found.astimezone(UTC) for found in backwards)
        last = next((at for at in earlier if at <= moment), None)
        while last is not None and (following := self.next_after(last)) is not None and following <= moment:
            last = following
        return last

    def count(self, since: datetime, until: datetime, at_most: int) -> int:
        """How many there are after `since` and not after `until`; no more than so many are counted."""
        found = 0
        for at in self.after(since):
            if at > until or found == at_most:
                break
            found += 1
        return found


def parse(expression: str, zone: str = "") -> Schedule:
    """Raises BadSchedule."""
    text = " ".join(expression.split())
    if "TZ=" in text:
        raise BadSchedule(f"{_shown(expression)} names a time zone", "name it in spec.timeZone")
    if text.startswith("@"):
        if text not in _MACROS:
            mend = f"write five fields (*/10 * * * *), or one of {', '.join(sorted(_MACROS))}"
            raise BadSchedule(f"there is no {_shown(expression)}", mend)
        text = _MACROS[text]
    fields = ["*" if field == "?" else field for field in text.split(" ")]
    if len(fields) != _FIELDS or len(text) > _LONGEST:
        message = f"{_shown(expression)} has {len(fields)} fields" if text else "it is empty"
        raise BadSchedule(message, "write minute, hour, day of month, month, day of week: 0 3 * * 1-5")
    try:
        CronSim(" ".join(fields), datetime(2000, 1, 1, tzinfo=UTC))
    except (CronSimError, ValueError, AssertionError, TypeError) as error:
        what = str(error) or "it cannot be read"
        mend = "write minute, hour, day of month, month, day of week: 0 3 * * 1-5"
        raise BadSchedule(f"{_shown(expression)}: {what[0].lower()}{what[1:]}", mend) from error
    return Schedule(" ".join(fields), _checked_zone(zone))


def _checked_zone(zone: str) -> str:
    if not zone:
        return "UTC"
    try:
        if zone.lower() == "local":
            raise zoneinfo.ZoneInfoNotFoundError(zone)
        _zone(zone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise BadSchedule(f"there is no time zone {_shown(zone)}", "write Europe/Stockholm, or Etc/UTC") from error
    return zone


@functools.lru_cache(maxsize=1024)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:59]}…")
