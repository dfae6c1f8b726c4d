from __future__ import annotations

from hub.store import prices
from hub.store.store import Store
from placement.money import PriceBook
from tests.hub.test_prices import BOOK


async def test_a_whole_book_is_kept_and_replaced(store: Store) -> None:
    assert await store.read(prices.book) == PriceBook()
    for book in (BOOK, PriceBook(), BOOK):
        await store.write(lambda session, book=book: prices.replace(session, book))
        assert await store.read(prices.book) == book
