-- Whether the last reconcile ended longer ago than an interval, by the clock of the server. $1 seconds
select coalesce(max(finished_at) < now() - make_interval(secs => $1), true)
from ops.reconciliations
