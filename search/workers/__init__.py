"""Pools of worker processes, and what runs in them."""

from search.workers.pool import Pool as Pool
from search.workers.tasks import Outcome as Outcome, Task as Task
