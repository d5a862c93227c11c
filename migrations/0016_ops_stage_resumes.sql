-- What lets a stage go on that has stopped. Writer: strata stage resume.

-- Grain: one topic of a stage. How often an operator let it go on after too many suspicious refusals; a stage that
-- has stopped goes on when the number grows.
create table ops.stage_resumes (
    stage text not null,
    topic text not null,
    resumed bigint not null,
    resumed_at timestamptz not null default now(),
    constraint pk_stage_resumes primary key (stage, topic)
);
