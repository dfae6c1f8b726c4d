"""YAML text to plain JSON values, safely: the text comes from whoever may submit, and is read by the hub itself.

Values are built from libyaml's events and not by PyYAML's composer: the composer recurses in C, so that 100 kB of `[`
end the process, and it expands nothing but forgets what an alias will cost later. Built from events, every limit is
checked before anything grows: size, documents, depth, and the size that aliases expand to (they are copied out, so
that nothing in a manifest is shared). Refused besides: duplicate keys, keys that are not strings, tags, and values
that JSON cannot hold.

Plain scalars mean what YAML 1.1 says (`on` is true, `010` is 8); dates and `12:30` stay strings, as with kubectl.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml
from yaml.constructor import SafeConstructor
from yaml.reader import ReaderError

from placement.kinds.fields import join
from placement.kinds.problems import ManifestError, Problem

__all__ = ["Document", "ManifestError", "Problem", "load", "parse"]

MAX_BYTES = 1 << 20
MAX_DOCUMENTS = 100
MAX_DEPTH = 64
MAX_PROBLEMS = 100  # enough to mend in one round; a hostile file could have a million
MAX_EXPANDED = 4 << 20  # characters and nodes once every alias is copied out

_COLLECTION_SIZE = 8  # a mapping or list costs more than a character

_RESOLVERS: dict[str, list[tuple[str, Any]]] = yaml.CSafeLoader.yaml_implicit_resolvers
_CONSTRUCTOR = SafeConstructor()
_TAG = "tag:yaml.org,2002:"
_TRUE = frozenset({"yes", "true", "on"})


@dataclass(frozen=True, slots=True)
class Document:
    number: int  # from 1, counted as the file separates them
    body: dict[str, Any]


def parse(text: bytes) -> tuple[dict[str, Any], ...]:
    """The objects of a file, empty documents left out. Raises ManifestError."""
    return tuple(document.body for document in load(text))


def load(text: bytes) -> tuple[Document, ...]:
    """As `parse`, with each document's number. Raises ManifestError with everything that could be found."""
    if len(text) > MAX_BYTES:
        raise _whole(
            f"the file has {len(text):,} bytes, the limit is {MAX_BYTES:,}", "split it, or move data out of it"
        )
    builder = _Builder(text)
    try:
        documents = builder.documents()
    except yaml.YAMLError as error:
        raise ManifestError([*builder.problems, _syntax_problem(error, text, builder.number)]) from error
    if builder.problems:
        raise ManifestError(builder.problems)
    if not documents:
        raise _whole("the file is empty", "give at least one Kubernetes object")
    return documents


class _Stop(Exception):
    """The problem just added makes reading on pointless or dangerous."""


class _Builder:
    def __init__(self, text: bytes) -> None:
        self._events: Iterator[Any] = yaml.parse(text, Loader=yaml.CSafeLoader)
        self._path: list[str | int] = []
        self._anchors: dict[str, tuple[Any, int]] = {}  # name -> (value, expanded size)
        self._expanded = 0
        self.number = 0
        self.problems: list[Problem] = []

    def documents(self) -> tuple[Document, ...]:
        documents: list[Document] = []
        try:
            for event in self._events:
                if not isinstance(event, yaml.DocumentStartEvent):
                    continue
                self.number += 1
                if self.number > MAX_DOCUMENTS:
                    self._stop(event, f"more than {MAX_DOCUMENTS} documents", "split the file")
                self._anchors.clear()
                self._path.clear()
                self._document(documents)
        except _Stop:
            pass
        return tuple(documents)

    def _document(self, documents: list[Document]) -> None:
        event = next(self._events)
        body = self._node(event, 1)
        if isinstance(body, dict):
            documents.append(Document(self.number, body))
        elif body is not None:
            self._add(
                event, f"a Kubernetes object is a mapping, this is a {_noun(body)}", "begin with apiVersion and kind"
            )

    def _node(self, event: Any, depth: int) -> Any:
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        before = self._expanded
        if isinstance(event, yaml.ScalarEvent):
            value = self._scalar(event)
            self._grow(len(event.value) + 1, event)
        else:
            if depth > MAX_DEPTH:
                self._stop(event, f"nested deeper than {MAX_DEPTH} levels", "no Kubernetes object is so deep")
            self._grow(_COLLECTION_SIZE, event)
            if event.tag is not None:
                self._refuse_tag(event)
            value = self._mapping(depth) if isinstance(event, yaml.MappingStartEvent) else self._sequence(depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = (value, self._expanded - before)
        return value

    def _mapping(self, depth: int) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        merged: list[dict[str, Any]] = []
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                self._node(event, depth + 1)
                self._node(next(self._events), depth + 1)
                self._add(event, "a key must be a string", "write the key as one word, quoted if need be")
                continue
            key = self._key(event)
            self._path.append(key)
            value = self._node(next(self._events), depth + 1)
            if key == "<<" and event.implicit[0]:
                merged.extend(self._merged(event, value))
            elif key in mapping:
                self._add(event, f"the key {key!r} is there twice", "keep one of them")
            else:
                mapping[key] = value
            self._path.pop()
        for values in merged:
            for key, value in values.items():
                mapping.setdefault(key, value)
        return mapping

    def _sequence(self, depth: int) -> list[Any]:
        values: list[Any] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            self._path.append(len(values))
            values.append(self._node(event, depth + 1))
            self._path.pop()
        return values

    def _key(self, event: Any) -> str:
        text: str = event.value
        value = self._scalar(event)
        self._grow(len(text) + 1, event)
        if event.anchor is not None:
            self._anchors[event.anchor] = (value, len(text) + 1)
        if not isinstance(value, str):
            self._add(
                event, f"the key {text or 'null'} is a {_noun(value)}, not a string", f'write it quoted: "{text}"'
            )
        return text

    def _merged(self, event: Any, value: Any) -> list[dict[str, Any]]:
        values = value if isinstance(value, list) else [value]
        if not all(isinstance(each, dict) for each in values):
            self._add(event, "`<<` merges mappings only", "let it name a mapping by alias")
            return []
        return values

    def _alias(self, event: Any) -> Any:
        if event.anchor not in self._anchors:
            self._stop(event, f"the alias *{event.anchor} names nothing before it", f"put &{event.anchor} before it")
        value, size = self._anchors[event.anchor]
        self._grow(size, event)
        return _copied(value)

    def _scalar(self, event: Any) -> Any:
        if event.tag is not None:
            self._refuse_tag(event)
            return event.value
        return self._plain(event) if event.implicit[0] else event.value

    def _plain(self, event: Any) -> Any:
        text: str = event.value
        for tag, pattern in _RESOLVERS.get(text[:1], ()):
            if pattern.match(text):
                return self._resolved(event, text, tag.removeprefix(_TAG))
        return text

    def _resolved(self, event: Any, text: str, tag: str) -> Any:
        if tag == "null":
            return None
        if tag == "bool":
            return text.lower() in _TRUE
        if tag not in ("int", "float") or ":" in text:
            return text
        if tag == "float":
            return self._float(event, text)
        try:
            value = int(text) if text[0] in "123456789" and "_" not in text else _construct_int(text)
        except ValueError:  # matches YAML's pattern and is no number ("0b_"), or has thousands of digits
            value = 1 << 64
        if not -(1 << 63) <= value < 1 << 64:
            self._add(event, f"the number {text[:24]}{'…' * (len(text) > 24)} does not fit 64 bits", "write it quoted")
        return value

    def _float(self, event: Any, text: str) -> Any:
        try:
            value = float(text.replace("_", ""))
        except ValueError:  # ".inf", ".nan"
            value = float("inf")
        if value - value != 0:
            self._add(event, f"{text[:24]} is not a number JSON can hold", "write it quoted")
        return value

    def _grow(self, size: int, event: Any) -> None:
        self._expanded += size
        if self._expanded > MAX_EXPANDED:
            self._stop(
                event, f"aliases make the file larger than {MAX_EXPANDED:,} characters", "write it out, or split it"
            )

    def _refuse_tag(self, event: Any) -> None:
        self._add(event, f"the tag {event.tag} is not allowed", "leave the tag out; quote a value that is a string")

    def _stop(self, event: Any, message: str, mend: str) -> None:
        self._add(event, message, mend)
        raise _Stop

    def _add(self, event: Any, message: str, mend: str) -> None:
        mark = event.start_mark
        path = ""
        for key in self._path:
            path = join(path, key)
        at = f"line {mark.line + 1}, column {mark.column + 1}: "
        self.problems.append(Problem(self.number, path, at + message, mend))
        if len(self.problems) >= MAX_PROBLEMS:
            raise _Stop


def _construct_int(text: str) -> int:
    return int(_CONSTRUCTOR.construct_yaml_int(yaml.ScalarNode(_TAG + "int", text)))


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_copied(each) for each in value]
    return value


def _syntax_problem(error: yaml.YAMLError, text: bytes, document: int) -> Problem:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        at = f"line {mark.line + 1}, column {mark.column + 1}: "
        message = " ".join(part for part in (error.context, error.problem) if part)
        line = text.splitlines()[mark.line : mark.line + 1]
        if line and b"\t" in line[0][: mark.column + 1]:
            return Problem(document, "", f"{at}a tab indents here", "indent with spaces")
        return Problem(document, "", f"{at}not valid YAML: {message}", "mend the line, or the one before it")
    if isinstance(error, ReaderError):
        line_number = text[: error.position].count(b"\n") + 1
        return Problem(document, "", f"line {line_number}: not UTF-8 text: {error.reason}", "save the file as UTF-8")
    return Problem(document, "", f"not valid YAML: {error}", "")


def _whole(message: str, mend: str) -> ManifestError:
    return ManifestError([Problem(0, "", message, mend)])


def _noun(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    return {str: "string", int: "number", float: "number", list: "list", dict: "mapping"}[type(value)]
