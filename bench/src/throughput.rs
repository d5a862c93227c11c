//! Throughput beside its ceiling: rounds of both by turns, and the best of each.
//!
//! A machine's speed changes from minute to minute, and whoever comes first pays for memory that the host
//! has taken back: one measurement of the fleet against the best of several of Postgres says more of that
//! than of either.

use serde::Serialize;
use sqlx::{Connection as _, Executor as _, PgConnection};
use strata_streams::StreamDef;
use strata_testkit::Servers;

use crate::ceiling::{Attempt, Rows};
use crate::fleet::{WARM_UP, launch};
use crate::load::{self, Load};
use crate::options::Options;
use crate::verify::Stored;
use crate::{statements, verify};

/// What a stream reached.
#[derive(Debug, Serialize)]
pub struct Throughput {
    /// Name of the stream.
    pub stream: &'static str,
    /// The best round.
    pub load: Load,
    /// Events a second of each round.
    pub rounds: Vec<f64>,
    /// The same rows straight into the same tables, once a round; none where it was left out.
    pub ceiling: Vec<Attempt>,
    /// The best round by the best of these, in rows a second.
    pub ratio: Option<f64>,
}

/// Rounds: as many give each number of connections two tries.
const ROUNDS: usize = 4;

/// Loads events into a fleet of its own and then their rows into empty tables, round after round.
///
/// The fleet is gone before its rows are loaded, so that each of both finds the machine as the other leaves it.
pub async fn run(options: &Options, servers: &Servers, stream: &StreamDef) -> anyhow::Result<Throughput> {
    let (mut loads, mut ceiling) = (Vec::new(), Vec::new());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    for (round, connections) in (1..=ROUNDS).zip([cores, 2 * cores].into_iter().cycle()) {
        eprintln!("{}: round {round} of {ROUNDS}", stream.spec.name);
        let (fleet, processes) = launch(servers).await;
        load::run(&fleet, &processes, stream, WARM_UP).await?;
        if options.statements {
            statements::forget(fleet.pool()).await?;
        }
        checkpoint(servers).await?;
        let load = load::run(&fleet, &processes, stream, options.events()).await?;
        if options.statements {
            println!("{}", statements::longest(fleet.pool()).await?);
        }
        let stored = WARM_UP + load.events;
        verify::all(&fleet, &Stored::from([(stream.spec.name, stored)])).await?;
        loads.push(load);
        if options.has("ceiling") {
            let rows = Rows::read(fleet.pool(), stream).await?;
            drop(fleet);
            checkpoint(servers).await?;
            ceiling.push(rows.load(servers, &processes, connections).await?);
        }
    }
    let rounds = loads.iter().map(|load| load.events_per_second).collect();
    let best = loads.into_iter().max_by(|a, b| a.rows_per_second.total_cmp(&b.rows_per_second));
    let load = best.ok_or_else(|| anyhow::anyhow!("nothing was loaded"))?;
    let most = ceiling.iter().map(|attempt| attempt.rows_per_second).max_by(f64::total_cmp);
    let ratio = most.map(|most| load.rows_per_second / most);
    Ok(Throughput { stream: stream.spec.name, load, rounds, ceiling, ratio })
}

/// Has Postgres write what it owes to the disk, where it may be told to: that is no part of what follows.
async fn checkpoint(servers: &Servers) -> anyhow::Result<()> {
    let mut connection = PgConnection::connect_with(&servers.postgres()).await?;
    if let Err(e) = connection.execute("checkpoint").await {
        eprintln!("no checkpoint: {e}");
    }
    connection.close().await?;
    Ok(())
}
