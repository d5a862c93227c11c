-- What the statistics say of every table of the layers: live rows, roughly, and rows inserted less rows deleted.
select
    schemaname::text,
    relname::text,
    n_live_tup,
    n_tup_ins - n_tup_del
from pg_stat_user_tables
where schemaname in ('stg', 'dds', 'cdm')
order by array_position(array['stg', 'dds', 'cdm'], schemaname::text), relname
