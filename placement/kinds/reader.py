"""Native manifests to workloads: the one reader for every kind, led by the kind's file.

A file may hold several workloads and the objects they depend on; each workload becomes one submission with its
dependencies. Everything wrong in the file is reported at once, and then nothing is submitted.

Not promised: that a cluster accepts the object. What only the API server can know (webhooks, quotas, fields this
reader does not look at) is found when it is applied.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from placement.kinds import (
    claims,
    dependencies,
    documents,
    emulate,
    hints,
    identity,
    localities,
    paths,
    places,
    pods,
    references,
    roles,
)
from placement.kinds.catalogue import Catalogue
from placement.kinds.claims import ClaimUse
from placement.kinds.conditions import spec_holds
from placement.kinds.constraints import label_selector_matches
from placement.kinds.dependencies import Dependency
from placement.kinds.documents import Document
from placement.kinds.identity import Identity
from placement.kinds.kind import Kind
from placement.kinds.problems import Findings, ManifestError, Problem, TooManyProblems
from placement.kinds.roles import Shape
from placement.workload import Reference, Role, SliceRequest, Workload


@dataclass(frozen=True, slots=True)
class Submission:
    workload: Workload
    manifest: dict[str, Any]  # as given, with name and namespace written out
    dependencies: tuple[dict[str, Any], ...]  # objects of the same file that travel with it


def read(text: bytes, catalogue: Catalogue, *, namespace: str = "default", salt: str = "") -> tuple[Submission, ...]:
    """The workloads of a file, in order. Raises ManifestError with every problem found.

    `namespace` is for objects that name none. A name made from `generateName` depends on the document and on `salt`.
    """
    return read_documents(documents.load(text), catalogue, namespace=namespace, salt=salt)


def read_documents(
    given: Sequence[Document], catalogue: Catalogue, *, namespace: str = "default", salt: str = ""
) -> tuple[Submission, ...]:
    """As `read`, from objects that are parsed already (JSON values; they are kept, and not changed)."""
    objects = _without_lists(given)
    if len(objects) > documents.MAX_DOCUMENTS:
        message = f"the file has {len(objects)} objects, at most {documents.MAX_DOCUMENTS} are allowed"
        raise ManifestError([Problem(0, "", message, "split the file")])
    gathered = _Gathered()
    problems: list[Problem] = []
    for document in objects:
        found = Findings(document.number, documents.MAX_PROBLEMS)
        with contextlib.suppress(TooManyProblems):
            _gather(found, document.body, catalogue, namespace, salt, gathered)
        problems += found.problems
    if not gathered.drafts and not problems:
        problems.append(_no_workload(gathered.others))
    if problems:
        raise ManifestError(problems[: documents.MAX_PROBLEMS])
    return _with_dependencies(gathered.drafts, gathered.others)


@dataclass(frozen=True, slots=True)
class _Draft:
    workload: Workload
    manifest: dict[str, Any]
    labels: Callable[[], tuple[Mapping[str, str], ...]]  # of each role's pods
    claims: tuple[tuple[ClaimUse, ...], ...] = ()  # of each role's pods


@dataclass(slots=True)
class _Gathered:
    drafts: list[_Draft] = field(default_factory=list)
    others: list[Dependency] = field(default_factory=list)
    seen: set[tuple[str, str, str, str]] = field(default_factory=set)  # group, kind, namespace, name


def _gather(
    found: Findings, obj: dict[str, Any], catalogue: Catalogue, namespace: str, salt: str, gathered: _Gathered
) -> None:
    type_ = identity.type_of(found, obj)
    if type_ is None:
        return
    kind = catalogue.find(*type_)
    if kind is None and catalogue.dependency(*type_) is None:
        identity.refuse_type(found, catalogue, *type_)
        return
    who = identity.identify(found, obj, kind.rules.name if kind else "subdomain", namespace, salt)
    key = (type_[0].rpartition("/")[0], who.kind, who.namespace, who.name)
    if who.name and key in gathered.seen:
        name = f"{who.kind} {who.namespace}/{who.name}"
        found.error("metadata.name", f"the file has two objects {name}", "rename or remove one")
    gathered.seen.add(key)
    if kind is None:
        identity.check_metadata(found, obj)
        if who.kind in (claims.TEMPLATE, claims.CLAIM):
            claims.check_object(found, who.kind, obj)
        gathered.others.append(Dependency(who, identity.named(obj, who)))
    else:
        gathered.drafts.append(_workload(found, kind, obj, who))


def _workload(found: Findings, kind: Kind, obj: dict[str, Any], who: Identity) -> _Draft:
    rules = kind.rules
    shape = roles.shape(rules, obj, found)
    if shape.roles and not shape.pods:
        at = ", ".join(role.path or "spec" for role in shape.roles)
        found.error(at, "asks for no pods: there is nothing to place", "set replicas to 1 or more")
    given = hints.given(found, obj, shape.roles)
    manifest = identity.named(obj, who)

    def labels() -> tuple[Mapping[str, str], ...]:
        """What each role's pods will carry: the template's labels, and those that the kind's controller adds."""
        added = (emulate.role_labels(kind, manifest, role) for role in shape.roles)
        return tuple({**pods.labels(role.template), **more} for role, more in zip(shape.roles, added, strict=True))

    _check_selector(found, kind, obj, shape)
    if spec_holds(rules.suspended, obj):
        found.warn(f"the {rules.kind} is suspended: its controller makes no pods until somebody resumes it")
    gang = hints.topology(found, shape.roles, given, labels, localities.of_gang(found, rules, obj))
    wanted = localities.of_roles(found, rules, obj, shape.roles, gang, shape.groups)
    named = _references(shape)
    placed = tuple(
        pods.role(found, role, wish.topology, wish.slices) for role, wish in zip(shape.roles, wanted.roles, strict=True)
    )
    workload = Workload(
        api_version=who.api_version,
        kind=who.kind,
        name=who.name,
        namespace=who.namespace,
        roles=_in_groups(found, placed, shape.groups, wanted.group) if wanted.group else placed,
        min_pods=shape.min_pods,
        topology=wanted.gang,
        hints=hints.read(found, rules, obj, shape.roles, given),
        references=named,
        data=places.of_pods((role.template for role in shape.roles), named, who.namespace, hints.data(found, given)),
        long_running=rules.long_running
        if isinstance(rules.long_running, bool)
        else spec_holds(rules.long_running, obj),
        warnings=tuple(found.warnings),
        awaited=shape.awaited if _follow_others(shape) else None,
        groups=shape.groups,
    )
    used = tuple(claims.uses(role.template) for role in shape.roles)
    return _Draft(workload, manifest, labels, used if len(workload.roles) == len(used) else used[-1:])


def _follow_others(shape: Shape) -> bool:
    return shape.awaited != shape.min_pods or any(role.late for role in shape.roles)


def _in_groups(found: Findings, placed: tuple[Role, ...], groups: int, level: str) -> tuple[Role, ...]:
    """Roles of which each group has a part, to lie in one domain of the level.

    Domains are promised to slices of pods that are alike: so roles that ask for the same count as one here.
    """
    if len(placed) == 1:
        return placed
    last = placed[-1]
    asked = {(role.requests, role.devices, role.constraint) for role in placed if role.replicas}
    if len(asked) > 1:
        others = ", ".join(role.name for role in placed[:-1])
        found.warn(f"a group is kept in one {level} where all its pods ask for the same: {others} may lie elsewhere")
        return placed
    total = sum(role.replicas for role in placed)
    first = sum(role.minimum for role in placed if not role.late)
    whole = replace(last, replicas=total, minimum=first, late=False, stage=0)
    return (replace(whole, slices=SliceRequest(total // groups, level)),)


def _check_selector(found: Findings, kind: Kind, obj: dict[str, Any], shape: Shape) -> None:
    where = kind.rules.selector
    if where is None:
        return
    path = paths.shown(where)
    selector = paths.reach(found, obj, where)
    if not isinstance(selector, dict) or not selector:
        found.error(path, "is missing: the controller could not tell its pods", "select the pod template's labels")
        return
    for role in shape.roles:
        if not label_selector_matches(selector, pods.labels(role.template)):
            mend = f"make it match {role.template_path}.metadata.labels"
            found.error(path, "does not select the pods of its own template", mend)


def _references(shape: Shape) -> tuple[Reference, ...]:
    return references.of_templates([role.template for role in shape.roles])


def _with_dependencies(drafts: Sequence[_Draft], others: Sequence[Dependency]) -> tuple[Submission, ...]:
    if not others:
        return tuple(_submission(draft, draft.workload, ()) for draft in drafts)
    users = [dependencies.User(draft.workload, draft.manifest, draft.labels()) for draft in drafts]
    shares = dependencies.shared_out(users, others)
    return tuple(_submission(draft, share.workload, share.objects) for draft, share in zip(drafts, shares, strict=True))


def _submission(draft: _Draft, workload: Workload, objects: tuple[dict[str, Any], ...]) -> Submission:
    return Submission(claims.counted(workload, draft.claims, objects), draft.manifest, objects)


def _no_workload(others: Sequence[Dependency]) -> Problem:
    if not others:
        return Problem(0, "", "the file has no workload", "give at least one")
    names = ", ".join(f"{each.identity.kind} {each.identity.name}" for each in others[:5])
    message = f"the file has no workload, only what goes along with one: {names}"
    mend = "put them in the file of the workload that uses them; apply what configures a cluster there, with kubectl"
    return Problem(0, "", message, mend)


def _without_lists(given: Sequence[Document]) -> list[Document]:
    """A `v1 List`, as kubectl writes it, stands for its items."""
    answer: list[Document] = []
    for document in given:
        body = document.body
        items = body.get("items")
        if body.get("kind") == "List" and body.get("apiVersion") == "v1" and isinstance(items, list):
            answer += [Document(document.number, item) for item in items if isinstance(item, dict)]
        else:
            answer.append(document)
    return answer
