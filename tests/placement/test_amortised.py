from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placement.amortised import HOURS_PER_YEAR, Amortised


def test_a_card_that_is_always_used_costs_its_purchase_and_its_power() -> None:
    card = Amortised(usd_per_card=35_040, years=4, utilisation=1.0, watts=700, usd_per_kwh=0.1)
    assert card.usd_per_gpu_hour == pytest.approx(1.0 + 0.07)


def test_unused_hours_are_paid_by_used_ones() -> None:
    half = Amortised(usd_per_card=35_040, years=4, utilisation=0.5, watts=700, idle_watts=100, usd_per_kwh=0.1, pue=1.5)
    assert half.usd_per_gpu_hour == pytest.approx(2.0 + (0.7 + 0.1) * 1.5 * 0.1)


def test_what_is_paid_every_year_and_what_is_got_back_count() -> None:
    card = Amortised(usd_per_card=20_000, years=4, utilisation=1.0, residual_usd=4_000, usd_per_card_year=4_760)
    assert card.usd_per_gpu_hour == pytest.approx(8_760 / HOURS_PER_YEAR)


@given(
    st.builds(
        Amortised,
        usd_per_card=st.floats(1, 1e6),
        years=st.floats(0.5, 20),
        utilisation=st.floats(0.01, 1),
        watts=st.floats(0, 2000),
        idle_watts=st.floats(0, 500),
        usd_per_kwh=st.floats(0, 2),
        pue=st.floats(1, 3),
        usd_per_card_year=st.floats(0, 1e4),
    )
)
def test_used_hours_bring_in_what_a_year_costs(card: Amortised) -> None:
    used = HOURS_PER_YEAR * card.utilisation
    idle = HOURS_PER_YEAR - used
    power = (card.watts * used + card.idle_watts * idle) / 1000 * card.pue * card.usd_per_kwh
    year = card.usd_per_card / card.years + card.usd_per_card_year + power
    assert card.usd_per_gpu_hour * used == pytest.approx(year)
