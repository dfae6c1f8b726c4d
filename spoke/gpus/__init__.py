"""Which GPUs of the cluster are fit to be used, by everything that the cluster itself says of them.

`xids` is the table of what is fatal, `signs` how texts name cards, `node_signs`, `event_signs`, `dcgm` and `nvml` read
one source each (pure), `book` keeps what was read and says which cards are marked (pure), `incident` limits evictions
(pure), `memory` keeps marks across restarts, and `health` is the part of the agent that ties them together.
"""
