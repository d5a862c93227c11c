-- Gives chosen dead letters that are open or parked their replay numbers, the oldest first, in the caller's transaction and under
-- its lock. $1 id bigint[]. A record that Kafka brought twice (same origin) is replayed once: the others are
-- marked without a number. Returns how many were numbered and how many are copies.
with chosen as (
    select
        d.id,
        d.stage,
        d.topic,
        d.origin is not null and (
            row_number() over (partition by d.stage, d.topic, d.origin order by d.id) > 1
            or exists (
                select
                from ops.dead_letters as r
                where r.stage = d.stage
                  and r.topic = d.topic
                  and r.origin = d.origin
                  and r.replay_seq is not null
            )
        ) as is_copy
    from ops.dead_letters as d
    where d.id = any($1)
      and d.status in ('open', 'parked')
),
numbered as (
    select
        c.id,
        coalesce(s.last_seq, 0) + row_number() over (partition by c.stage, c.topic order by c.id) as replay_seq
    from chosen as c
    left join ops.replay_sequences as s using (stage, topic)
    where not c.is_copy
),
marked as (
    update ops.dead_letters as d
    set
        status = case when n.id is null then 'replayed' else 'replaying' end,
        attempts = d.attempts + (n.id is not null)::int,
        replay_seq = n.replay_seq
    from chosen as c
    left join numbered as n using (id)
    where d.id = c.id
    returning d.stage, d.topic, d.replay_seq
),
moved as (
    insert into ops.replay_sequences (stage, topic, last_seq)
    select
        stage,
        topic,
        max(replay_seq)
    from marked
    where replay_seq is not null
    group by
        stage,
        topic
    on conflict (stage, topic) do update
    set last_seq = excluded.last_seq
)
select
    count(replay_seq) as numbered,
    count(*) - count(replay_seq) as copies
from marked
