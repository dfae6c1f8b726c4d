"""What people read of a breach: what was asked for, and how to go on without."""

from __future__ import annotations

import re
from collections.abc import Mapping

from placement.safety.levels import Breach

_KEY = re.compile(r'\["([^"]+)"\]$')
# control -> what it is, and how to mend it
_WORDS: Mapping[str, tuple[str, str]] = {
    "hostNetwork": ("the node's own network", "remove it"),
    "hostPID": ("the node's own processes", "remove it"),
    "hostIPC": ("the node's own shared memory", "mount an emptyDir with medium: Memory at /dev/shm instead"),
    "hostPath": ("files of the node", "use a claim, or mount a folder that is exempt with readOnly: true"),
    "hostPort": ("a port of the node", "remove hostPort; pods reach each other by their own addresses"),
    "privileged": ("a privileged container", "remove it; GPUs need no privilege"),
    "capabilities": ("a capability", "remove it from capabilities.add"),
    "procMount": ("an unmasked /proc", "remove it"),
    "seccompProfile": ("no system call filter", "set seccompProfile: {type: RuntimeDefault}"),
    "appArmorProfile": ("no AppArmor profile", "remove it, or write RuntimeDefault"),
    "seLinuxOptions": ("SELinux options of its own", "remove it"),
    "hostProcess": ("a process of a Windows node", "remove it"),
    "probeHost": ("calls of the kubelet to another host", "remove host: the pod itself is asked"),
    "sysctls": ("a kernel setting that is not safe", "remove it"),
    "volumes": ("a volume of a type that is not allowed", "use a claim"),
    "runAsNonRoot": ("to run as root", "set securityContext.runAsNonRoot: true"),
    "runAsUser": ("to run as root", "set another runAsUser than 0"),
    "allowPrivilegeEscalation": ("to gain privileges", "set securityContext.allowPrivilegeEscalation: false"),
    "dropCapabilities": ("capabilities that it does not drop", "set securityContext.capabilities.drop: [ALL]"),
    "unseen": ("what nobody can judge before it runs", "write it out in the object itself"),
    "namespace": ("something of another namespace", "name what is in the workload's own namespace"),
    "schedulerName": ("another scheduler", "leave it out: Muster schedules its jobs"),
    "nodeName": ("one node, past every scheduler", "use nodeSelector or affinity"),
    "priorityClassName": ("a priority of the system's own", "use another class, or muster.dev/priority"),
    "finalizers": ("not to be deleted", "remove it"),
    "ownerReferences": ("another object as its owner", "remove it"),
    "reserved": ("a mark that only Muster sets", "remove it"),
    "token": ("a credential of an account", "remove it: pods get a token of their own account"),
    "externalIPs": ("traffic to addresses that are not its own", "remove it"),
}


def words_of(breach: Breach) -> str:
    what, _ = _WORDS.get(breach.control, (breach.control, ""))
    key = _KEY.search(breach.path)
    field = key[1] if key else breach.path.rpartition(".")[2].partition("[")[0]
    return f"asks for {what} ({field}: {breach.value})"


def mend_of(breach: Breach) -> str:
    return _WORDS.get(breach.control, ("", "remove it"))[1]


CONTROLS = frozenset(_WORDS)
