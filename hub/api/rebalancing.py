"""What moving running jobs could win: /v1/rebalance."""

from __future__ import annotations

from fastapi import APIRouter

from hub.api import present
from hub.api.door import Caller, Served
from hub.api.schemas import ProposalListOut

router = APIRouter()


@router.get("/rebalance", tags=["jobs"])
async def plan(served: Served, actor: Caller) -> ProposalListOut:
    """Proposals with a positive net gain, the best first; nothing is done. Admins only."""
    return ProposalListOut(proposals=[present.proposal(one) for one in await served.rebalancing.plan(actor)])
