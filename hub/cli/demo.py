"""`muster demo`: a federation of three clusters, a gang that runs on the right one, and one that must wait.

Nothing is staged: the hub and the spokes are the real ones, every command shown runs through the CLI and the REST API,
and the ranks are processes that find each other and train together. Only the GPUs are declared, not there.
"""

from __future__ import annotations

import argparse
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from hub.cli import exits, stage
from hub.cli.federation import FILES, SITES, Federation, FederationFailed
from hub.cli.stage import CommandFailed, Stage
from hub.client import ApiError, HubUnreachable, MusterClient

GANG, TOO_LARGE = FILES / "gang.yaml", FILES / "too-large.yaml"
RANKS = 8
DECISION_S = 20.0
_AGREED = re.compile(r"rank (\d+) agrees: (weights [^,]*)")


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="muster demo", description="Three clusters on this machine, in half a minute."
    )
    parser.add_argument("--keep", action="store_true", help="keep the directory with state and logs")
    keep = parser.parse_args(arguments).keep
    directory = Path(tempfile.mkdtemp(prefix="muster-demo-"))
    code = run(directory)
    if code == exits.OK and not keep:
        shutil.rmtree(directory, ignore_errors=True)
    elif code != exits.INTERRUPTED:
        sys.stderr.write(f"State and logs are in {directory}\n")
    raise SystemExit(code)


def run(directory: Path) -> int:
    """The exit code. Whatever happens, nothing that was started is left running."""
    stage.stop_on_signals()
    show = Stage()
    began = time.monotonic()
    federation = Federation(directory)
    try:
        with federation:
            try:
                _play(show, federation)
            except (CommandFailed, ApiError, HubUnreachable):
                federation.check()  # a process that has ended is the better explanation
                raise
            finally:
                # A second Ctrl-C must not interrupt the cleaning up.
                signal.signal(signal.SIGINT, signal.SIG_IGN)
                with show.step("Stopping the hub and the spokes"):
                    federation.stop()
                    federation.stop_pods()
    except (FederationFailed, CommandFailed, ApiError, HubUnreachable) as error:
        sys.stderr.write(f"\nmuster demo failed: {error}\n")
        return exits.FAILED
    except KeyboardInterrupt:
        sys.stderr.write("\nInterrupted; the hub, the spokes and their jobs are stopped.\n")
        return exits.INTERRUPTED
    _farewell(show, time.monotonic() - began)
    return exits.OK


def _play(show: Stage, federation: Federation) -> None:
    show.title("A hub and three clusters on this machine. Their GPUs are declared; everything else is real.")
    client = bring_up(show, federation)
    stage.use_context(federation.context_file)
    with client:
        show.command("cluster", "list")
        show.command("price", "show")
        show.title("A gang of two pods with four GPUs each: where would it go, and why?")
        show.command("plan", str(GANG))
        show.title("It runs there: all pods at once, one rank for each GPU, training together.")
        printed = show.command("submit", str(GANG), "--follow")
        show.command("show", "gang")
        agreed = _agreement(printed)
        with show.step("The gang's GPUs become free again"):
            _until_free(client)
        show.title("A gang that is larger than every cluster waits, and says what for.")
        show.command("submit", str(TOO_LARGE))
        _until_decided(client, "too-large")
        show.command("explain", "too-large")
    show.line()
    show.done(f"gang: {RANKS} of {RANKS} ranks agree on the all-reduced {agreed}")


def bring_up(show: Stage, federation: Federation) -> MusterClient:
    """Hub and spokes, one line each. Raises FederationFailed."""
    with show.step("Starting the hub"):
        client = federation.start_hub()
    show.done(f"hub       {client.url}")
    for site in SITES:
        federation.start_spoke(site, client)
    for site in SITES:
        with show.step(f"{site.name} joins"):
            federation.until_ready(site, client)
        found = client.cluster(site.name)
        products = ", ".join(f"{amount} × {product}" for product, amount in sorted(found.products.items()))
        show.done(f"{site.name:<9} {found.nodes} nodes, {products}")
    return client


def _agreement(printed: str) -> str:
    """What the ranks agree on, from the log lines. Raises CommandFailed unless all of them say the same."""
    said = dict(_AGREED.findall(printed))
    if len(said) != RANKS or len(set(said.values())) != 1:
        raise CommandFailed(f"{RANKS} ranks should agree; the log shows {said}")
    return str(next(iter(said.values())))


def _until_free(client: MusterClient) -> None:
    """A cluster tells its hub once a second at most what is free; the numbers that follow should be the final ones."""
    with stage.patience("GPUs that are free again", DECISION_S) as waiting:
        while any(one.gpus_free < one.gpus_total for one in client.clusters()) and waiting():
            pass


def _until_decided(client: MusterClient, ref: str) -> None:
    with stage.patience(f"a decision about {ref}", DECISION_S) as waiting:
        while client.explain(ref).decision is None and waiting():
            pass


def _farewell(show: Stage, took_s: float) -> None:
    show.done(f"everything is stopped again, after {took_s:.0f} s")
    muster = stage.program()
    show.title("Go on with the same federation, kept running:")
    show.plain(f"  {muster} up")
    show.title("and in another terminal, with the MUSTER_CONTEXT that it prints:")
    indexed, service = (stage.short(str(FILES / file)) for file in ("indexed-job.yaml", "service.yaml"))
    for command in (f"submit -f {indexed}", f"submit {service}", "jobs --watch", "cluster drain edge-c"):
        show.plain(f"  {muster} {command}")


if __name__ == "__main__":
    main(sys.argv[1:])
