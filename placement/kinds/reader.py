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
    podgroups,
    pods,
    references,
    roles,
    trainjobs,
)
from placement.kinds.catalogue import Catalogue
from placement.kinds.claims import ClaimUse
from placement.kinds.conditions import spec_holds
from placement.kinds.constraints import label_selector_matches
from placement.kinds.dependencies import Dependency
from placement.kinds.documents import Document
from placement.kinds.fields import Object
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
    objects = without_lists(given)
    if len(objects) > documents.MAX_DOCUMENTS:
        message = f"the file has {len(objects)} objects, at most {documents.MAX_DOCUMENTS} are allowed"
        raise ManifestError([Problem(0, "", message, "split the file")])
    gathered = _Gathered()
    for document in objects:
        found = Findings(document.number, documents.MAX_PROBLEMS)
        gathered.findings.append(found)
        with contextlib.suppress(TooManyProblems):
            _gather(found, document, catalogue, namespace, salt, gathered)
    _gather_groups(gathered, catalogue)
    drafts = _drafts(gathered)
    in_order = sorted(gathered.findings, key=lambda found: found.document)
    problems = [problem for found in in_order for problem in found.problems]
    if not drafts and not problems:
        problems.append(_no_workload(gathered.others, gathered.left_out))
    if problems:
        raise ManifestError(problems[: documents.MAX_PROBLEMS])
    return _with_dependencies(drafts, gathered.others, catalogue)


@dataclass(frozen=True, slots=True)
class _Found:
    """A workload in the file, before its pods are read: that may take what else is in the file."""

    findings: Findings
    kind: Kind
    obj: dict[str, Any]
    who: Identity
    group: podgroups.Group | None = None


@dataclass(frozen=True, slots=True)
class _LeftOut:
    document: int
    who: Identity
    obj: dict[str, Any]
    because: str
    mend: str


@dataclass(frozen=True, slots=True)
class _Draft:
    workload: Workload
    manifest: dict[str, Any]
    labels: Callable[[], tuple[Mapping[str, str], ...]]  # of each role's pods
    claims: tuple[tuple[ClaimUse, ...], ...] = ()  # of each role's pods


@dataclass(slots=True)
class _Gathered:
    findings: list[Findings] = field(default_factory=list)  # of each document, in order
    workloads: list[_Found] = field(default_factory=list)
    members: dict[tuple[str, str], list[podgroups.Member]] = field(default_factory=dict)  # by namespace and group
    others: list[Dependency] = field(default_factory=list)
    left_out: list[_LeftOut] = field(default_factory=list)
    seen: set[tuple[str, str, str, str]] = field(default_factory=set)  # group, kind, namespace, name


def _gather(
    found: Findings, document: Document, catalogue: Catalogue, namespace: str, salt: str, gathered: _Gathered
) -> None:
    obj = document.body
    type_ = identity.type_of(found, obj)
    if type_ is None:
        return
    kind = catalogue.find(*type_)
    stays = catalogue.left_out(*type_)
    if kind is None and catalogue.dependency(*type_) is None and stays is None:
        identity.refuse_type(found, catalogue, *type_)
        return
    if kind is not None and kind.resource_kind == podgroups.RESOURCE_KIND:
        mend = f"give the Pods themselves, each with the label {podgroups.LABEL}"
        found.error("kind", f"{kind.kind} ({type_[0]}) is put together by Muster itself", mend)
        return
    who = identity.identify(found, obj, kind.rules.name if kind else "subdomain", namespace, salt)
    key = (type_[0].rpartition("/")[0], who.kind, who.namespace, who.name)
    if who.name and key in gathered.seen:
        name = f"{who.kind} {who.namespace}/{who.name}"
        found.error("metadata.name", f"the file has two objects {name}", "rename or remove one")
    gathered.seen.add(key)
    if stays is not None:
        identity.check_metadata(found, obj)
        mend = identity.DISTRIBUTE if stays.distribute else "give the workload that it is for, in the same file"
        gathered.left_out.append(_LeftOut(document.number, who, identity.named(obj, who), stays.because, mend))
    elif kind is None:
        identity.check_metadata(found, obj)
        if who.kind in (claims.TEMPLATE, claims.CLAIM):
            claims.check_object(found, who.kind, obj)
        gathered.others.append(Dependency(who, identity.named(obj, who)))
    elif kind.kind == "Pod" and (member := _member(found, obj, who, document.number, catalogue)):
        gathered.members.setdefault((who.namespace, member.group), []).append(member)
    else:
        gathered.workloads.append(_Found(found, kind, obj, who))


def _member(
    found: Findings, obj: dict[str, Any], who: Identity, document: int, catalogue: Catalogue
) -> podgroups.Member | None:
    if catalogue.find(podgroups.API_VERSION, podgroups.KIND) is None:
        return None
    member = podgroups.member(found, identity.named(obj, who), document)
    if member is not None:
        identity.check_metadata(found, obj)  # of all of them: roles are read of their first pods
    return member


def _gather_groups(gathered: _Gathered, catalogue: Catalogue) -> None:
    """Those that Pods of the file are in. What is wrong with one is told of its first Pod, if of none in particular."""
    kind = catalogue.find(podgroups.API_VERSION, podgroups.KIND)
    if kind is None:
        return
    stated = {
        (one.who.namespace, one.who.name): podgroups.PodGroup(one.document, one.obj)
        for one in gathered.left_out
        if one.who.kind == podgroups.KIND
    }
    for (namespace, name), members in gathered.members.items():
        found = Findings(members[0].document, documents.MAX_PROBLEMS)
        gathered.findings.append(found)
        with contextlib.suppress(TooManyProblems):
            group = podgroups.gathered(found, members, stated.get((namespace, name)))
            who = identity.identify(found, group.obj, kind.rules.name, namespace, "")
            gathered.workloads.append(_Found(found, kind, group.obj, who, group))


def _drafts(gathered: _Gathered) -> list[_Draft]:
    """The workloads in the file's order."""
    drafts: list[_Draft] = []
    for one in sorted(gathered.workloads, key=lambda one: one.findings.document):
        found, obj = one.findings, one.obj
        if one.who.kind == trainjobs.KIND:
            obj = _with_runtime(one, gathered)
        for stays in gathered.left_out:
            found.warn(f"{stays.who.kind} {stays.who.name} is not applied: {stays.because}")
        beside = [each.obj for each in gathered.others if each.identity.namespace == one.who.namespace]
        with contextlib.suppress(TooManyProblems):
            drafts.append(_workload(found, one.kind, obj, one.who, beside))
        if one.group is not None:
            found.problems = [one.group.in_file(problem) for problem in found.problems]
        found.problems = [roles.in_file(one.kind, obj, problem) for problem in found.problems]
    return drafts


def _with_runtime(one: _Found, gathered: _Gathered) -> dict[str, Any]:
    """The TrainJob; a ClusterTrainingRuntime that it names and the file has becomes one of its namespace."""
    named = trainjobs.runtime_of(one.obj)
    for stays in gathered.left_out:
        if named != (stays.who.kind, stays.who.name):
            continue
        obj, runtime = trainjobs.of_namespace(one.obj, stays.obj, one.who.namespace)
        own = Identity(stays.who.api_version, trainjobs.RUNTIME, one.who.namespace, stays.who.name)
        if all(each.identity != own for each in gathered.others):
            gathered.others.append(Dependency(own, runtime))
        return obj
    return one.obj


def _workload(found: Findings, kind: Kind, obj: dict[str, Any], who: Identity, beside: Sequence[Object]) -> _Draft:
    rules = kind.rules
    shape = roles.shape(kind, obj, found, beside)
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
    named = (*_references(shape), *roles.runtimes(kind, obj, beside))
    each = zip(shape.roles, wanted.roles, strict=True)
    placed = tuple([pods.role(found, role, wish.topology, wish.slices) for role, wish in each])
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
        data=places.of_pods([role.template for role in shape.roles], named, who.namespace, hints.data(found, given)),
        long_running=rules.long_running
        if isinstance(rules.long_running, bool)
        else spec_holds(rules.long_running, obj),
        warnings=tuple(found.warnings),
        awaited=shape.awaited if _follow_others(shape) else None,
        groups=shape.groups,
    )
    used = tuple([claims.uses(role.template) for role in shape.roles])
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


def _with_dependencies(
    drafts: Sequence[_Draft], others: Sequence[Dependency], catalogue: Catalogue
) -> tuple[Submission, ...]:
    if not others:
        return tuple(_submission(draft, draft.workload, ()) for draft in drafts)
    users = [dependencies.User(draft.workload, draft.manifest, draft.labels()) for draft in drafts]
    shares = dependencies.shared_out(users, others, catalogue)
    return tuple(_submission(draft, share.workload, share.objects) for draft, share in zip(drafts, shares, strict=True))


def _submission(draft: _Draft, workload: Workload, objects: tuple[dict[str, Any], ...]) -> Submission:
    return Submission(claims.counted(workload, draft.claims, objects), draft.manifest, objects)


def _no_workload(others: Sequence[Dependency], left_out: Sequence[_LeftOut]) -> Problem:
    if left_out and not others:
        first = left_out[0]
        message = f"the file has no workload, only a {first.who.kind}, which is not applied: {first.because}"
        return Problem(first.document, "kind", message, first.mend)
    if not others:
        return Problem(0, "", "the file has no workload", "give at least one")
    names = ", ".join(f"{each.identity.kind} {each.identity.name}" for each in others[:5])
    message = f"the file has no workload, only what goes along with one: {names}"
    mend = "put them in the file of the workload that uses them; what configures clusters goes by muster distribute"
    return Problem(0, "", message, mend)


def without_lists(given: Sequence[Document]) -> list[Document]:
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
