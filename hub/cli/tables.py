"""The screens of the CLI as values: pure functions from the API's answers to rich renderables.

`width` decides which columns there are, so that a table reads well at 80 columns and says more at 120.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from hub.api import schemas
from hub.api.schemas import OWN_KEY
from hub.cli import division_tables, outlooks
from hub.cli.data_tables import move
from hub.cli.grid import column as _column
from hub.cli.grid import cut as _cut
from hub.cli.grid import facts as _facts
from hub.cli.grid import grid as _table
from hub.cli.screen import HEALTH_STYLE, age, counted, phase_style, usd

_WITH_WHY, _WIDE, _WIDER = 100, 110, 140


def jobs(found: Sequence[schemas.JobOut], now: datetime, width: int) -> RenderableType:
    table = _table()
    _column(table, "ID")
    _column(table, "NAME", cut=True, at_most=30 if width >= _WITH_WHY else None)
    if width >= _WIDER:
        _column(table, "KIND")
    _column(table, "PHASE")
    _column(table, "CLUSTER", cut=True)
    _column(table, "GPUS", right=True)
    _column(table, "PODS", right=True)
    _column(table, "AGE", right=True)
    if width >= _WITH_WHY:
        _column(table, "WHY", cut=True)
    for job in found:
        row: list[RenderableType] = [job.id, _cut(job.name)]
        row += [Text(job.kind)] if width >= _WIDER else []
        row += [_phase(job, now), _cut(division_tables.place(job))]
        row += [str(job.total_gpus), pods(job), age(job.submitted_at, now)]
        row += [_cut(job.reason, "dim")] if width >= _WITH_WHY else []
        table.add_row(*row)
    return table


def submitted(found: Sequence[schemas.SubmittedOut]) -> RenderableType:
    table = _table()
    _column(table, "ID")
    _column(table, "NAME", cut=True)
    _column(table, "KIND", cut=True)
    _column(table, "GPUS", right=True)
    _column(table, "PHASE")
    _column(table, "")
    for one in found:
        note = "" if one.created else "submitted before"
        table.add_row(
            one.job.id,
            _cut(one.job.name),
            _cut(one.job.kind),
            str(one.job.total_gpus),
            Text(one.job.phase, phase_style(one.job.phase)),
            Text(note, "dim"),
        )
    return table


def plan(one: schemas.PlanOut) -> RenderableType:
    """What it is, what becomes of it, and why each cluster is or is not chosen."""
    gpus = counted(one.workload.total_gpus, "GPU") if one.workload.total_gpus else "no GPUs"
    title = Text.assemble((one.workload.name, "bold"), f"  {one.workload.kind} in namespace {one.workload.namespace}")
    parts: list[RenderableType] = [title, Padding(_roles(one.workload.roles), (0, 0, 0, 2), expand=False)]
    parts.append(Text(f"  {gpus}; {_gang(one.workload)}; {_duration(one.workload)}", "dim"))
    parts += [Text(f"  ! {warning}", "yellow") for warning in one.warnings]
    parts += [Text(f"  {near}", "dim") for near in _nearness(one.workload)]
    if one.division is not None:
        return Group(*parts, "", division_tables.planned(one.division))
    parts += ["", _verdict(one.verdict, one.chosen, one.domain, one.reasons, one.candidates)]
    if one.starts_with:
        asked = sum(role.replicas for role in one.workload.roles)
        now = sum(one.starts_with.values())
        parts.append(Text(f"  with {now} of its {asked} pods, since no cluster has room for all"))
    parts += outlooks.when(one.start, one.room, one.outlook, planned=True)
    if one.candidates:
        parts += ["", candidates(one.candidates, one.chosen)]
    if one.verdict != "placed":
        parts += outlooks.rest(one.outlook)
    return Group(*parts)


def _gang(workload: schemas.WorkloadOut) -> str:
    pods, least = sum(role.replicas for role in workload.roles), workload.gang.min_pods
    if pods <= 1:
        return "a single pod"
    groups, first = workload.gang.groups, workload.gang.awaited
    if groups > 1:
        begins = "each starts whole, or not at all" if first is None else f"of each, {first // groups} first"
        return f"{groups} gangs of {least // groups} pods: {begins}"
    if first is not None:
        return f"{pods} pods: {first} first, the others once those are there"
    if least == 1:
        return f"{pods} pods; one is enough to start"
    if least < pods:
        return f"gang of {least} of {pods} pods: so many start together, or none"
    return f"gang of {least} pods: all start together, or none"


def _nearness(workload: schemas.WorkloadOut) -> list[str]:
    """Which pods want to be in one domain, in one line; none where nobody asks."""
    found = []
    for name, request in (("all", workload.gang.topology), *((role.name, role.topology) for role in workload.roles)):
        if request is not None:
            wish = " if it can be" if request.mode == "preferred" else ""
            found.append(f"{name} in one {request.level}{wish}")
    found += [
        f"{role.name} in slices of {role.slices.size} in one {role.slices.level} each"
        for role in workload.roles
        if role.slices is not None
    ]
    return ["; ".join(found)] if found else []


def candidates(found: Sequence[schemas.CandidateOut], chosen: str | None) -> RenderableType:
    table = _table()
    _column(table, "CLUSTER")
    _column(table, "VERDICT")
    priced = any(one.score is not None for one in found)
    if priced:
        _column(table, "AN HOUR", right=True)
    _column(table, "COST", right=True)
    table.add_column("WHY", ratio=1, overflow="fold")
    for one in sorted(found, key=lambda c: (c.cluster != chosen, not c.feasible, _cost(c), c.cluster)):
        word, style = ("chosen", "bold green") if one.cluster == chosen else ("fits", "green")
        if one.at_least:
            word, style = "dearer", "dim"
        if not one.feasible:
            word, style = "no", "red"
        why: RenderableType = _terms(one) if one.feasible else Text("\n".join(reason.message for reason in one.reasons))
        if one.overrides:
            word = "override" if len(one.overrides) == 1 else "overrides"
            why = Group(why, Text(f"with the {word} {', '.join(one.overrides)}", "dim"))
        if one.without:
            why = Group(why, Text(f"without {', '.join(one.without)}: not served there", "dim"))
        cost = usd(one.score.total_usd) if one.score else "–"
        row: list[RenderableType] = [Text(one.cluster), Text(word, style), *([usd(one.usd_per_hour)] if priced else [])]
        table.add_row(*row, f"≥ {cost}" if one.at_least else cost, why)
    return table


def job(one: schemas.JobDetailOut, now: datetime, width: int) -> RenderableType:
    facts: list[tuple[str, RenderableType]] = [
        ("Job", Text.assemble((one.name, "bold"), f"  {one.kind} in namespace {one.namespace}")),
        ("Id", Text(one.id + (f"  (key {one.client_key})" if _was_given(one.client_key) else ""))),
        ("Phase", _phase(one, now)),
        *([("Why", Text(one.reason))] if one.reason else []),
        *([("Progress", Text(f"{_tally(one.progress)}{_share(one.progress)}"))] if one.progress else []),
        *([("Retries", Text(_tally(one.retries)))] if one.retries and one.retries.done else []),
        ("Cluster", Text(division_tables.place(one))),
        ("Gang", Text(f"{counted(one.min_pods, 'pod')} at least, {counted(one.total_gpus, 'GPU')} in all{_size(one)}")),
        ("Price", Text(f"{usd(one.usd_per_hour)}/h{' spot' if one.spot else ''}" if one.usd_per_hour else "–")),
        ("Queue", Text(f"{one.queue}, priority {one.priority}")),
        ("Owner", Text(f"{one.owner} of tenant {one.tenant}")),
        ("Attempt", Text(str(one.epoch))),
        ("Times", Text(_times(one, now))),
    ]
    parts: list[RenderableType] = [_facts(facts), *(Text(f"! {warning}", "yellow") for warning in one.warnings)]
    if one.workload.roles:
        parts += ["", _role_counts(one)]
    if one.division is not None:
        parts += ["", division_tables.division(one.division)]
    if one.pods:
        parts += ["", _pods(one.pods)]
    return Group(*parts)


def _tally(one: schemas.TallyOut) -> str:
    return str(one.done) if one.of is None else f"{one.done} of {one.of}"


def _share(one: schemas.TallyOut) -> str:
    return f" ({min(100 * one.done // one.of, 100)} %)" if one.of else ""


def _size(one: schemas.JobDetailOut) -> str:
    """Of an elastic one: how many pods it has now."""
    if not one.roles or all(role.sizes is None for role in one.workload.roles):
        return ""
    most = sum(role.sizes.most if role.sizes else role.replicas for role in one.workload.roles)
    return f"; elastic: {sum(role.total for role in one.roles)} pods now, at most {most}"


def explanation(one: schemas.ExplanationOut, now: datetime, width: int) -> RenderableType:
    # Why it waits is what the candidates tell.
    why = "" if one.decision is not None and one.job.phase == "QUEUED" else f"  {one.job.reason}".rstrip()
    parts: list[RenderableType] = [
        Text.assemble((one.job.name, "bold"), f"  {one.job.id}  ", _phase(one.job, now), why)
    ]
    if one.job.division is not None:
        parts += ["", division_tables.division(one.job.division)]
    elif one.decision is None:
        parts += ["", Text("Nothing was decided about it yet: the hub looks at it in its next cycle.", "dim")]
    else:
        made = one.decision
        parts += ["", _verdict(made.verdict, made.chosen, "", made.reasons, made.candidates)]
        parts += outlooks.when(made.start, made.room, one.outlook)
        if made.candidates:
            parts += ["", candidates(made.candidates, made.chosen)]
        parts += outlooks.rest(one.outlook)
    if one.history:
        parts += ["", history(one.history, now)]
    return Group(*parts)


def history(events: Iterable[schemas.EventOut], now: datetime) -> RenderableType:
    table = _table()
    _column(table, "AGO", right=True)
    _column(table, "ATTEMPT", right=True)
    _column(table, "PHASE")
    _column(table, "EVENT")
    table.add_column("WHAT HAPPENED", ratio=1, overflow="fold")
    for one in events:
        table.add_row(
            age(one.at, now), str(one.epoch), Text(one.phase, phase_style(one.phase)), one.event, Text(one.message)
        )
    return table


def event_line(one: schemas.EventOut, now: datetime) -> Text:
    at, today = one.at.astimezone(), now.astimezone().date()
    return Text.assemble(
        (f"{at:%H:%M:%S}" if at.date() == today else f"{at:%Y-%m-%d %H:%M:%S}", "dim"),
        f"  {one.job}  ",
        (f"{one.phase:<10}", phase_style(one.phase)),
        f"  {one.event}",
        f": {one.message}" if one.message else "",
    )


def clusters(found: Sequence[schemas.ClusterOut], now: datetime, width: int) -> RenderableType:
    table = _table()
    _column(table, "CLUSTER", cut=True)
    _column(table, "REGION", cut=True)
    _column(table, "HEALTH")
    _column(table, "GPUS FREE", right=True)
    _column(table, "NODES", right=True)
    _column(table, "JOBS", right=True)
    _column(table, "SEEN", right=True)
    if width >= _WIDE:
        table.add_column("PRODUCTS", ratio=4, overflow="fold")
    for one in found:
        free = Text(f"{one.gpus_free}/{one.gpus_total}")
        free.append(f" {one.gpus_unusable} unusable" if one.gpus_unusable else "", "red")
        row: list[RenderableType] = [_cut(one.name), _cut(one.region or "–"), _health(one), free]
        row += [str(one.nodes), str(one.jobs), age(one.last_seen, now)]
        row += [Text(_products(one), "dim")] if width >= _WIDE else []
        table.add_row(*row)
    return table


def cluster(one: schemas.ClusterOut, now: datetime) -> RenderableType:
    expires = one.certificate_expires_at
    return _facts(
        [
            ("Cluster", Text(one.name, "bold")),
            ("Region", Text(one.region or "–")),
            ("Health", Text.assemble(_health(one), f"  seen {age(one.last_seen, now)} ago" if one.last_seen else "")),
            ("GPUs", Text(f"{one.gpus_free} free of {one.gpus_total} on {counted(one.nodes, 'node')}")),
            *([("Unusable", _unusable(one))] if one.gpus_unusable or one.why_unusable else []),
            ("Products", Text("\n".join(f"{name} × {n}" for name, n in sorted(one.products.items())) or "–")),
            ("Jobs", Text(str(one.jobs))),
            ("Labels", Text(", ".join(f"{k}={v}" for k, v in sorted(one.labels.items())) or "–")),
            ("Agent", Text(one.agent_version or "–")),
            ("Certificate", Text(f"until {expires:%Y-%m-%d %H:%M} UTC" if expires else "none yet")),
        ]
    )


def _unusable(one: schemas.ClusterOut) -> Text:
    return Text("\n".join([counted(one.gpus_unusable, "GPU"), *one.why_unusable]), "red")


def users(found: Sequence[schemas.UserOut]) -> RenderableType:
    table = _table()
    for name in ("USER", "TENANT", "ROLE"):
        _column(table, name, cut=True)
    for one in found:
        table.add_row(_cut(one.name), _cut(one.tenant), _cut(one.role))
    return table


def queues(found: Sequence[schemas.QueueOut]) -> RenderableType:
    table = _table()
    for name in ("QUEUE", "COHORT"):
        _column(table, name, cut=True)
    for name in ("WEIGHT", "WAITING", "RUNNING"):
        _column(table, name, right=True)
    _column(table, "USES", cut=True)
    _column(table, "MONTH", right=True)
    for one in found:
        waiting, running = ("–", "–") if one.parts else (str(one.waiting), str(one.running))
        uses = ", ".join(f"{use.used:g}/{use.may_use:g} {_device(use.device)}" for use in _ordered(one.uses))
        row = _cut(one.name), _cut(one.cohort or "–"), f"{one.weight:g}", waiting, running, _cut(uses or "no limit")
        table.add_row(*row, usd(one.usd_month))
    return table


def queue(one: schemas.QueueOut) -> RenderableType:
    facts: list[tuple[str, RenderableType]] = [
        ("Queue", Text(one.name, "bold")),
        ("Cohort", one.cohort or "–"),
        ("Weight", f"{one.weight:g}"),
    ]
    jobs = f"{one.waiting} waiting, {one.running} running"
    facts += [("Parts", ", ".join(one.parts))] if one.parts else [("Jobs", jobs)]
    budget = one.budget
    facts += [
        ("Today", _spent(one.gpu_hours_day, budget.gpu_hours_per_day, one.usd_day, budget.usd_per_day)),
        ("Month", _spent(one.gpu_hours_month, budget.gpu_hours_per_month, one.usd_month, budget.usd_per_month)),
    ]
    if one.burst_after_hours is not None:
        facts.append(("Bursts", f"to public clusters after {one.burst_after_hours:g} h of waiting"))
    if not one.parts:  # in a cohort nothing waits
        rights = one.preemption
        facts.append(("Evicts", f"in its queue: {rights.within_queue}"))
        facts.append(("", f"to take back what it lent: {rights.reclaim}"))
        facts.append(("", f"for its share: {rights.fair_share}"))
    table = _table()
    _column(table, "DEVICE", cut=True)
    for head in ("NOMINAL", "MAY BORROW", "LENDS", "USES", "LEFT"):
        _column(table, head, right=True)
    for use in _ordered(one.uses):
        quota = one.quotas.get(use.device) or schemas.QuotaDoc()
        borrows, lends = (
            "all" if limit is None else f"{limit:g}" for limit in (quota.borrowing_limit, quota.lending_limit)
        )
        if not one.cohort:
            borrows = lends = "–"
        table.add_row(_cut(_device(use.device)), f"{quota.nominal:g}", borrows, lends, f"{use.used:g}", f"{use.left:g}")
    return Group(_facts(facts), "", table if one.uses else Text("Nothing is limited.", "dim"))


def _spent(gpu_hours: float, hours_limit: float | None, paid: float, usd_limit: float | None) -> str:
    """`7.00 of 300.00 GPU-hours, $17.98 of $20,000.00`."""
    hours = f"{gpu_hours:,.2f}" + (f" of {hours_limit:,.2f}" if hours_limit is not None else "")
    return f"{hours} GPU-hours, {usd(paid)}" + (f" of {usd(usd_limit)}" if usd_limit is not None else "")


def _ordered(uses: Sequence[schemas.QueueUseOut]) -> list[schemas.QueueUseOut]:
    """Named devices first, then what is meant by all others, and cores."""
    return sorted(uses, key=lambda use: (use.device == "cpu", use.device == "*", use.device))


def _device(name: str) -> str:
    return "(every other)" if name == "*" else name


def pods(one: schemas.JobOut) -> str:
    """`3/4`: pods that run or are done, of all."""
    total = sum(role.total for role in one.roles)
    return f"{sum(role.ready + role.succeeded for role in one.roles)}/{total}" if total else "–"


def _roles(roles: Iterable[schemas.RoleOut]) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    for _ in range(3):
        table.add_column(overflow="fold")
    for role in roles:
        count = f"{role.replicas} × {counted(role.gpus_per_pod, 'GPU')}"
        if role.gpus_per_pod == 0:
            count = counted(role.replicas, "pod")
        device = role.device_class or "CPU only"
        range_ = f", {role.sizes.least} to {role.sizes.most} pods" if role.sizes is not None else ""
        table.add_row(Text(role.name), count, Text(device + range_, "dim"))
    return table


def _verdict(
    verdict: str,
    chosen: str | None,
    domain: str,
    reasons: Sequence[schemas.ReasonOut],
    found: Sequence[schemas.CandidateOut],
) -> RenderableType:
    if verdict == "placed":
        place = f"{chosen}, {domain}" if domain else str(chosen)
        return Text.assemble(("✔ placed", "bold green"), f" on {place}")
    mark, style = ("✘ rejected", "bold red") if verdict == "rejected" else ("… waiting", "bold yellow")
    # What the candidates' table says is not said twice.
    told = {reason.message for candidate in found for reason in candidate.reasons}
    own = [reason.message for reason in reasons if reason.message not in told]
    why = ": " + "; ".join(own) if own else ": no cluster can take it now" if verdict == "waiting" else ""
    return Text.assemble((mark, style), why)


def _terms(one: schemas.CandidateOut) -> RenderableType:
    """`gpu $32.00 + fragmentation $0.64, in rack r1`."""
    terms = one.score.terms if one.score else {}
    kind = " (spot)" if one.spot else " (own, amortised)" if one.own else ""
    named = {f"{name}{kind}" if name == "gpu" else name: amount for name, amount in terms.items()}
    money = " + ".join(f"{name} {usd(amount)}" for name, amount in named.items() if amount) or "free"
    remarks = ["at the default price: nobody set one"] if "unpriced" in terms else []
    if one.spot and one.expected_hours is not None:
        remarks.append(f"{_hours(one.expected_hours)} with the interruptions expected")
    place = [f"in {one.domain}"] if one.domain else []
    return Text("\n".join([", ".join([money, *remarks, *place]), *map(move, one.moves)]), "dim")


def _duration(one: schemas.WorkloadOut) -> str:
    if one.long_running:
        return f"a service, priced for {_hours(one.expected_hours)}"
    return f"{_hours(one.expected_hours)} expected"


def _hours(hours: float) -> str:
    return f"{hours:.3g} h" if hours < 1000 else f"{hours:,.0f} h"


def _cost(one: schemas.CandidateOut) -> float:
    return one.score.total_usd if one.score else 0.0


def _role_counts(one: schemas.JobDetailOut) -> Table:
    counts = {role.role: role for role in one.roles}
    table = _table()
    _column(table, "ROLE", cut=True)
    for name in ("PODS", "READY", "DONE", "FAILED", "GPUS EACH"):
        _column(table, name, right=True)
    table.add_column("DEVICE", overflow="fold")
    for role in one.workload.roles:
        seen = counts.get(role.name)
        numbers = [str(n) for n in (seen.ready, seen.succeeded, seen.failed)] if seen else ["–", "–", "–"]
        device = Text(role.device_class or "CPU only", "dim")
        pods = str(seen.total if seen else role.replicas)  # an elastic one has another number than it asked for
        table.add_row(_cut(role.name), pods, *numbers, str(role.gpus_per_pod), device)
    return table


def _pods(found: Sequence[schemas.PodOut]) -> Table:
    table = _table()
    _column(table, "POD", cut=True)
    _column(table, "ROLE", cut=True)
    _column(table, "NODE", cut=True)
    table.add_column("GPUS", overflow="fold")
    for pod in found:
        table.add_row(_cut(pod.pod), _cut(pod.role), _cut(pod.node), _ranges(pod.gpus) or "–")
    return table


def _ranges(numbers: Sequence[int]) -> str:
    """`0-3,6`."""
    parts: list[tuple[int, int]] = []
    for number in sorted(numbers):
        if parts and number == parts[-1][1] + 1:
            parts[-1] = (parts[-1][0], number)
        else:
            parts.append((number, number))
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in parts)


def _phase(one: schemas.JobOut, now: datetime) -> Text:
    shown = Text(one.phase, phase_style(one.phase))
    if one.stalled_since is not None:
        shown.append(f" STALLED {age(one.stalled_since, now)}", "bold yellow")
    return shown


def _health(one: schemas.ClusterOut) -> Text:
    return Text.assemble(
        (one.health, HEALTH_STYLE.get(one.health, "")), (", cordoned", "yellow") if one.cordoned else ""
    )


def _products(one: schemas.ClusterOut) -> str:
    return ", ".join(f"{name} ×{amount}" for name, amount in sorted(one.products.items()))


def _was_given(key: str | None) -> bool:
    """Keys that the client made up say nothing to people."""
    return bool(key) and not str(key).startswith(OWN_KEY)


def _times(one: schemas.JobOut, now: datetime) -> str:
    steps = (
        ("submitted", one.submitted_at),
        ("placed", one.placed_at),
        ("started", one.started_at),
        ("saved", one.checkpoint_at),
        ("without progress since", one.stalled_since),
        ("ended", one.finished_at),
    )
    return ", ".join(f"{word} {age(at, now)} ago" for word, at in steps if at is not None)
