-- Records that wait for reference data. Writers: the consumer loops (parked), stg and strata dlq (the other status).

-- waits_for: what was missing when the record was parked, or is by now: user/<id>, restaurant/<id>,
-- product/<restaurant id>/<id>. Stays when the record is replayed.
alter table ops.dead_letters
    add column waits_for text[],
    drop constraint ck_dead_letters_status,
    add constraint ck_dead_letters_status check (status in ('open', 'parked', 'replaying', 'replayed', 'discarded')),
    add constraint ck_dead_letters_waits_for check (waits_for[1] is not null or status <> 'parked');

-- What is waited for, found by hopping from one reference to the next: records that wait for the same cost nothing.
create index ix_dead_letters_waits_for on ops.dead_letters (stage, topic, (waits_for[1]), id) where status = 'parked';
