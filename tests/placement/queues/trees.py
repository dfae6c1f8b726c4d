"""Trees of queues for properties."""

from hypothesis import strategies as st

from placement.queues.tree import Queue, QueueTree, Quota

_LIMIT = st.none() | st.integers(0, 6).map(float)


@st.composite
def trees(draw: st.DrawFn, device: str = "A100") -> QueueTree:
    """Up to eight sound queues; each in a cohort made before it, or a root."""
    made: list[Queue] = []
    for number in range(draw(st.integers(1, 8))):
        cohort = draw(st.sampled_from(["", *(queue.name for queue in made)]))
        borrow, lend = (draw(_LIMIT), draw(_LIMIT)) if cohort else (None, None)
        quotas = {device: Quota(float(draw(st.integers(0, 8))), borrow, lend)} if draw(st.integers(0, 4)) else {}
        made.append(Queue(f"q{number}", cohort, quotas, draw(st.sampled_from([0.0, 0.5, 1.0, 3.0]))))
    return QueueTree.of(made)
