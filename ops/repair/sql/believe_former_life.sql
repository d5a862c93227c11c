-- Origins are believed as far as a stage may have read before the store went back: to the end of its topic.
-- $1 stage text · $2 topic text · $3 partition int[] · $4 end bigint[]
-- A partition that the copy does not know is read from its beginning on, as one that was never read.
insert into ops.consumer_offsets (stage, topic, partition, next_offset, reached)
select
    $1,
    $2,
    e.partition,
    0,
    e.reached
from unnest($3::int[], $4::bigint[]) as e (partition, reached)
on conflict (stage, topic, partition) do update
set reached = greatest(consumer_offsets.reached, excluded.reached)
