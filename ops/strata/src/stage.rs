//! `strata stage`: which stages have stopped, why, and how they go on.

use std::process::ExitCode;

use strata_events::StageId;
use strata_observe::Observer;
use strata_service::Settings;
use strata_streams::names;

use crate::status;

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
    Resume {
        /// stg, dds or cdm.
        stage: StageId,
        /// Name of a stream; all of the stage where it is not given.
        #[arg(long, help = format!("{}; all streams of the stage where it is not given", names()))]
        stream: Option<String>,
    },
    /// Says that Postgres was put back to a copy of itself: the stages take what Kafka holds from their former life.
    /// To be said before they start; safe to repeat.
    Restored,
}

/// Runs the command.
pub async fn run(settings: &Settings, args: &Args) -> anyhow::Result<ExitCode> {
    match &args.command {
        None | Some(Command::List) => {
            let snapshot = Observer::new(settings)?.look().await;
            let stages = snapshot.services.iter().filter(|part| part.name.parse::<StageId>().is_ok());
            status::health("stage", stages).print();
        }
        Some(Command::Resume { stage, stream }) => {
            for stream in strata_repair::resume(settings, *stage, stream.as_deref()).await? {
                println!("{stage} goes on with {stream} within seconds, where it had stopped");
            }
        }
        Some(Command::Restored) => {
            let restored = strata_repair::restored(settings).await?;
            for (stage, topic) in &restored.reads {
                println!("{stage} believes what {topic} holds");
            }
            println!(
                "{} records are left to read; start the services (scripts/fleet.sh start)",
                restored.to_read
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}
