-- Raw layer. Writer: stg.
create schema stg;

-- Grain: one order; the version with the newest sent_dttm.
create table stg.order_events (
    id bigint generated always as identity,
    object_id bigint not null,
    object_type text not null,
    sent_dttm timestamptz not null,
    payload jsonb not null,
    constraint pk_order_events primary key (id),
    constraint uq_order_events_object_id unique (object_id)
);
