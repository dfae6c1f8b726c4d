"""What marked cards do to a node: which cards may still be given, and what the node counts as having. Pure.

Where a pod gets the very cards that Muster names (shared memory, the host cluster), the marked ones are left out and
the others are given. Where the device plugin chooses, it may choose the sick one: so a marked card keeps every pod that
asks for cards off the node, until the plugin itself gives out so many fewer. MIG slices and time slices have no index:
a mark on any card of such a node is one on all of them.
"""

from __future__ import annotations

from dataclasses import replace

from placement.inventory import DeviceForm
from placement.resources import Resources
from spoke.nodes import NodeFacts


def on(facts: NodeFacts, marked: frozenset[int], *, every: bool) -> NodeFacts:
    cards = frozenset(range(facts.cards))
    unfit = (facts.unhealthy | marked) & cards
    if every or (marked and not cards):
        gone = {device.resource for device in facts.devices}
        left = {name: amount for name, amount in facts.capacity.items() if name not in gone}
        return replace(facts, unhealthy=cards, capacity=Resources(left))
    given_out = len(unfit) - facts.withdrawn  # marked cards that the plugin may still give
    if given_out <= 0:
        return facts if unfit == facts.unhealthy else replace(facts, unhealthy=unfit)
    lost = {facts.card_resource: given_out} if facts.card_resource else {}
    if facts.share_resource:
        lost[facts.share_resource] = len(unfit) * facts.card_share
    return replace(facts, unhealthy=unfit if facts.picks else cards, capacity=facts.capacity.less(lost))


def is_avoided(facts: NodeFacts, marked: frozenset[int]) -> bool:
    """Whether its well cards are given to nobody either, for its device plugin may give out a marked one."""
    return not facts.picks and len((facts.unhealthy | marked) & frozenset(range(facts.cards))) > facts.withdrawn


def unusable(facts: NodeFacts, marked: frozenset[int], missing: int, *, every: bool) -> int:
    """How many cards or slices of the node nobody is given for good reason."""
    if every or (marked and not facts.cards):
        counted = {device.resource for device in facts.devices if device.form is not DeviceForm.SHARED_MEMORY}
        return max(facts.cards, sum(facts.capacity[name] for name in counted))
    return max(len((marked | facts.unhealthy) & frozenset(range(facts.cards))), missing)
