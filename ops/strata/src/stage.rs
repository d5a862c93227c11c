//! `strata stage`: which stages have stopped, why, and how they go on.

use std::process::ExitCode;

use anyhow::Context as _;
use strata_events::{StageId, StreamSpec};
use strata_observe::Observer;
use strata_service::{Settings, pg};
use strata_streams::{STREAMS, names};

use crate::status::state;
use crate::table::{Align, Table};

/// What to do with the stages.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Lists the stages and what stops them; the same as without a command.
    List,
    /// Lets a stage go on that has stopped because it would refuse too much: these records become dead letters, and
    /// so does what follows, until most records are usable again.
    Resume(ResumeArgs),
    /// Says that Postgres was put back to a copy of itself: the stages take what Kafka holds from their former life.
    /// To be said before they start; safe to repeat.
    Restored,
}

/// Which stage goes on.
#[derive(clap::Args)]
struct ResumeArgs {
    /// stg, dds or cdm.
    stage: StageId,
    /// Name of a stream; all of the stage where it is not given.
    #[arg(long, help = format!("{}; all streams of the stage where it is not given", names()))]
    stream: Option<String>,
}

/// Runs the command.
pub async fn run(settings: &Settings, args: &Args) -> anyhow::Result<ExitCode> {
    match &args.command {
        None | Some(Command::List) => list(settings).await,
        Some(Command::Resume(args)) => resume(settings, args).await,
        Some(Command::Restored) => restored(settings).await,
    }
}

async fn list(settings: &Settings) -> anyhow::Result<ExitCode> {
    let snapshot = Observer::new(settings)?.look().await;
    let mut table = Table::new(&[("stage", Align::Left), ("state", Align::Left), ("why", Align::Left)]);
    let stages = snapshot.services.iter().filter(|part| part.name.parse::<StageId>().is_ok());
    for part in stages {
        let why = part.detail.clone().unwrap_or_default();
        table.push([part.name.clone(), state(part.state).to_owned(), why]);
    }
    table.print();
    Ok(ExitCode::SUCCESS)
}

/// Counts the resumes of a topic up; a stage that has stopped looks at the number whenever it tries again.
async fn resume(settings: &Settings, args: &ResumeArgs) -> anyhow::Result<ExitCode> {
    let streams = chosen(args)?;
    let pool = pg::pool(&settings.postgres, "strata", 1);
    for stream in streams {
        sqlx::query(
            "insert into ops.stage_resumes (stage, topic, resumed) values ($1, $2, 1) on conflict (stage, topic) \
             do update set resumed = stage_resumes.resumed + 1, resumed_at = now()",
        )
        .bind(args.stage.as_str())
        .bind(settings.topics.name(stream.topic(args.stage)))
        .execute(&pool)
        .await
        .context("Postgres does not answer; is the fleet up? (make up)")?;
        println!("{} goes on with {} within seconds, where it had stopped", args.stage, stream.name);
    }
    Ok(ExitCode::SUCCESS)
}

async fn restored(settings: &Settings) -> anyhow::Result<ExitCode> {
    let restored = strata_repair::restored(settings).await?;
    for (stage, topic) in &restored.reads {
        println!("{stage} believes what {topic} holds");
    }
    println!("{} records are left to read; start the services (scripts/fleet.sh start)", restored.to_read);
    Ok(ExitCode::SUCCESS)
}

/// The streams that pass the stage and are meant.
fn chosen(args: &ResumeArgs) -> anyhow::Result<Vec<&'static StreamSpec>> {
    let passing = STREAMS.iter().map(|stream| &stream.spec).filter(|stream| stream.hop(args.stage).is_some());
    let is_meant = |stream: &&StreamSpec| args.stream.as_ref().is_none_or(|name| stream.name == name);
    let chosen: Vec<_> = passing.clone().filter(is_meant).collect();
    let names = || passing.map(|stream| stream.name).collect::<Vec<_>>().join(", ");
    anyhow::ensure!(!chosen.is_empty(), "no such stream; {} reads: {}", args.stage, names());
    Ok(chosen)
}
