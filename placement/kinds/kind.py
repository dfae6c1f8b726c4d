"""What a kind file says, as values. The fields and their comments are the reference for writing one.

Every `path` is dotted (see `paths`). Paths under `roles` begin at the role's entry, all others at the object.
pydantic checks a kind file against these dataclasses when it is loaded; nothing else here knows about it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from placement.kinds import companions, expressions, podforms
from placement.kinds.conditions import STRICT, Condition, Dependencies, asks_facts
from placement.kinds.emulation import Emulation
from placement.kinds.paths import Path
from placement.kinds.tallies import TallyRule
from placement.lifecycle import Event


@dataclass(frozen=True, slots=True)
class Replicas:
    """How many pods a role has; paths begin at the role's entry, unless they say otherwise."""

    __pydantic_config__ = STRICT
    path: Path = ()
    default: int = 1
    at_most: Path | None = None  # Job: no more pods at once than completions
    times: tuple[Path, ...] = ()  # multiplied by these, 1 where absent (JobSet: its Jobs × their pods)
    outer: Path | None = None  # form inner: where the entry names none, in the one it lies in
    of_object: Path | None = None  # where none of these names one, in the object
    less_one: Condition | None = None  # while this holds of the object, one of them is not the role's
    times_object: tuple[Path, ...] = ()  # multiplied by these too, which begin at the object; 1 where absent
    cel: str = ""  # instead of all that: a whole number, computed from the object

    def __post_init__(self) -> None:
        """Raises ValueError."""
        if bool(self.cel) == bool(self.path or self.times_object):
            raise ValueError("replicas are found by a path, or computed by cel")
        if asks_facts(self.less_one):
            raise ValueError("less_one: only the rules of `status` know gang and pods")
        if self.cel:
            expressions.check(self.cel)
            if expressions.asks_facts(self.cel):
                raise ValueError(f"gang and pods follow from replicas: {self.cel!r}")


@dataclass(frozen=True, slots=True)
class WholeRange:
    """A range that the object names for its one elastic role (Spark's dynamicAllocation). Paths begin at the object."""

    __pydantic_config__ = STRICT
    minimum: Path
    maximum: Path
    when: Condition | None = None  # None: always


@dataclass(frozen=True, slots=True)
class Range:
    """A role's own elastic range (Ray's worker groups), multiplied as its replicas are; these are held to it.

    Without a maximum the role is not elastic.
    """

    __pydantic_config__ = STRICT
    minimum: Path = ()
    maximum: Path = ()
    least: int = 0  # where no minimum is given
    maximum_annotation: str = ""  # of the object, where there is no maximum
    of_object: WholeRange | None = None  # instead of the entry's own fields


@dataclass(frozen=True, slots=True)
class Resize:
    """That a role's replicas may be written by Muster: fewer where no more have room, down to the role's minimum.

    Not of a role that comes late, and not where the replicas are computed or written nowhere.
    """

    __pydantic_config__ = STRICT
    running: bool = True  # also while it runs: its controller makes and ends pods then
    to_maximum: bool = True  # up to the maximum of its range; otherwise never more than its replicas
    when: Condition | None = None  # None: always


@dataclass(frozen=True, slots=True)
class Late:
    """Roles whose pods come only once others run: room is kept for them, and those others do not wait for them.

    Those that have a range of their own count with its least in the gang that is planned for.
    """

    __pydantic_config__ = STRICT
    roles: tuple[str, ...] = ()
    when: Condition | None = None  # for `roles`; None: always
    together: bool = False  # what comes at one time starts together too; else each pod for itself
    # With `together`: where `roles` are all there is, the first pod of each group comes before the others of it.
    leads: bool = False
    after: Dependencies | None = None  # form list: every entry that waits for another
    in_order: Condition | None = None  # form list: while this holds, every entry comes after the one before it


@dataclass(frozen=True, slots=True)
class Roles:
    __pydantic_config__ = STRICT
    # one: `at` is the role itself, called `name`. map: its keys are role names. list: entries named by `name_path`.
    # inner: each entry of a list holds another list, at `inner`: NAME-0, NAME-1 …
    form: Literal["one", "map", "list", "inner"]
    at: Path
    template: Path = ()  # "" where the entry is itself the template (Pod)
    pods: str = ""  # where pods are not written as a template: one of `podforms.FORMS`, which reads and marks them
    optional: bool = False  # nothing there: no such role
    unless: Condition | None = None  # no such role while this holds of the object
    inner: Path = ()
    name: str = ""  # form list: the prefix of entries without a name, followed by their index
    name_path: Path = ()
    known: tuple[str, ...] = ()  # form map: the only keys there may be, in rank order
    always: tuple[str, ...] = ()  # roles all of whose pods belong to every gang (Master)
    single: tuple[str, ...] = ()  # roles that have one pod: their controller takes no other number
    late: Late | None = None  # MPIJob: a launcher that comes after its workers
    replicas: Replicas | None = None  # None: one pod
    minimum: Path | None = None  # Volcano: a task's own minAvailable
    range: Range | None = None
    resize: Resize | None = None
    partitions: Path | None = None  # Volcano: a task's partitionPolicy
    container: str = ""  # a container of this name must be there
    restart_policies: tuple[str, ...] = ()  # allowed in the pod; () any. The first default is Kubernetes': Always

    def __post_init__(self) -> None:
        """Raises ValueError."""
        if self.pods and self.pods not in podforms.FORMS:
            raise ValueError(f"pods: {self.pods} is no form of pods; known: {', '.join(sorted(podforms.FORMS))}")
        if (self.form == "inner") != bool(self.inner):
            raise ValueError("inner: it belongs to the form of that name")
        late, resize = self.late, self.resize
        of_spec = [self.unless, resize.when if resize else None, *((late.when, late.in_order) if late else ())]
        if any(map(asks_facts, of_spec)):
            raise ValueError("unless, late and resize.when: only the rules of `status` know gang and pods")
        if resize is not None and (self.replicas is None or not self.replicas.path):
            raise ValueError("resize: the role has no path of replicas that could be written")


@dataclass(frozen=True, slots=True)
class Nested:
    """Another workload as a template, of which several run at once (Katib's trials): its own kind says what it is.

    Each is a gang of its own. What begins the job is one of them; room is kept for all that may run at once.
    """

    __pydantic_config__ = STRICT
    at: Path
    name: str  # of one of them, for people: "trial"
    times: Replicas  # how many run at once; paths begin at the object


@dataclass(frozen=True, slots=True)
class Gang:
    __pydantic_config__ = STRICT
    minimum: Literal["all"] | int  # how many pods start together, unless one of these says more:
    all_when: Condition | None = None
    paths: tuple[Path, ...] = ()  # spec.minAvailable; the first that is there and not 0


@dataclass(frozen=True, slots=True)
class Groups:
    """The object is so many gangs that are alike: each has its part of every role, and starts for itself."""

    __pydantic_config__ = STRICT
    path: Path  # how many
    default: int = 1
    domain: Path = ()  # a string: the level in one domain of which each group is to lie


@dataclass(frozen=True, slots=True)
class Elastic:
    """A range of pods of the whole workload, in which only `role` grows and shrinks."""

    __pydantic_config__ = STRICT
    role: str
    minimum: Path
    maximum: Path


@dataclass(frozen=True, slots=True)
class Reasons:
    """Where a status rule finds its words: the first that says something."""

    __pydantic_config__ = STRICT
    conditions: tuple[str, ...] = ()  # "reason: message" of these conditions
    paths: tuple[Path, ...] = ()  # strings, joined
    containers: Path | None = None  # a pod's containerStatuses: which one ended or waits, and why
    text: str = ""


@dataclass(frozen=True, slots=True)
class StatusRule:
    __pydantic_config__ = STRICT
    event: Literal[Event.STARTING, Event.RUNNING, Event.SUCCEED, Event.FAIL]
    when: Condition
    reason: Reasons = Reasons()


@dataclass(frozen=True, slots=True)
class Divided:
    """Its replicas may be divided over clusters (`muster.dev/divide`): each gets an object with its share.

    The one role's replicas are divided, its elastic range, and the whole numbers at `also`.
    """

    __pydantic_config__ = STRICT
    also: tuple[Path, ...] = ()
    unless: Condition | None = None
    because: str = ""  # why not then


@dataclass(frozen=True, slots=True)
class Sample:
    """A small manifest of the kind, and what is read from it: checked whenever the file is loaded."""

    __pydantic_config__ = STRICT
    manifest: dict[str, Any]  # without apiVersion and kind, which the file knows
    pods: int
    gpus: int | None = None
    gang: int | None = None  # how many pods start together
    # By event, a status that says it.
    statuses: dict[Literal[Event.STARTING, Event.RUNNING, Event.SUCCEED, Event.FAIL], dict[str, Any]] = field(
        default_factory=dict
    )


@dataclass(frozen=True, slots=True)
class KindFile:
    __pydantic_config__ = STRICT
    kind: str
    group: str  # "" for the core group
    versions: tuple[str, ...]
    gang: Gang
    status: tuple[StatusRule, ...]  # the first that holds speaks; none: the status says nothing
    # where pods are; several places in rank order (Ray: a head, and groups of workers)
    roles: Roles | tuple[Roles, ...] = ()
    nested: Nested | None = None  # instead of roles
    companion: str = ""  # one of `companions.FORMS`: roles are read of what it makes of the object and of its runtime
    progress: TallyRule | None = None  # how much of its work is done
    retries: TallyRule | None = None  # how many were used, of those that it may
    mistaken_groups: tuple[str, ...] = ()  # groups that people write for this one
    name: Literal["subdomain", "label", "label-1035"] = "subdomain"  # what Kubernetes allows as metadata.name
    elastic: Elastic | None = None
    groups: Groups | None = None
    queue: tuple[Path, ...] = ()
    priority_class: tuple[Path, ...] = ()
    selector: Path | None = None  # must match the pod template's labels
    network_topology: Path | None = None  # Volcano's: how near to each other all pods must be
    scheduler: tuple[Path, ...] = ()  # set to Muster's scheduler besides the pod templates
    suspended: Condition | None = None  # no pods come up while this holds
    long_running: bool | Condition = False
    divided: Divided | None = None  # None: all of it runs in one cluster
    controller: str = "the kube-controller-manager"  # who makes its pods, for the question whether it runs
    emulate: Emulation | None = None  # None: the object is its own pod
    sample: Sample | None = None

    def __post_init__(self) -> None:
        """Raises ValueError."""
        if (self.nested is None) == (not self.places):
            raise ValueError("roles: it has pods of its own, or is made of others (nested): give one of the two")
        if self.companion and self.companion not in companions.FORMS:
            raise ValueError(f"companion: {self.companion} is none; known: {', '.join(sorted(companions.FORMS))}")
        of_spec = {
            "gang.all_when": self.gang.all_when,
            "suspended": self.suspended,
            "long_running": self.long_running,
            "divided.unless": None if self.divided is None else self.divided.unless,
        }
        for path, condition in of_spec.items():
            if asks_facts(condition):
                raise ValueError(f"{path} asks for gang or pods, which only the rules of `status` know")

    @property
    def places(self) -> tuple[Roles, ...]:
        return (self.roles,) if isinstance(self.roles, Roles) else self.roles


@dataclass(frozen=True, slots=True, eq=False)
class Kind:
    """A kind in one version; one object each per catalogue."""

    api_version: str
    rules: KindFile = field(repr=False)
    find: Callable[[str, str], Kind | None] = field(repr=False)  # the others of its catalogue, for those that nest them

    @property
    def kind(self) -> str:
        return self.rules.kind

    @property
    def resource_kind(self) -> str:
        """ "kubeflow.org/v1/PyTorchJob", as clusters report what they serve."""
        return f"{self.api_version}/{self.rules.kind}"


@dataclass(frozen=True, slots=True)
class OtherKind:
    """A kind that is known and is no workload."""

    __pydantic_config__ = STRICT
    kind: str
    versions: tuple[str, ...]  # whole apiVersions
    because: str = ""  # why it cannot be submitted; "" for dependencies
    # For dependencies that not every cluster serves. needed: a workload that brings one goes only where it is served;
    # wished: elsewhere it goes without.
    installed: Literal["", "needed", "wished"] = ""
    distribute: bool = False  # it configures a cluster, and is applied there


@dataclass(frozen=True, slots=True)
class OtherKinds:
    __pydantic_config__ = STRICT
    dependencies: tuple[OtherKind, ...]  # travel along with the workload that uses them
    refused: tuple[OtherKind, ...]
    calendars: tuple[OtherKind, ...] = ()  # the hub makes workloads of them as they become due
    left_out: tuple[OtherKind, ...] = ()  # are read, and stay behind
