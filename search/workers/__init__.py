"""Pools of worker processes, and what runs in them."""

from search.workers.pool import Pool as Pool, Reported as Reported
from search.workers.tasks import Outcome as Outcome, StopReason as StopReason, Task as Task
