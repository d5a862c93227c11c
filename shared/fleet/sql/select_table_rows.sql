-- Rows of every table of the layers, as the statistics have them: exact but for what was committed in the
-- last seconds, and cheap however large the tables are.
select
    schemaname::text,
    relname::text,
    n_live_tup
from pg_stat_user_tables
where schemaname in ('stg', 'dds', 'cdm')
order by array_position(array['stg', 'dds', 'cdm'], schemaname::text), relname
