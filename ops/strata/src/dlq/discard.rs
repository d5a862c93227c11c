//! `strata dlq discard`: what will not be replayed.

use std::process::ExitCode;

use serde_json::json;
use strata_runtime::{Settings, pg};

use super::filter::{Filter, matching};

use crate::layers::grouped;
use crate::lock::OperatorLock;

/// What to discard.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    filter: Filter,
    /// All open dead letters.
    #[arg(long)]
    all: bool,
    /// Dead letters at most, the oldest first.
    #[arg(long)]
    limit: Option<u32>,
    /// One JSON object, for scripts.
    #[arg(long)]
    json: bool,
}

/// Marks the chosen open dead letters. **Idempotent**: only open ones change.
pub async fn run(settings: &Settings, args: &Args) -> anyhow::Result<ExitCode> {
    args.filter.require_choice(args.all)?;
    let pool = pg::pool(&settings.postgres, "strata", settings.postgres.worker_connections);
    let _lock = OperatorLock::take(&pool).await?;
    let discard = concat!(
        "with chosen as (select d.id from ops.dead_letters as d where ",
        matching!(),
        " order by d.id limit $8) ",
        "update ops.dead_letters as d set status = 'discarded' from chosen where d.id = chosen.id returning d.id"
    );
    let query = args.filter.bind_scalar(sqlx::query_scalar(discard), Some("open"));
    let discarded: Vec<i64> = query.bind(args.limit.map(i64::from)).fetch_all(&pool).await?;
    if args.json {
        println!("{}", json!({"discarded": discarded}));
    } else {
        println!("{} dead letters discarded", grouped(discarded.len() as i64));
    }
    Ok(ExitCode::SUCCESS)
}
