"""Draws docs/states.md from placement.lifecycle, so that the page cannot say anything the table does not.

`python docs/draw_states.py` writes the page; `--check` exits 1 where the page on disk differs.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path

from placement.lifecycle import HOLDING, TERMINAL, TRANSITIONS, Event, Phase

PAGE = Path(__file__).with_name("states.md")

MEANING = {
    Phase.QUEUED: "waits for a place; nothing of it is in any cluster",
    Phase.PLACED: "capacity is reserved on one cluster and the command is written; its spoke has not accepted yet",
    Phase.STAGING: "the spoke has it, and copies the data into the cluster that the job reads there",
    Phase.STARTING: "the spoke has it: objects applied, pods coming up or waiting for the gang to be whole",
    Phase.RUNNING: "the gang runs, by the workload's own status",
    Phase.EVICTING: "being stopped, to be queued again with the next epoch",
    Phase.CANCELLING: "being stopped, for good",
    Phase.SUCCEEDED: "done, by the workload's own status",
    Phase.FAILED: "failed, by the workload's own status, or refused for good",
    Phase.CANCELLED: "stopped, and nothing of it is left in the cluster",
}

SAID_BY = {
    Event.PLACE: "hub",
    Event.ACCEPT: "spoke",
    Event.REFUSE: "spoke",
    Event.STAGING: "spoke",
    Event.STARTING: "spoke",
    Event.RUNNING: "spoke",
    Event.SUCCEED: "spoke",
    Event.FAIL: "spoke",
    Event.EVICT: "hub",
    Event.CANCEL: "user",
    Event.STOPPED: "spoke",
    Event.INTERRUPTED: "spoke",
    Event.REJECT: "hub",
}


def page() -> str:
    return "\n".join(
        [
            "# The states of a job",
            "",
            "Drawn from the table in `placement/lifecycle.py` by `make generate`; edit the table, not this page.",
            "What is not an arrow here is refused: no terminal job ever moves again.",
            "",
            *_diagram(),
            "",
            *_phases(),
            "",
            *_table(),
            "",
        ]
    )


def _diagram() -> list[str]:
    arrows: defaultdict[tuple[Phase, Phase], list[Event]] = defaultdict(list)
    for (before, event), after in TRANSITIONS.items():
        if before is not after:
            arrows[before, after].append(event)
    lines = ["```mermaid", "stateDiagram-v2", "    [*] --> QUEUED: submit"]
    for (before, after), events in arrows.items():
        again = " (epoch + 1)" if after is Phase.QUEUED else ""
        lines.append(f"    {before} --> {after}: {', '.join(events)}{again}")
    lines += [f"    {phase} --> [*]" for phase in Phase if phase in TERMINAL]
    return [*lines, "```"]


def _phases() -> list[str]:
    lines = ["| phase | meaning | holds capacity | terminal |", "|---|---|---|---|"]
    for phase in Phase:
        holds = "yes" if phase in HOLDING else ""
        ends = "yes" if phase in TERMINAL else ""
        lines.append(f"| {phase} | {MEANING[phase]} | {holds} | {ends} |")
    return lines


def _table() -> list[str]:
    lines = [
        "Each cell is the phase after the event of its row; an empty cell is an illegal event, which is refused.",
        "",
    ]
    columns = [phase for phase in Phase if phase not in TERMINAL]
    lines.append("| event | said by | " + " | ".join(columns) + " |")
    lines.append("|---|---|" + "---|" * len(columns))
    for event in Event:
        cells = [str(TRANSITIONS.get((phase, event), "")) for phase in columns]
        lines.append(f"| {event} | {SAID_BY[event]} | " + " | ".join(cells) + " |")
    return lines


def main() -> int:
    if "--check" in sys.argv:
        return 0 if PAGE.exists() and PAGE.read_text() == page() else 1
    PAGE.write_text(page())
    return 0


if __name__ == "__main__":
    sys.exit(main())
