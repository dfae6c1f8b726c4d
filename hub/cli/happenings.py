"""One thing that happened to a job, as one line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

if TYPE_CHECKING:
    from hub.api.schemas import HappeningOut


def line(one: HappeningOut) -> Text:
    """`09:15:02  kubelet  Warning  BackOff  Pod train-0  back-off restarting … (5 times since 09:12:00)`."""
    style = "yellow" if one.warning else ""
    own = one.source == "muster"
    text = Text(f"{one.at:%Y-%m-%d %H:%M:%S}  {one.source:<18.18}  ")
    text.append(f"{one.reason:<16}", style or ("bold" if own else ""))
    text.append(f"  {one.object}" if one.object else "", "dim")
    text.append(f"  {' '.join(one.message.split())}" if one.message else "")
    if one.count > 1:
        text.append(f"  ({one.count} times since {one.first_at:%H:%M:%S})", "dim")
    return text
