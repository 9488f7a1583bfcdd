"""Pools of worker processes, and what runs in them."""

from search.workers.pool import Pool, Reported
from search.workers.tasks import Outcome, StopReason, Task
