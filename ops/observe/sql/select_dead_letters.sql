-- Open dead letters by kind, the most frequent first.
select
    stream,
    stage,
    reason,
    count(*)
from ops.dead_letters
where status = 'open'
group by stream, stage, reason
order by count(*) desc, stream, stage, reason
