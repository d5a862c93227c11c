-- The newest outcome of a reconcile, with the checks that found a difference.
select
    finished_at,
    duration_ms,
    checks,
    differences,
    detail as failed
from ops.reconciliations
order by finished_at desc, id desc
limit 1
