from __future__ import annotations

from datetime import date

from hub.api import present, pricebook
from hub.cli import money_tables
from hub.records import CostBy, CostQuery
from placement.market import revision
from placement.market.quotes import Quote
from placement.money import Price, PriceBook
from tests.hub.api.fakes import ADMIN, BOB, FakeCosts
from tests.hub.cli.test_tables import drawn, golden

BOOK = b"""
prices:
  - {cluster: cloud-b, product: H100, on_demand: 4.1, spot: 1.9, spot_interruptions_per_hour: 0.05}
  - {cluster: onprem-a, amortised: {usd_per_card: 25000, years: 4, utilisation: 0.7, watts: 700, usd_per_kwh: 0.12}}
public: [cloud-b]
transfers:
  routes: [{source: us-east, target: "*", usd_per_gb: 0.09, gbit_per_s: 2}]
"""


def test_a_book_with_own_cards_public_clusters_and_routes() -> None:
    book = pricebook.render(pricebook.parse(BOOK))
    assert drawn(money_tables.prices(book), 80) == golden(
        """
        CLUSTER   PRODUCT        ON DEMAND   SPOT  INTERRUPTIONS
        cloud-b   H100               $4.10  $1.90         0.05/h  public
        onprem-a  (every other)      $1.10      –              –  own
        USD per GPU-hour. A CPU-hour costs $0.04. A cluster that nobody priced counts
        $2.00. own: computed from what the cards cost (-o yaml). Public, used after a
        queue's wait: cloud-b.

        FROM     TO      A GB  GBIT/S
        us-east  (any)  $0.09       2
        Within a region a GB costs $0.00, at 10 Gbit/s. Between other regions a GB costs
        $0.09, at 1 Gbit/s.
        """
    )


def test_what_an_import_changes() -> None:
    before = PriceBook({("b", "H100"): Price(6.5, 2.0, 0.1), ("b", "T4"): Price(0.5)})
    quoted = {"H100": Quote(6.88, 1.9, "p5.48xlarge"), "T4": Quote(0.5, None, "g4dn"), "L4": Quote(0.8, apart=True)}
    made = revision.changes(before, {"b": quoted})
    assert drawn(money_tables.changes(made, 120), 120) == golden(
        """
        CLUSTER  PRODUCT    OLD    NEW  CHANGE  OLD SPOT  NEW SPOT  MACHINE
        b        H100     $6.50  $6.88  +5.8 %     $2.00     $1.90  p5.48xlarge
        b        L4           –  $0.80     new         –         –  any
        b        T4       $0.50  $0.50    same         –         –  g4dn
        USD per GPU-hour: 1 new, 1 changed, 1 the same.
        """
    )


async def test_costs_at_80_and_at_120() -> None:
    query = CostQuery(CostBy.QUEUE, date(2026, 2, 1), date(2026, 3, 1))
    all_ = present.cost_report(await FakeCosts().report(ADMIN, query))
    assert drawn(money_tables.costs(all_, 80), 80) == golden(
        """
        QUEUE    GPU-HOURS        GPU    CPU  EGRESS      TOTAL     LOST
        team-a       617.2  $1,234.50  $0.50   $0.25  $1,235.25  $120.00
        default        4.0      $8.00  $0.50   $0.25      $8.75        –
        team-b        32.0     $64.00  $0.50   $0.25     $64.75   $64.00
        total        653.2  $1,306.50  $1.50   $0.75  $1,308.75  $184.00
        USD, 2026-02-01 to 2026-03-01 (UTC days). 3 running attempts counted up to 12:00
        UTC. LOST is the part of TOTAL in attempts that failed or were taken from where
        they ran.
        """
    )
    own = present.cost_report(await FakeCosts().report(BOB, query))
    lines = drawn(money_tables.costs(own, 110), 110).splitlines()
    assert (
        lines[:3]
        == golden(
            """
        QUEUE   GPU-HOURS     GPU    CPU  EGRESS   TOTAL    LOST  ENDED  RUNNING  VS FORESEEN
        team-b       32.0  $64.00  $0.50   $0.25  $64.75  $64.00      3        1        +10 %
        total        32.0  $64.00  $0.50   $0.25  $64.75  $64.00      3        1        +10 %
        """
        ).splitlines()
    )
    assert "VS FORESEEN tells of attempts that succeeded" in " ".join(lines[3:])
