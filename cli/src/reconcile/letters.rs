//! Dead letters against the offsets that passed them by and the numbers that replays were given.

use super::report::{Check, Report};
use super::snapshot::Snapshot;

/// Checks the dead letters of all streams.
pub async fn check(snapshot: &mut Snapshot, report: &mut Report) -> anyhow::Result<()> {
    let mut check = Check::new("dead letters lie below their stage's offsets");
    check.compared = snapshot.count("ops.dead_letters").await?;
    // A stage whose offsets are not in Postgres stores its dead letters before it moves on.
    let ahead = "select 'ops.dead_letters: ' || d.id || ' is ' || d.topic || '/' || d.partition || '/' || d.\"offset\" \
             || ', but ' || d.stage || ' stands at ' || o.next_offset \
         from ops.dead_letters as d join ops.consumer_offsets as o using (stage, topic, partition) \
         where d.\"offset\" >= o.next_offset";
    snapshot.differences(&mut check, ahead.to_owned()).await?;
    let unnumbered = "select 'ops.dead_letters: ' || d.id || ' is replay ' || d.replay_seq || ' of ' || d.topic \
             || ', the last of which was ' || coalesce(s.last_seq::text, 'none') \
         from ops.dead_letters as d left join ops.replay_sequences as s using (stage, topic) \
         where d.replay_seq > coalesce(s.last_seq, 0)";
    snapshot.differences(&mut check, unnumbered.to_owned()).await?;
    report.checks.push(check);

    let open: Vec<(String, String, i64)> = sqlx::query_as(
        "select stage, reason, count(*) from ops.dead_letters where status in ('open', 'replaying') \
         group by stage, reason order by count(*) desc, stage, reason",
    )
    .fetch_all(&mut **snapshot.connection())
    .await?;
    for (stage, reason, count) in open {
        report.notes.push(format!("{count} dead letters of {stage} are open: {reason}"));
    }
    Ok(())
}
