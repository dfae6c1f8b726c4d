"""Where jobs wait: a tree of queues with quota, fair share and budgets, and the room kept for a gang at the head."""
