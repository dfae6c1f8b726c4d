"""muster cluster install, uninstall: a spoke in a Kubernetes cluster by its Helm chart, its token included.

Installing again is upgrading: a spoke that is a member keeps its identity and needs no token.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hub.cli import exits
from hub.cli.context import connect

if TYPE_CHECKING:
    from hub.cli.kube_target import KubeTarget
    from hub.client import MusterClient

app = typer.Typer()

NAMESPACE = "muster-system"
RELEASE = "muster-spoke"
POLL_S = 1.0

Context = Annotated[str, typer.Option(help="The context of the kubeconfig that the cluster has.")]
Kubeconfig = Annotated[Path | None, typer.Option(help="Else KUBECONFIG, or ~/.kube/config.")]
Namespace = Annotated[str, typer.Option(help="Made where it is missing, with Pod Security `restricted`.")]
ReleaseName = Annotated[str, typer.Option(help="Helm's name for it.")]
HelmBinary = Annotated[str, typer.Option(help="Else `helm` of the PATH.")]
Timeout = Annotated[float, typer.Option(metavar="SECONDS", min=1, help="How long to wait.")]
HubUrl = Annotated[str, typer.Option("--hub-url", "--hub", help="As the cluster's pods reach it; else as you do.")]


@app.command(epilog=exits.HELP)
def install(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the cluster is, or will be, called.")],
    context: Context,
    kubeconfig: Kubeconfig = None,
    namespace: Namespace = NAMESPACE,
    release: ReleaseName = RELEASE,
    hub_url: HubUrl = "",
    hub_link: Annotated[str, typer.Option(help="HOST:PORT of its gRPC; else as the hub tells.")] = "",
    region: Annotated[str, typer.Option(help="Where it stands; jobs and prices may name it.")] = "",
    label: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="Any number of them.")] = None,
    image_repository: Annotated[str, typer.Option(help="Else the chart's.")] = "",
    image_tag: Annotated[str, typer.Option(help="Else this chart's version.")] = "",
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="K=V", help="A value of the chart; repeat.")
    ] = None,
    values: Annotated[
        list[Path] | None, typer.Option(exists=True, dir_okay=False, help="A file of the chart's values; repeat.")
    ] = None,
    chart: Annotated[Path | None, typer.Option(help="Else the one that came with this program.")] = None,
    rejoin: Annotated[bool, typer.Option("--rejoin", help="Make a new token, also for a member.")] = False,
    wait: Annotated[bool, typer.Option(help="Until the spoke is ready, here and at the hub.")] = True,
    timeout: Timeout = 300.0,
    helm_binary: HelmBinary = "",
) -> None:
    """Install a spoke in a Kubernetes cluster, or upgrade it: token and Helm in one go."""
    from hub.cli import helm
    from hub.cli.kube_target import KubeTarget

    labels = dict(pair(one) for one in label or ())
    with _told():
        program, path = helm.program(helm_binary), helm.chart(helm.SPOKE, chart)
        where = helm.kubeconfig(kubeconfig)
        target = KubeTarget(where, context)
        at = helm.Release(release, namespace)
        runner = helm.Helm(program, context, where)
        with connect(ctx) as muster:
            is_member = any(known.name == name for known in muster.clusters())
            is_installed = runner.knows(at)
            keeps = is_member and is_installed and not rejoin
            if target.ensure_namespace(namespace):
                _say(f"namespace {namespace} made; it enforces Pod Security `restricted`")
            if keeps:
                _say(f"{name} is a member and {release} is installed: an upgrade, with no new token (--rejoin: one)")
                if region or labels:
                    _say("--region and --label count only for a new token; they are left as they are")
            token = "" if keeps else muster.cluster_token(name, region=region, labels=labels)
            given = chart_values(
                hub_url=hub_url or ("" if is_installed else muster.url),
                hub_link=hub_link,
                token=token,
                image_repository=image_repository,
                image_tag=image_tag,
            )
            _say(f"helm {'upgrade' if is_installed else 'install'} {namespace}/{release} in {context}")
            runner.upgrade(helm.upgrade_arguments(at, path, set_ or (), values or ()), given)
            if wait:
                _wait(muster, target, name, at, timeout)
                _say("next: muster cluster list; muster plan FILE")
            else:
                _say(f"next: muster cluster show {name} says `ready` once it has joined")


@app.command(epilog=exits.HELP)
def uninstall(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the cluster is called.")],
    context: Context,
    kubeconfig: Kubeconfig = None,
    namespace: Annotated[str, typer.Option(help="Removed, too, where we made it and it is empty.")] = NAMESPACE,
    release: ReleaseName = RELEASE,
    timeout: Timeout = 120.0,
    helm_binary: HelmBinary = "",
) -> None:
    """Uninstall a spoke from its cluster. What its jobs made runs on."""
    from hub.cli import helm
    from hub.cli.kube_target import KubeTarget

    with _told():
        where = helm.kubeconfig(kubeconfig)
        runner = helm.Helm(helm.program(helm_binary), context, where)
        target = KubeTarget(where, context)
        at = helm.Release(release, namespace)
        if runner.knows(at):
            runner.uninstall(at, timeout)
            _say(f"{namespace}/{release} is uninstalled from {context}")
        else:
            _say(f"there is no {namespace}/{release} in {context}")
        why = _until_gone(lambda: target.remove_namespace_of_ours(namespace), timeout)
        _say(f"namespace {namespace} stays: {why}" if why else f"namespace {namespace} is removed")
        _say(f"next: muster cluster remove {name} takes it off the hub's list")


def spoke_chart() -> Path:
    from hub.cli import helm

    with _told():
        return helm.chart(helm.SPOKE)


def shell_command(chart: Path, hub_url: str, token: str) -> str:
    """What installs a spoke from anywhere: Helm alone, the token on its standard input."""
    from hub.cli import helm

    given = chart_values(hub_url=hub_url, hub_link="", token=token, image_repository="", image_tag="")
    return helm.for_a_shell(helm.upgrade_arguments(helm.Release(RELEASE, NAMESPACE), chart), given)


def chart_values(*, hub_url: str, hub_link: str, token: str, image_repository: str, image_tag: str) -> dict[str, Any]:
    """What is given and nothing else: an upgrade keeps the rest."""
    values: Mapping[str, Mapping[str, str]] = {
        "hub": {"url": hub_url, "link": hub_link},
        "join": {"token": token},
        "image": {"repository": image_repository, "tag": image_tag},
    }
    given = {key: {name: text for name, text in group.items() if text} for key, group in values.items()}
    return {key: group for key, group in given.items() if group}


def _wait(muster: MusterClient, target: KubeTarget, name: str, at: Any, timeout_s: float) -> None:
    """A line whenever what it waits for changes. Ends the command where it takes too long."""
    began, told, lacks = time.monotonic(), "", ""
    while time.monotonic() - began < timeout_s:
        lacks = target.lacks(at.namespace, at.name) or _at_hub(muster, name)
        if not lacks:
            _say(f"{name} is ready ({time.monotonic() - began:.0f} s)")
            return
        if lacks != told:
            _say(f"waiting: {lacks}")
            told = lacks
        time.sleep(POLL_S)
    words = target.last_words(at.namespace, at.name)
    exits.stop(
        f"{name} is not ready after {timeout_s:g} s: {lacks}" + (f"\n{words}" if words else ""),
        f"mend that and install again; more says: kubectl -n {at.namespace} describe pod {at.name}-0",
        exits.WAITING,
    )


def _at_hub(muster: MusterClient, name: str) -> str:
    found = next((known for known in muster.clusters() if known.name == name), None)
    if found is None:
        return "it has not joined yet"
    return "" if found.health == "ready" else f"the hub calls it {found.health}"


def _until_gone(lacks: Callable[[], str], timeout_s: float) -> str:
    """Deletion takes a moment: what stands in the way at the end, or ""."""
    deadline = time.monotonic() + min(timeout_s, 20.0)
    while (why := lacks()).startswith("it holds") and time.monotonic() < deadline:
        time.sleep(POLL_S)
    return why


@contextmanager
def _told() -> Iterator[None]:
    from hub.cli.helm import HelmError
    from hub.cli.kube_target import TargetError

    try:
        yield
    except (HelmError, TargetError) as error:
        exits.stop(str(error), error.mend, exits.FAILED)


def pair(text: str) -> tuple[str, str]:
    key, found, value = text.partition("=")
    if not key or not found:
        exits.stop(f"--label {text} has no KEY=VALUE", "write --label tier=gold", exits.USAGE)
    return key, value


def _say(line: str) -> None:
    typer.echo(line)
