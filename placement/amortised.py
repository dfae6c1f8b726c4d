"""What an hour of one's own card costs, from what was paid for it and what it draws.

The price of a used hour carries the unused ones: the purchase is spread over the hours in which somebody used the card,
and so is the power that it draws while idle. It is what a used hour must bring in, not what one more hour would cost
(that is its power alone), so that own and rented cards are compared by what they cost in the long run.
"""

from __future__ import annotations

from dataclasses import dataclass

HOURS_PER_YEAR = 8760.0


@dataclass(frozen=True, slots=True)
class Amortised:
    """Of one card, with its share of the machine around it."""

    usd_per_card: float  # paid for it: the machine's price by its cards
    years: float  # > 0; until it is replaced
    utilisation: float  # 0 to 1, not 0: the part of all hours in which somebody uses it
    watts: float = 0.0  # drawn in use, with its part of the machine
    idle_watts: float = 0.0
    usd_per_kwh: float = 0.0
    pue: float = 1.0  # >= 1: power of the whole room by power of the machines
    usd_per_card_year: float = 0.0  # space, support, people
    residual_usd: float = 0.0  # what it is sold for in the end

    @property
    def usd_per_gpu_hour(self) -> float:
        used_hours_per_year = HOURS_PER_YEAR * self.utilisation
        owned = (self.usd_per_card - self.residual_usd) / self.years + self.usd_per_card_year
        watts_per_used_hour = self.watts + self.idle_watts * (1 - self.utilisation) / self.utilisation
        return owned / used_hours_per_year + watts_per_used_hour / 1000 * self.pue * self.usd_per_kwh
