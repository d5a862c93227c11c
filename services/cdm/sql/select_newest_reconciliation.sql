-- The newest run of strata reconcile; no row before the first.
select
    extract(epoch from finished_at)::float8 as finished_at,
    duration_ms,
    checks,
    differences
from ops.reconciliations
order by finished_at desc, id desc
limit 1
