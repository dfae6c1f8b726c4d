"""Draws the tables of docs/distributing.md from placement.distribution, so that the page cannot say anything else.

`python docs/draw_distributing.py` writes the page; what stands outside the marks is written by hand and kept.
"""

from __future__ import annotations

import sys
from pathlib import Path

from placement.distribution.lifecycle import STEPS, Step, Told, Wish
from placement.distribution.states import SHOWN, Heard, Ordered, Reach, State

PAGE = Path(__file__).with_name("distributing.md")
BEGIN, END = "<!-- drawn by make generate: edit placement/distribution -->", "<!-- drawn until here -->"

TOLD = {
    Told.NOTHING: "nothing",
    Told.OLDER: "to have an earlier revision",
    Told.PRESENT: "to have this one",
    Told.LEAVING: "to be rid of it",
    Told.GONE: "the same, and nothing is left",
}
STEP = {
    Step.KEEP: "–",
    Step.DISTRIBUTE: "order it",
    Step.WITHDRAW: "order it away",
    Step.FORGET: "forget the cluster",
}
REACH = {Reach.HERE: "connected", Reach.AWAY: "away", Reach.TOO_OLD: "too old"}
ORDERED = {Ordered.HAVE: "to have it", Ordered.LEAVE: "to be rid of it"}
HEARD = {Heard.NOTHING: "has not answered", Heard.STATES: "has answered"}


def page() -> str:
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{tables()}\n\n{END}{after}"


def tables() -> str:
    lines = ["| the cluster was told last | it is selected | it is not |", "|---|---|---|"]
    lines += [f"| {TOLD[told]} | {STEP[STEPS[Wish.HAVE, told]]} | {STEP[STEPS[Wish.LACK, told]]} |" for told in Told]
    lines += ["", f"| its spoke | {' | '.join(REACH.values())} |", f"|---|{'---|' * len(REACH)}"]
    for ordered in Ordered:
        for heard in Heard:
            cells = [SHOWN[ordered, heard, reach] for reach in Reach]
            row = " | ".join(_word(cell) for cell in cells)
            lines.append(f"| was ordered {ORDERED[ordered]}, and {HEARD[heard]} | {row} |")
    return "\n".join(lines)


def _word(state: State | None) -> str:
    return "as it says" if state is None else str(state)


def main() -> int:
    PAGE.write_text(page())
    return 0


if __name__ == "__main__":
    sys.exit(main())
