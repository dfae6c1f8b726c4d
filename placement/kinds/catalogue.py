"""The kinds Muster reads: one YAML file each in this folder; `_others.yaml` lists what is known and no workload.

A new kind is a new file (and a test). Loading is the only place where a kind file can be wrong; CatalogueError names
the file and the field.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from importlib import resources
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from placement.kinds import documents
from placement.kinds.kind import Kind, KindFile, OtherKind, OtherKinds
from placement.kinds.problems import ManifestError

_KIND_FILE = TypeAdapter(KindFile)
_OTHER_KINDS = TypeAdapter(OtherKinds)
_OTHERS = "_others.yaml"
_NO_OTHERS = "{dependencies: [], refused: []}"


class CatalogueError(Exception):
    """A kind file says something that no kind can mean."""


class Catalogue:
    def __init__(self, kinds: Sequence[Kind], others: OtherKinds) -> None:
        self.kinds = self._bound(kinds)  # those of files that were added among them
        self.others = others
        self._own = self.kinds
        self._kinds = {(kind.api_version, kind.kind): kind for kind in self.kinds}
        self._dependencies = _by_version(others.dependencies)
        self._left_out = _by_version(others.left_out)
        self._refused = _by_version((*others.refused, *others.calendars))

    @classmethod
    def builtin(cls) -> Catalogue:
        """The kinds that come with Muster. Reads the files anew; keep the answer. Raises CatalogueError."""
        folder = resources.files(__package__)
        texts = {entry.name: entry.read_text("utf-8") for entry in folder.iterdir() if entry.name.endswith(".yaml")}
        return cls.loaded(texts)

    @classmethod
    def loaded(cls, texts: Mapping[str, str]) -> Catalogue:
        """From file names and their texts, `_others.yaml` among them. Raises CatalogueError."""
        files = {
            name: _kinds(_validated(_KIND_FILE, name, _shipped(name, texts[name])))
            for name in sorted(texts)
            if name != _OTHERS
        }
        others = _validated(_OTHER_KINDS, _OTHERS, _shipped(_OTHERS, texts.get(_OTHERS, _NO_OTHERS)))
        made = cls(_without_twins([kind for kinds in files.values() for kind in kinds]), others)
        for name, kinds in files.items():
            _check_sample(name, kinds, made.kinds)
        return made

    @property
    def own(self) -> tuple[Kind, ...]:
        """Those that Muster comes with."""
        return self._own

    def replace_added(self, files: Mapping[str, str]) -> None:
        """These files, by name, beside the kinds that Muster comes with; those added before count no more.

        Whoever holds this catalogue knows them from then on. Raises CatalogueError; then nothing has changed.
        """
        added = [kind for name in sorted(files) for kind in self.read_file(name, files[name])]
        self.kinds = (*self._own, *self._bound(_without_twins(added)))
        self._kinds = {(kind.api_version, kind.kind): kind for kind in self.kinds}

    def read_file(self, name: str, text: str) -> tuple[Kind, ...]:
        """The kinds of one file that is to be added, one for each version. Raises CatalogueError.

        Such a file comes from outside, to the hub and to every spoke: it is read as a manifest is, within its limits.
        """
        try:
            bodies = documents.parse(text.encode())
        except ManifestError as error:
            raise CatalogueError(f"{name}: {error}") from error
        if len(bodies) != 1:
            raise CatalogueError(f"{name}: the file has {len(bodies)} documents; one kind is one document")
        kinds = _kinds(_validated(_KIND_FILE, name, bodies[0]))
        if not kinds:
            raise CatalogueError(f"{name}: versions: there is none; name at least one")
        own = {kind.resource_kind for kind in self._own}
        for kind in kinds:
            if kind.resource_kind in own:
                raise CatalogueError(f"{name}: {kind.resource_kind} is a kind that Muster comes with; leave it out")
            if (kind.api_version, kind.kind) in self._dependencies:
                raise CatalogueError(f"{name}: a {kind.resource_kind} goes along with workloads and is none itself")
        _check_sample(name, kinds, self.kinds)
        return kinds

    def _bound(self, kinds: Iterable[Kind]) -> tuple[Kind, ...]:
        return tuple(replace(kind, find=self.find) for kind in kinds)

    def find(self, api_version: str, kind: str) -> Kind | None:
        return self._kinds.get((api_version, kind))

    def dependency(self, api_version: str, kind: str) -> OtherKind | None:
        return self._dependencies.get((api_version, kind))

    def left_out(self, api_version: str, kind: str) -> OtherKind | None:
        return self._left_out.get((api_version, kind))

    def refused(self, api_version: str, kind: str) -> OtherKind | None:
        return self._refused.get((api_version, kind))

    def versions_of(self, kind: str) -> tuple[str, ...]:
        """Every apiVersion under which a kind of this name is known, workload or not."""
        known = (*self._kinds, *self._dependencies, *self._left_out, *self._refused)
        return tuple(api_version for api_version, each in known if each == kind)

    def meant_by(self, api_version: str, kind: str) -> str:
        """The apiVersion probably meant where the kind's name is right; "" where several would do."""
        group = api_version.rpartition("/")[0]
        for each in self.kinds:
            if each.kind == kind and group in (each.rules.group, *each.rules.mistaken_groups):
                return each.api_version
        versions = self.versions_of(kind)
        return versions[0] if len(versions) == 1 else ""


def _without_twins(kinds: Sequence[Kind]) -> Sequence[Kind]:
    """Raises CatalogueError where two files are for the same kind."""
    seen = [kind.resource_kind for kind in kinds]
    if twice := {each for each in seen if seen.count(each) > 1}:
        raise CatalogueError(f"two kind files for {', '.join(sorted(twice))}")
    return kinds


def _by_version(others: Iterable[OtherKind]) -> dict[tuple[str, str], OtherKind]:
    return {(version, other.kind): other for other in others for version in other.versions}


def _kinds(rules: KindFile) -> tuple[Kind, ...]:
    """One for each version."""
    return tuple(Kind(f"{rules.group}/{version}".lstrip("/"), rules, _alone) for version in rules.versions)


def _alone(api_version: str, kind: str) -> Kind | None:
    """Of a kind that no catalogue has taken yet."""
    return None


def _check_sample(name: str, kinds: Sequence[Kind], known: Iterable[Kind]) -> None:
    """Raises CatalogueError where the file's own sample is read otherwise than it says."""
    from placement.kinds import samples  # which reads manifests, by a catalogue

    for kind in kinds[:1]:  # versions differ in nothing that is read
        if wrong := "; ".join(samples.problems(kind, known)):
            raise CatalogueError(f"{name}: {wrong}")


def _shipped(name: str, text: str) -> Any:
    """Of a file that comes with the program. Raises CatalogueError."""
    try:
        return yaml.load(text, Loader=yaml.CSafeLoader)
    except yaml.YAMLError as error:
        raise CatalogueError(f"{name}: {error}") from error


def _validated(adapter: TypeAdapter[Any], name: str, body: Any) -> Any:
    try:
        return adapter.validate_python(body)
    except ValidationError as error:
        raise CatalogueError(f"{name}: {error}") from error
