"""The Docker network of the clusters that this provider makes: one whose addresses a node keeps.

The one that kind makes for itself gives addresses out as it likes, and a control plane that comes back with another one
than its etcd knows is lost. In one with a subnet of its own a node can be taken out and put back where it was.
"""

from __future__ import annotations

from e2e.kind.commands import CommandFailed, run

# Somebody else may use one of them; Docker refuses those.
SUBNETS = tuple(f"10.{second}.0.0/24" for second in range(230, 240))


def make(name: str) -> None:
    """Raises CommandFailed. One of that name that a session left behind is used again."""
    if exists(name):
        return
    for subnet in SUBNETS:
        try:
            run("docker", "network", "create", "--driver", "bridge", "--subnet", subnet, name)
        except CommandFailed as error:
            if "overlap" not in str(error) or subnet == SUBNETS[-1]:
                raise
        else:
            return


def remove(name: str) -> None:
    if exists(name):
        run("docker", "network", "rm", name)


def exists(name: str) -> bool:
    return name in run("docker", "network", "ls", "--format", "{{.Name}}").split()


def address_of(container: str) -> tuple[str, str]:
    """The network that the container is on, and its address there. Raises ValueError where it is on none."""
    form = "{{range $name, $at := .NetworkSettings.Networks}}{{$name}} {{$at.IPAddress}}\n{{end}}"
    for line in run("docker", "inspect", "--format", form, container).splitlines():
        name, _, address = line.partition(" ")
        if address:
            return name, address
    raise ValueError(f"{container} is on no network")


def gateway_of(container: str) -> str:
    """This machine's address on the container's network."""
    form = "{{range .NetworkSettings.Networks}}{{.Gateway}} {{end}}"
    return run("docker", "inspect", "--format", form, container).split()[0]


def disconnect(name: str, container: str) -> None:
    """Connections are not closed: they hang, as with a cable that is pulled."""
    run("docker", "network", "disconnect", "--force", name, container)


def connect(name: str, container: str, address: str) -> None:
    """With the address that it had."""
    run("docker", "network", "connect", "--ip", address, name, container)
