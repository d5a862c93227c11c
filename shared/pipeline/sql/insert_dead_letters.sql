-- Keeps records that cannot be used; safe to repeat. $1 stream text · $2 stage text · $3 topic text · $4 partition int[]
-- $5 offset bigint[] · $6 Kafka timestamp bigint[] (Unix ms) · $7 key bytea[] · $8 payload bytea[] · $9 reason text[] · $10 detail text[]
-- $11 origin text[] · $12 source text[] · $13 event_id text[] · $14 number of the replay that brought it bigint[]
-- $15 Kafka timestamp where $6 is only the nearest that can be kept bigint[] (Unix ms)
-- $16 what a parked record waits for text[], each with spaces between the references · $17 JSON pointer to what breaks the
-- schema text[] · $18 the rule text[]
insert into ops.dead_letters (
    stream, stage, topic, partition, "offset", record_dt, key, payload, reason, detail, origin, source, event_id, timestamp_ms, waits_for, pointer, rule,
    attempts, status
)
select
    $1,
    $2,
    $3,
    d.partition,
    d."offset",
    to_timestamp(d.record_ms / 1000.0),
    d.key,
    d.payload,
    d.reason,
    d.detail,
    d.origin,
    d.source,
    d.event_id,
    d.timestamp_ms,
    string_to_array(d.waits_for, ' '),
    d.pointer,
    d.rule,
    -- A replay was counted when it was numbered.
    coalesce(p.attempts, 1),
    -- A rebuild has counted what an earlier layer says here.
    case
        when r.last_offset is not null then 'replayed'
        when d.waits_for is not null then 'parked'
        else 'open'
    end
from unnest(
    $4::int[], $5::bigint[], $6::bigint[], $7::bytea[], $8::bytea[], $9::text[], $10::text[],
    $11::text[], $12::text[], $13::text[], $14::bigint[], $15::bigint[], $16::text[], $17::text[], $18::text[]
) as d (partition, "offset", record_ms, key, payload, reason, detail, origin, source, event_id, replay_seq, timestamp_ms, waits_for, pointer, rule)
left join ops.dead_letters as p
    on p.stage = $2
    and p.topic = $3
    and p.replay_seq = d.replay_seq
left join ops.rebuilt_origins as r
    on r.stage = $2
    and r.topic = $3
    and r.origin_topic = split_part(coalesce(d.source, d.origin), '/', 1)
    and r.origin_partition = split_part(coalesce(d.source, d.origin), '/', 2)::int
    and r.last_offset >= split_part(coalesce(d.source, d.origin), '/', 3)::bigint
on conflict (stage, topic, partition, "offset") do nothing
