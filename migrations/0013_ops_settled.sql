-- When a dead letter was settled, so that it is not kept forever. Writer: the trigger, whoever sets the status.
alter table ops.dead_letters add column settled_at timestamptz;
update ops.dead_letters set settled_at = now() where status in ('replayed', 'discarded');

create function ops.note_settled() returns trigger language plpgsql as $$
begin
    new.settled_at := coalesce(new.settled_at, now());
    return new;
end
$$;
create trigger note_settled before insert or update of status on ops.dead_letters
    for each row when (new.status in ('replayed', 'discarded')) execute function ops.note_settled();

-- What is removed by age: rows that stages and strata reconcile delete in small batches.
create index ix_dead_letters_settled_at on ops.dead_letters (stage, topic, settled_at)
    where status in ('replayed', 'discarded');
