-- Moves watermarks forward. $1 stage text · $2 topic text · $3 partition int[] · $4 origin_topic text[]
-- $5 origin_partition int[] · $6 last_offset bigint[]
insert into ops.origin_watermarks (stage, topic, partition, origin_topic, origin_partition, last_offset)
select
    $1,
    $2,
    n.*
from unnest($3::int[], $4::text[], $5::int[], $6::bigint[]) as n
on conflict (stage, topic, partition, origin_topic, origin_partition) do update
set last_offset = excluded.last_offset
