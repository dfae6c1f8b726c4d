"""Writes allocations into claims before their pods are bound, and takes them back where a pod is not bound after all.

As Kubernetes' own scheduler does it: the finalizer that keeps an allocated claim from vanishing, then the status with
the devices, their configuration, the node, and the pod among its users. Each write stands on the version that it was
decided on; whoever else changed the claim meanwhile is seen. An allocation cannot be changed in place: one that is to
be another is cleared first.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from random import Random
from typing import Any

from placement.dra.allocate import Grant, Grants
from placement.dra.devices import DeviceToleration
from spoke import claim_facts
from spoke.claim_facts import API_VERSION, FINALIZER, KIND
from spoke.claims import ClaimGrant
from spoke.cluster.backoff import Backoff
from spoke.cluster.port import ClusterError, ClusterPort, Conflict, NotFound, Object, ObjectKey, Refused, Unavailable
from spoke.device_book import DeviceBook
from spoke.pods import PodFacts

log = logging.getLogger(__name__)

_TRIES = 10  # after conflicts, or for another pod


@dataclass(frozen=True, slots=True)
class Writing:
    """The claims of one pod; `wanted` tells whether it is still to run."""

    pod: PodFacts
    node: str
    grants: Sequence[ClaimGrant]
    wanted: Callable[[], bool]


_Step = Callable[[PodFacts, str, ClaimGrant, Object], Awaitable[None]]


class _NotYet(ClusterError):
    """Another pod's writing allocates it, and this one only joins."""


class ClaimWriter:
    def __init__(self, port: ClusterPort, book: DeviceBook, rng: Random) -> None:
        self._port = port
        self._book = book
        self._rng = rng

    async def all_or_none(self, writings: Sequence[Writing]) -> str:
        """Every claim of these pods is written, or none stays. Answers what failed, or ""."""
        # What is to change is cleared before anything is written: pods may have changed devices among themselves.
        failed = await self._each(writings, self._clear) or await self._each(writings, self._settle)
        if failed:
            await asyncio.gather(*(self.take_back(each.pod, each.grants) for each in writings))
        return failed

    async def take_back(self, pod: PodFacts, grants: Sequence[ClaimGrant]) -> None:
        """Of a pod that was not bound. Returns once it is known what became of each claim, however long that takes.

        Until then its devices count as taken: a write that nobody answered may have been done.
        """
        for grant in grants:
            backoff = Backoff(self._rng)
            while True:
                try:
                    await self._take_back(pod, grant)
                except (Unavailable, Conflict):
                    await backoff.wait()
                    continue
                except ClusterError as error:
                    log.warning(
                        "claim %s of pod %s cannot be read; its devices stay taken: %s", grant.name, pod.name, error
                    )
                    break
                if grant.grants is not None:  # one that is joined may be assumed for another pod
                    self._book.unassume(grant.uid)
                break

    async def _each(self, writings: Sequence[Writing], step: _Step) -> str:
        answers = await asyncio.gather(*(self._step_all(each, step) for each in writings))
        return next((answer for answer in answers if answer), "")

    async def _step_all(self, writing: Writing, step: _Step) -> str:
        for grant in writing.grants:
            if problem := await self._until_done(writing, grant, step):
                return f"claim {grant.name}: {problem}"
        return ""

    async def _until_done(self, writing: Writing, grant: ClaimGrant, step: _Step) -> str:
        """Answers what made it fail for good, or ""."""
        facts, backoff = self._book.claim(grant.namespace, grant.name), Backoff(self._rng)
        obj: Object | None = facts.obj if facts is not None and facts.uid == grant.uid else None
        tries = 0
        while True:
            if not writing.wanted():
                return "it is not to run any more"
            try:
                obj = obj or await self._get(grant)
                await step(writing.pod, writing.node, grant, obj)
            except (Conflict, _NotYet) as error:
                tries += 1
                if tries > _TRIES:
                    return str(error)
                if isinstance(error, _NotYet):
                    await backoff.wait()
                obj = None
            except Unavailable:
                await backoff.wait()
                obj = None  # it may have been done all the same
            except ClusterError as error:
                return str(error)
            else:
                return ""

    async def _clear(self, pod: PodFacts, node: str, grant: ClaimGrant, obj: Object) -> None:
        """An allocation for this very pod, of an earlier attempt, that is to be another."""
        facts = claim_facts.read(obj)
        if facts.uid != grant.uid or grant.grants is None or not facts.devices:
            return
        if facts.devices == frozenset(granted.device.id for granted in grant.grants):
            return
        if not facts.users <= {pod.uid}:
            raise Refused("somebody else has allocated it")
        self._book.put_claim(await self._with_status(obj, allocation=None, reservedFor=None))

    async def _settle(self, pod: PodFacts, node: str, grant: ClaimGrant, obj: Object) -> None:
        """One attempt, from the claim as it is to the claim as it is to be."""
        if obj["metadata"]["uid"] != grant.uid:
            raise Refused("it was deleted, and another one made")
        if "deletionTimestamp" in obj["metadata"]:
            raise Refused("it is being deleted")
        allocation = (obj.get("status") or {}).get("allocation")
        if grant.grants is None:
            if allocation is None:
                raise _NotYet("the pod that it is shared with has not had it allocated")
            await self._join(pod, obj)
            return
        if allocation is not None and claim_facts.read(obj).devices != frozenset(g.device.id for g in grant.grants):
            raise Refused("somebody else has allocated it meanwhile")
        if FINALIZER not in (obj["metadata"].get("finalizers") or ()):
            obj = await self._port.update(_with_finalizer(obj))
        wanted = allocation or self._allocation(obj, node, grant.grants)
        self._book.written(await self._with_status(obj, allocation=wanted, reservedFor=_users(obj, pod)))

    async def _join(self, pod: PodFacts, obj: Object) -> None:
        users = _users(obj, pod)
        if users != (obj["status"].get("reservedFor") or []):
            self._book.put_claim(await self._with_status(obj, reservedFor=users))

    async def _take_back(self, pod: PodFacts, grant: ClaimGrant) -> None:
        try:
            obj = await self._get(grant)
        except NotFound:
            return
        facts = claim_facts.read(obj)
        if facts.uid != grant.uid:
            return
        self._book.put_claim(obj)
        if pod.uid not in facts.users or await self._runs(pod):
            return
        users = [user for user in obj["status"]["reservedFor"] if user["uid"] != pod.uid]
        change: dict[str, Any] = {"reservedFor": users or None}
        if not users and grant.grants is not None:
            change["allocation"] = None
        try:
            self._book.put_claim(await self._with_status(obj, **change))
        except Refused as error:
            # Known to be taken; it is decided anew with the pod, or ends with it.
            log.warning("claim %s of pod %s keeps its devices: %s", grant.name, pod.name, error)

    async def _runs(self, pod: PodFacts) -> bool:
        """It was bound after all, by whomever."""
        try:
            there = await self._port.get(ObjectKey("v1", "Pod", pod.namespace, pod.name))
        except NotFound:
            return False
        return bool(there["metadata"]["uid"] == pod.uid and there["spec"].get("nodeName"))

    async def _get(self, grant: ClaimGrant) -> Object:
        return await self._port.get(ObjectKey(API_VERSION, KIND, grant.namespace, grant.name))

    async def _with_status(self, obj: Object, **fields: Any) -> Object:
        status = {**(obj.get("status") or {}), **fields}
        given = {**obj, "status": {name: value for name, value in status.items() if value is not None}}
        return await self._port.update(given, subresource="status")

    def _allocation(self, obj: Object, node: str, grants: Grants) -> Mapping[str, Any]:
        term = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
        devices: dict[str, Any] = {"results": [_result(grant) for grant in grants]}
        if config := self._config(obj, grants):
            devices["config"] = config
        return {"devices": devices, "nodeSelector": {"nodeSelectorTerms": [term]}}

    def _config(self, obj: Object, grants: Grants) -> list[Mapping[str, Any]]:
        """The classes' parameters for the requests that they serve, then the claim's own for those that were met."""
        requests: dict[str, list[str]] = {}
        for grant in grants:
            named = requests.setdefault(grant.alternative.device_class, [])
            if grant.request not in named:
                named.append(grant.request)
        found: list[Mapping[str, Any]] = [
            {**deepcopy(dict(config)), "source": "FromClass", "requests": named}
            for name, named in requests.items()
            for config in self._book.class_config.get(name, ())
        ]
        met = {name for grant in grants for name in (grant.request, grant.request.split("/")[0])}
        for config in obj["spec"].get("devices", {}).get("config") or ():
            asked = config.get("requests") or []
            if not asked or met & set(asked):
                found.append({**deepcopy(dict(config)), "source": "FromClaim"})
        return found


def _result(grant: Grant) -> Mapping[str, Any]:
    driver, pool, device = grant.device.id
    result = {"request": grant.request, "driver": driver, "pool": pool, "device": device}
    tolerations = [_toleration(each) for each in grant.alternative.tolerations]
    return result | ({"tolerations": tolerations} if tolerations else {})


def _toleration(given: DeviceToleration) -> Mapping[str, str]:
    found = {"key": given.key, "operator": given.operator, "value": given.value, "effect": given.effect}
    return {name: value for name, value in found.items() if value}


def _users(obj: Object, pod: PodFacts) -> list[Mapping[str, str]]:
    users = list((obj.get("status") or {}).get("reservedFor") or ())
    if any(user["uid"] == pod.uid for user in users):
        return users
    return [*users, {"resource": "pods", "name": pod.name, "uid": pod.uid}]


def _with_finalizer(obj: Object) -> Object:
    metadata = {**obj["metadata"], "finalizers": [*(obj["metadata"].get("finalizers") or ()), FINALIZER]}
    return {**obj, "metadata": metadata}
