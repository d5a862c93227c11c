-- What strata reconcile found, so that whoever looks at the fleet sees when it was last proven. Writer: strata reconcile.
-- Grain: one finished run. differences: rows that differ in all checks together; 0 means that the layers agree.
-- detail: the checks that failed or could not decide, each with its name, numbers and the first rows it names.
create table ops.reconciliations (
    id bigint generated always as identity,
    finished_at timestamptz not null default now(),
    duration_ms bigint not null,
    checks int not null,
    differences bigint not null,
    detail jsonb not null default '[]',
    constraint pk_reconciliations primary key (id),
    constraint ck_reconciliations_duration_ms check (duration_ms >= 0),
    constraint ck_reconciliations_checks check (checks >= 0),
    constraint ck_reconciliations_differences check (differences >= 0)
);
create index ix_reconciliations_finished_at on ops.reconciliations (finished_at);
