//! A stage that has stopped goes on.

use anyhow::Context as _;
use strata_events::{StageId, StreamSpec};
use strata_service::{Settings, pg};
use strata_streams::STREAMS;

/// Lets a stage go on with a stream, or with all of its streams; returns which.
///
/// It counts the resumes of a topic up; a stage that has stopped looks at the number whenever it tries again.
/// **Errors**: the stage reads no such stream, or Postgres does not answer.
pub async fn resume(
    settings: &Settings,
    stage: StageId,
    stream: Option<&str>,
) -> anyhow::Result<Vec<&'static str>> {
    let passing = STREAMS.iter().map(|stream| &stream.spec).filter(|spec| spec.hop(stage).is_some());
    let passing: Vec<&StreamSpec> = passing.collect();
    let names = |specs: &[&StreamSpec]| specs.iter().map(|spec| spec.name).collect::<Vec<_>>();
    let mut chosen = passing.clone();
    chosen.retain(|spec| stream.is_none_or(|name| spec.name == name));
    anyhow::ensure!(!chosen.is_empty(), "no such stream; {stage} reads: {}", names(&passing).join(", "));
    let topics: Vec<&str> = chosen.iter().map(|spec| settings.topics.name(spec.topic(stage))).collect();
    sqlx::query(
        "insert into ops.stage_resumes (stage, topic, resumed) select $1, topic, 1 from unnest($2::text[]) as topic \
         on conflict (stage, topic) do update set resumed = stage_resumes.resumed + 1, resumed_at = now()",
    )
    .bind(stage.as_str())
    .bind(topics)
    .execute(&pg::pool(&settings.postgres, "strata", 1))
    .await
    .context("Postgres does not answer; is the fleet up? (make up)")?;
    Ok(names(&chosen))
}
