"""The price book. What is true of every cluster lies under the cluster `*`: the default price, and the CPU's."""

from __future__ import annotations

from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

from hub.store import rows
from hub.store.changes import PricesReplaced, announce
from placement.money import Price, PriceBook

EVERYWHERE = "*"
DEFAULT = (EVERYWHERE, "*")
CPU = (EVERYWHERE, "cpu")


def book(session: Session) -> PriceBook:
    table = rows.prices.c
    query = select(
        table.cluster,
        table.product,
        table.on_demand_usd_per_gpu_hour,
        table.spot_usd_per_gpu_hour,
        table.spot_interruptions_per_hour,
    )
    found = {(cluster, product): Price(*price) for cluster, product, *price in session.connection().execute(query)}
    plain = PriceBook()
    cpu = found.pop(CPU, None)
    default = found.pop(DEFAULT, plain.default)
    return PriceBook(found, cpu.on_demand_usd_per_gpu_hour if cpu is not None else plain.usd_per_cpu_hour, default)


def replace(session: Session, new: PriceBook) -> None:
    session.connection().execute(delete(rows.prices))
    prices = {**new.prices, DEFAULT: new.default, CPU: Price(new.usd_per_cpu_hour)}
    session.connection().execute(
        insert(rows.prices),
        [
            {
                "cluster": cluster,
                "product": product,
                "on_demand_usd_per_gpu_hour": price.on_demand_usd_per_gpu_hour,
                "spot_usd_per_gpu_hour": price.spot_usd_per_gpu_hour,
                "spot_interruptions_per_hour": price.spot_interruptions_per_hour,
            }
            for (cluster, product), price in prices.items()
        ],
    )
    announce(session, PricesReplaced(new))
