"""The price book. What is true of every cluster lies under the cluster `*`: the default price, and the CPU's; what is
no price and no route is a setting."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

from hub.store import codec, rows
from hub.store.changes import PricesReplaced, announce
from placement.amortised import Amortised
from placement.money import Price, PriceBook
from placement.transfers import Route, Transfers

EVERYWHERE = "*"
DEFAULT = (EVERYWHERE, "*")
CPU = (EVERYWHERE, "cpu")


def book(session: Session) -> PriceBook:
    plain, prices, settings = PriceBook(), _prices(session), _settings(session)
    cpu = prices.pop(CPU, None)
    default = prices.pop(DEFAULT, plain.default)
    within, elsewhere = (settings.get(name) for name in ("within", "elsewhere"))
    return PriceBook(
        prices=prices,
        usd_per_cpu_hour=cpu.on_demand_usd_per_gpu_hour if cpu is not None else plain.usd_per_cpu_hour,
        default=default,
        transfers=Transfers(
            _routes(session),
            Route(**within) if within else plain.transfers.within,
            Route(**elsewhere) if elsewhere else plain.transfers.default,
        ),
        public=frozenset(settings.get("public", ())),
        regions=frozenset(settings.get("regions", ())),
    )


def replace(session: Session, new: PriceBook) -> None:
    prices = {**new.prices, DEFAULT: new.default, CPU: Price(new.usd_per_cpu_hour)}
    settings = {
        "within": asdict(new.transfers.within),
        "elsewhere": asdict(new.transfers.default),
        "public": sorted(new.public),
        "regions": sorted(new.regions),
    }
    written: dict[Any, list[dict[str, Any]]] = {
        rows.prices: [_price_row(*key, price) for key, price in prices.items()],
        rows.transfers: [
            {"source": source, "target": target, **asdict(route)}
            for (source, target), route in new.transfers.routes.items()
        ],
        rows.price_settings: [{"name": name, "value_json": codec.dump(value)} for name, value in settings.items()],
    }
    for table, values in written.items():
        session.connection().execute(delete(table))
        if values:
            session.connection().execute(insert(table), values)
    announce(session, PricesReplaced(new))


def _prices(session: Session) -> dict[tuple[str, str], Price]:
    table = rows.prices.c
    query = select(
        table.cluster,
        table.product,
        table.on_demand_usd_per_gpu_hour,
        table.spot_usd_per_gpu_hour,
        table.spot_interruptions_per_hour,
        table.amortised_json,
    )
    return {
        (cluster, product): Price(on_demand, spot, often, None if own is None else Amortised(**codec.load(own)))
        for cluster, product, on_demand, spot, often, own in session.connection().execute(query)
    }


def _routes(session: Session) -> dict[tuple[str, str], Route]:
    table = rows.transfers.c
    query = select(table.source, table.target, table.usd_per_gb, table.gbit_per_s)
    return {(source, target): Route(*route) for source, target, *route in session.connection().execute(query)}


def _settings(session: Session) -> dict[str, Any]:
    table = rows.price_settings.c
    query = select(table.name, table.value_json)
    return {name: codec.load(value) for name, value in session.connection().execute(query)}


def _price_row(cluster: str, product: str, price: Price) -> dict[str, Any]:
    return {
        "cluster": cluster,
        "product": product,
        "on_demand_usd_per_gpu_hour": price.on_demand_usd_per_gpu_hour,
        "spot_usd_per_gpu_hour": price.spot_usd_per_gpu_hour,
        "spot_interruptions_per_hour": price.spot_interruptions_per_hour,
        "amortised_json": None if price.amortised is None else codec.dump(price.amortised),
    }
