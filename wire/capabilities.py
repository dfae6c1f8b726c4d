"""What a spoke can do beyond the first protocol, as it tells the hub in its hello.

An older spoke drops messages that it does not know without a word. So before the hub sends one that somebody waits for,
it looks here, and says which cluster's spoke is too old instead of waiting. A name once given keeps its meaning.
"""

from __future__ import annotations

LOGS_RESUME = "logs-resume"  # LogRequest beyond `window`, LogChunk.position
EXEC = "exec"  # TunnelOpen.process
PORT_FORWARD = "port-forward"  # TunnelOpen.port
USAGE = "usage"  # UsageRequest
EVENTS = "events"  # LogRequest.of
ENDPOINTS = "endpoints"  # LogRequest.of

KINDS = "kinds"  # KindFiles
DISTRIBUTE = "distribute"  # DistributionOrders
PRESENCE = "presence"  # PresenceRequest

OURS: frozenset[str] = frozenset(
    {LOGS_RESUME, EXEC, PORT_FORWARD, EVENTS, ENDPOINTS, USAGE, KINDS, DISTRIBUTE, PRESENCE}
)
