-- What is to be sent next of the records that are being replayed, in the order of their numbers.
-- $1 stage text · $2 topic text · $3 last number sent bigint · $4 records bigint · $5 bytes of their bodies bigint, one
-- record at least
select
    d.id,
    d.topic,
    d.partition,
    d.timestamp_ms,
    d.record_dt,
    d.key,
    d.payload,
    d.event_id,
    d.replay_seq,
    coalesce(d.source, d.origin, d.topic || '/' || d.partition || '/' || d."offset") as start
from (
    select
        *,
        sum(octet_length(payload)) over (order by replay_seq) - octet_length(payload) as bytes_before
    from ops.dead_letters
    where stage = $1
      and topic = $2
      and status = 'replaying'
      and replay_seq > $3
    order by replay_seq
    limit $4
) as d
where d.bytes_before < $5
order by d.replay_seq
