"""Prices of clouds as a catalogue lists them by machine, made into prices of cards by cluster and product."""
