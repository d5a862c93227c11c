-- Starts partitions that were never read; safe to repeat. $1 stage text · $2 topic text · $3 partition int[] · $4 next_offset bigint[]
insert into ops.consumer_offsets (stage, topic, partition, next_offset)
select
    $1,
    $2,
    n.partition,
    n.next_offset
from unnest($3::int[], $4::bigint[]) as n (partition, next_offset)
on conflict (stage, topic, partition) do nothing
