-- Keeps the outputs of a batch until Kafka has them; replaces those of the batch before, which it has.
-- What is about to be sent must survive a crash of the database: a decision that Kafka holds and the vault
-- forgot could be made once more, by another partition, under another origin. So this commit is flushed.
-- $1 stage text · $2 topic text · $3 partition int[] · $4 outputs bytea[]
insert into ops.pending_outputs (stage, topic, partition, outputs)
select
    $1,
    $2,
    n.partition,
    n.outputs
from unnest($3::int[], $4::bytea[]) as n (partition, outputs)
where set_config('synchronous_commit', 'on', true) = 'on'
on conflict (stage, topic, partition) do update
set outputs = excluded.outputs
