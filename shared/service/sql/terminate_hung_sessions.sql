-- Ends sessions of this service that have been in the middle of a COPY for too long. $1 seconds float8
select pg_terminate_backend(pid)
from pg_stat_activity
where datname = current_database()
  and usename = current_user
  and application_name = current_setting('application_name')
  and pid <> pg_backend_pid()
  -- A statement has begun, and the server waits for its client.
  and state = 'active'
  and wait_event = 'ClientRead'
  and query_start < now() - make_interval(secs => $1)
