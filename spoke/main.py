"""`muster spoke`: puts the agent together with its cluster and its link, and runs them until told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import secrets
import signal
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from random import Random
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from placement.kinds.catalogue import Catalogue
from spoke import health, join
from spoke import policy as policies
from spoke.agent import Agent
from spoke.cluster.host import HostCluster, StateInUse
from spoke.cluster.host_nodes import NodesFileError, this_node
from spoke.cluster.host_nodes import load as load_nodes
from spoke.cluster.kube import KubeCluster
from spoke.cluster.port import ClusterError, ClusterPort
from spoke.cluster.rest import BadKubeconfig
from spoke.gpus.memory import Memory
from spoke.gpus.nvml import Nvml
from spoke.identity import BadIdentity
from spoke.join import HubUnreachable, JoinRefused
from spoke.kept_logs import KeptLogs, Limits
from spoke.kind_files import KindFiles
from spoke.ledger import Ledger, LedgerUnusable
from spoke.link import Link, MustJoinAgain, Pace
from spoke.policy import Guard, PolicyFileError
from spoke.settings import SpokeSettings
from spoke.staging.host import HostStager
from spoke.staging.kube import How, KubeStager
from spoke.staging.port import NoStager, Stager
from wire import service_loop

log = logging.getLogger("muster.spoke")

FAILED, USAGE, UNREACHABLE = 1, 2, 5

_CANNOT_START = (
    JoinRefused,
    BadIdentity,
    LedgerUnusable,
    MustJoinAgain,
    StateInUse,
    NodesFileError,
    BadKubeconfig,
    PolicyFileError,
)


def main(args: Sequence[str]) -> None:
    """Reads flags and runs; leaves by SystemExit with a code that scripts can use."""
    typer.main.get_command(_flags()).main(args=list(args), prog_name="muster spoke")


def _flags() -> typer.Typer:
    app = typer.Typer(add_completion=False)

    @app.command()
    def spoke(
        hub: Annotated[str | None, typer.Option(help="The hub's REST API: https://HOST:8443.")] = None,
        hub_link: Annotated[str | None, typer.Option(help="HOST:PORT of its gRPC; else as told at joining.")] = None,
        token: Annotated[str | None, typer.Option(help="Join token (better: MUSTER_SPOKE_TOKEN).")] = None,
        token_file: Annotated[Path | None, typer.Option(help="A file that holds the join token.")] = None,
        state_dir: Annotated[
            Path | None, typer.Option("--state-dir", "--data-dir", help="Identity and ledger: keep it private.")
        ] = None,
        cluster: Annotated[str | None, typer.Option(metavar="kube|host", help="What kind of cluster this is.")] = None,
        kubeconfig: Annotated[str | None, typer.Option(help="Else the service account of this pod.")] = None,
        context: Annotated[str | None, typer.Option(help="Of the kubeconfig.")] = None,
        nodes: Annotated[Path | None, typer.Option(help="host: a file of nodes and GPUs; else this machine.")] = None,
        levels: Annotated[str | None, typer.Option(help="Topology, coarse to fine: zone=LABEL,rack=LABEL.")] = None,
        keep_finished_s: Annotated[float | None, typer.Option(help="How long ended jobs keep their pods.")] = None,
        copy_image: Annotated[
            str | None, typer.Option(help="kube: the image of pods that copy data; Muster's.")
        ] = None,
        copy_storage_class: Annotated[str | None, typer.Option(help="kube: of claims made for data.")] = None,
        copy_access_mode: Annotated[str | None, typer.Option(metavar="ReadWriteMany|ReadWriteOnce")] = None,
        policy: Annotated[Path | None, typer.Option(help="YAML: what jobs may do in this cluster.")] = None,
        namespace: Annotated[str | None, typer.Option(help="This spoke's own: never a job's.")] = None,
        health_port: Annotated[int | None, typer.Option(help="Plain HTTP /livez and /readyz; 0: not served.")] = None,
        log_level: Annotated[str | None, typer.Option(metavar="debug|info|warning|error")] = None,
    ) -> None:
        """Run a spoke: the agent of one cluster.

        Every flag can be given as MUSTER_SPOKE_… in the environment: MUSTER_SPOKE_STATE_DIR=/var/lib/muster.
        """
        start({key: value for key, value in locals().items() if value is not None})

    return app


def start(given: dict[str, Any]) -> None:
    """Raises SystemExit where it cannot start; returns when it was told to stop."""
    try:
        settings = SpokeSettings(**given)
    except ValidationError as error:
        wrong = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}".lstrip(": ") for e in error.errors(include_url=False)]
        _stop("; ".join(wrong) + " (a flag, or its MUSTER_SPOKE_… variable)", USAGE)
    os.umask(0o077)  # before the first file: what is kept here is the spoke's key and users' Secrets
    set_up_logging(settings.log_level)
    try:
        service_loop.run(run(settings))
    except HubUnreachable as error:
        _stop(str(error), UNREACHABLE)
    except (*_CANNOT_START, ClusterError, OSError) as error:
        _stop(str(error), FAILED)


def set_up_logging(level: str) -> None:
    logging.basicConfig(
        level=level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr
    )
    for chatty in ("httpx", "httpcore"):  # a line for each request to the API server
        logging.getLogger(chatty).setLevel(logging.WARNING)


def _stop(message: str, code: int) -> None:
    print(f"the spoke cannot run: {message}", file=sys.stderr)
    raise SystemExit(code)


async def run(settings: SpokeSettings) -> None:
    """Until SIGTERM or SIGINT, or until the hub removed this cluster. Pods go on running."""
    clock, rng = _now, Random()  # noqa: S311  jitter only
    async with contextlib.AsyncExitStack() as stack:
        vitals = _Vitals(clock())
        if settings.health_port:
            await stack.enter_async_context(health.served(health.listen(settings.health_port), vitals.facts))
        await _run(settings, clock, rng, stack, vitals)


async def _run(
    settings: SpokeSettings,
    clock: Callable[[], datetime],
    rng: Random,
    stack: contextlib.AsyncExitStack,
    vitals: _Vitals,
) -> None:
    identity = await join.identity_for(
        settings.state_dir, hub_url=settings.hub, token=settings.join_token(), now=clock()
    )
    catalogue = Catalogue.builtin()
    rules = policies.load(settings.policy, catalogue)
    kind_files = KindFiles(catalogue, settings.state_dir / "kinds.json")
    kind_files.load()
    ledger = Ledger.open(settings.state_dir / "ledger.sqlite")
    stack.push_async_callback(ledger.close)
    port = await _open_cluster(settings, catalogue, rng)
    stack.push_async_callback(port.close)
    agent = Agent(
        port,
        ledger,
        catalogue,
        settings.levels,
        clock=clock,
        rng=rng,
        owner=f"{identity.cluster}.{hashlib.sha256(identity.ca_pem).hexdigest()[:12]}",
        keep_finished_s=settings.keep_finished_s,
        stager=_stager(settings, port),
        gpu_memory=Memory(settings.state_dir / "gpus.json"),
        local_gpus=(this_node(), Nvml().read) if settings.cluster == "host" else None,
        tells_claims=settings.cluster == "kube",
        kept_logs=_kept_logs(settings),
        guard=Guard(rules, catalogue, settings.namespace),
        kind_files=kind_files,
    )
    stack.push_async_callback(agent.close)
    link = Link(
        agent,
        identity,
        address=settings.hub_link or identity.grpc_address,
        identity_directory=settings.state_dir,
        version=metadata.version("muster"),
        session=secrets.token_hex(16),
        rng=rng,
        clock=clock,
        pace=Pace(longest_wait_s=settings.reconnect_s),
    )
    vitals.agent, vitals.link = agent, link
    await _until_told(agent, link)


async def _open_cluster(settings: SpokeSettings, catalogue: Catalogue, rng: Random) -> ClusterPort:
    if settings.cluster == "host":
        return await HostCluster.open(settings.state_dir / "host", load_nodes(settings.nodes), catalogue=catalogue)
    return await KubeCluster.open(settings.kubeconfig, settings.context, rng=rng)


def _kept_logs(settings: SpokeSettings) -> KeptLogs | None:
    if not settings.keep_log_mib:
        return None
    limits = Limits(settings.keep_log_mib << 20, settings.keep_logs_mib << 20, settings.keep_logs_days * 86_400)
    return KeptLogs(settings.state_dir / "logs", limits)


def _stager(settings: SpokeSettings, port: ClusterPort) -> Stager:
    if settings.cluster == "host":
        return HostStager(port, settings.state_dir / "host" / "claims")
    if not settings.copy_image:
        return NoStager()
    return KubeStager(port, How(settings.copy_image, settings.copy_storage_class, settings.copy_access_mode))


async def _until_told(agent: Agent, link: Link) -> None:
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    # The link begins at once: the hub sees that the spoke is there while the cluster is still being read.
    parts = [
        asyncio.create_task(work, name=name)
        for name, work in (("stop", told.wait()), ("agent", _serve(agent)), ("link", link.run()))
    ]
    try:
        done, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
        for part in done:
            part.result()
    finally:
        for part in parts:
            part.cancel()
        await asyncio.gather(*parts, return_exceptions=True)


async def _serve(agent: Agent) -> None:
    await agent.start()
    await agent.run()


class _Vitals:
    """What is known of the spoke's state while its parts are put together, one after another."""

    def __init__(self, began: datetime) -> None:
        self._began = began
        self.agent: Agent | None = None
        self.link: Link | None = None

    def facts(self) -> health.Facts:
        link = self.link
        return health.Facts(
            joined=link is not None,
            cluster_read=self.agent is not None and self.agent.cluster_read,
            connected=link is not None and link.connected,
            apart_since=link.apart_since if link is not None else self._began,
            why=link.last_end.message if link is not None and link.last_end is not None else "",
        )


def _now() -> datetime:
    return datetime.now(UTC)
