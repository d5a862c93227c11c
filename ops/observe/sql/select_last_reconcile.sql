-- What strata reconcile found last.
select
    finished_at,
    duration_ms,
    checks,
    differences
from ops.reconciliations
order by finished_at desc, id desc
limit 1
