"""What a kind file says about playing the kind's controller where none is: see `emulate` for who reads it.

Texts may hold `${variable}`; `VARIABLES` names those that are always there, `first_host.ROLE` and `hosts.ROLE` are
there where the object has that role, and the file may name more from the object itself. Which ones a file uses is
checked when it is loaded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from placement.kinds.conditions import STRICT, Condition
from placement.kinds.paths import Path

VARIABLE = re.compile(r"\$\{([^}]*)\}")
VARIABLES = frozenset(
    {
        "name",  # of the object
        "namespace",
        "uid",
        "role",
        "role_lower",
        "index",  # of the pod within its role, from the kind's first index
        "rank",  # of the pod over all roles in order
        "pods",  # of all roles
        "hash",  # five characters, the same for the same pod of the same object
        "pod",  # the pod's name (not in the name itself)
        "host",  # where peers reach it
        "first_host",  # where they reach the pod of rank 0
        "port",
        "peers",  # JSON: for each role its pods as host:port; not there where the object has only one pod
    }
)
EACH_ROLE_VARIABLES = frozenset({"each_role", "each_env", "each_hosts", "each_pods"})
COUNTERS = frozenset(
    {"pods", "pending", "running", "ready", "active", "succeeded", "failed", "gang", "generation", "reason", "message"}
    | {"success"}  # by what it has succeeded: CompletionsReached or SuccessPolicy
)


@dataclass(frozen=True, slots=True)
class Variable:
    """The first of `paths` that is there. Without one and without a default, what uses the variable is left out."""

    __pydantic_config__ = STRICT
    paths: tuple[Path, ...]
    default: str | None = None


@dataclass(frozen=True, slots=True)
class Port:
    """The rendezvous port: a container port by name in the first pod, or the default."""

    __pydantic_config__ = STRICT
    name: str
    default: int


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """Where the kind keeps the pods' restartPolicy, when not in the pod template; path from the role's entry."""

    __pydantic_config__ = STRICT
    path: Path
    default: str


@dataclass(frozen=True, slots=True)
class PodLabel:
    __pydantic_config__ = STRICT
    key: str
    value: str
    when: Condition | None = None
    first_only: bool = False  # only on the pod of rank 0


@dataclass(frozen=True, slots=True)
class EnvRule:
    """A variable the controller sets in every container that does not set it itself."""

    __pydantic_config__ = STRICT
    name: str
    value: str = ""
    path: Path | None = None  # instead of value: a field of the object; absent, the variable is not set
    times: Path | None = None  # value is a number, multiplied by this field where that is a whole number
    when: Condition | None = None
    each_role: bool = False  # one variable per role
    init: bool = False  # init containers too


@dataclass(frozen=True, slots=True)
class Completions:
    """Job: new pods come until so many have succeeded; failed ones are replaced as long as the retries last."""

    __pydantic_config__ = STRICT
    path: Path
    indexed: Condition
    policy: Path = ()  # of indexed ones: rules, by one of which fewer suffice (Job's `successPolicy.rules`)


@dataclass(frozen=True, slots=True)
class Retries:
    """How many failures, restarts in place included, the whole survives. Without default: any number."""

    __pydantic_config__ = STRICT
    path: Path
    default: int | None = None


@dataclass(frozen=True, slots=True)
class NativeStatus:
    """Status as the kind's controller writes it. `always` is there in every state; each state's tree is laid over it.

    A string `$counter` becomes that counter's value. `{$each_role: tree}` becomes a mapping of role names to the tree,
    with the counters of that role.
    """

    __pydantic_config__ = STRICT
    always: dict[str, Any]
    pending: dict[str, Any]
    running: dict[str, Any]
    succeeded: dict[str, Any]
    failed: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Emulation:
    __pydantic_config__ = STRICT
    pod_name: str
    # When the whole has succeeded: all pods have ended and a gang of them well; the first of `leaders` that exists
    # has; completions are reached.
    succeeds: Literal["all", "leader", "completions", "never"]
    # When it has failed (besides using up its retries): a pod has; too few are left to make up the gang.
    fails: Literal["any", "gang-lost", "never"]
    status: NativeStatus
    leaders: tuple[str, ...] = ()  # roles that rank before all others, in this order
    no_peers: tuple[str, ...] = ()  # roles that `${peers}` leaves out
    hostname: str = ""
    subdomain: str = ""
    host: str = "${pod}"
    first_index: Path | None = None
    one_by_one: Condition | None = None  # the next pod only when all before it are ready
    restart_policy: RestartPolicy | None = None
    port: Port | None = None
    variables: dict[str, Variable] | None = None
    labels: tuple[PodLabel, ...] = ()
    annotations: tuple[PodLabel, ...] = ()
    env: tuple[EnvRule, ...] = ()
    completions: Completions | None = None
    retries: Retries | None = None

    def __post_init__(self) -> None:
        """Raises ValueError for a variable or counter that nothing defines."""
        known = VARIABLES | frozenset(self.variables or {})
        texts = [self.pod_name, self.hostname, self.subdomain, self.host]
        texts += [text for label in (*self.labels, *self.annotations) for text in (label.key, label.value)]
        for text in texts:
            _check_variables(text, known)
        for rule in self.env:
            allowed = known | EACH_ROLE_VARIABLES if rule.each_role else known
            _check_variables(rule.name + rule.value, allowed)
        for state in (self.status.always, self.status.pending, self.status.running, self.status.succeeded):
            _check_counters(state)
        _check_counters(self.status.failed)


def variables_of(text: str) -> Iterator[str]:
    for match in VARIABLE.finditer(text):
        yield match[1]


def _check_variables(text: str, known: frozenset[str]) -> None:
    for name in variables_of(text):
        if name not in known and not name.startswith(("first_host.", "hosts.")):
            raise ValueError(f"${{{name}}} in {text!r} is no variable; known: {', '.join(sorted(known))}")


def _check_counters(tree: Any) -> None:
    if isinstance(tree, dict):
        for value in tree.values():
            _check_counters(value)
    elif isinstance(tree, list):
        for value in tree:
            _check_counters(value)
    elif isinstance(tree, str) and tree.startswith("$") and tree[1:] not in COUNTERS:
        raise ValueError(f"{tree} is no counter; known: {', '.join(sorted(COUNTERS))}")
