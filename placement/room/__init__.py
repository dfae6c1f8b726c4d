"""The room of one cluster kept in tables, so that a decision costs what it changes. Answers are those of `packing`."""
