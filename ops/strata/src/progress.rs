//! One progress bar a stage, until every stage has applied all there is.

use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use strata_events::StreamSpec;
use strata_observe::{Fleet, StagePosition};
use strata_service::Settings;
use strata_streams::StreamDef;
use tokio::task::JoinHandle;

/// Time between two looks at the fleet.
const REFRESH: Duration = Duration::from_millis(200);

/// A fleet that applies nothing for this long does not work.
const STALL: Duration = Duration::from_secs(60);

/// Follows the stages of these streams until `sending` has ended and nothing is left to apply.
pub async fn follow<T>(
    settings: &Settings,
    fleet: &Fleet,
    streams: &[(&StreamDef, u64)],
    sending: &JoinHandle<T>,
) -> anyhow::Result<()> {
    let look = async || {
        let mut positions = Vec::new();
        for (stream, _) in streams {
            positions.extend(fleet.positions(settings, &stream.spec).await?);
        }
        anyhow::Ok(positions)
    };
    let mut told = String::new();
    // A server that is away comes back; whoever waits for events waits for it, too.
    let mut patiently = async || loop {
        let error = match look().await {
            Ok(positions) => return positions,
            Err(error) => format!("{error:#}"),
        };
        if told != error {
            eprintln!("{error}; waiting until it does");
            told = error;
        }
        tokio::time::sleep(REFRESH).await;
    };
    let start = patiently().await;
    let bars = bars(streams)?;
    let (mut last, mut moved) = (start.clone(), Instant::now());
    loop {
        let sent = sending.is_finished();
        let asked = Instant::now();
        let now = patiently().await;
        // What no stage can be asked about is no standstill.
        moved += asked.elapsed();
        show(&bars, &start, &now);
        // A stage that was empty-handed a moment ago may have been handed something since.
        if sent && now.iter().all(|stage| stage.lag() == 0) && patiently().await == now {
            break;
        }
        if now != last {
            (last, moved) = (now.clone(), Instant::now());
        }
        let stalled = bars.iter().zip(&now).find(|(_, stage)| stage.lag() > 0);
        if let Some((bar, position)) = stalled.filter(|_| moved.elapsed() > STALL) {
            anyhow::bail!(
                "{} has applied nothing for {} s and lags by {}; its /health says why",
                bar.prefix().trim_end(),
                STALL.as_secs(),
                position.lag()
            );
        }
        tokio::time::sleep(REFRESH).await;
    }
    for bar in &bars {
        bar.abandon();
    }
    Ok(())
}

/// A bar for each stage of each stream, in their order.
fn bars(streams: &[(&StreamDef, u64)]) -> anyhow::Result<Vec<ProgressBar>> {
    let style = ProgressStyle::with_template(
        "  {prefix:<17}{bar:40} {human_pos:>10}/{human_len} {per_sec:>16} {msg}",
    )?;
    let all = MultiProgress::new();
    let add = |stream: &StreamSpec, expected, stage| {
        let bar = all.add(ProgressBar::new(expected).with_style(style.clone()));
        bar.set_prefix(format!("{} {stage}", stream.name));
        bar
    };
    Ok(streams
        .iter()
        .flat_map(|(stream, expected)| {
            stream.spec.hops.iter().map(|hop| add(&stream.spec, *expected, hop.stage))
        })
        .collect())
}

fn show(bars: &[ProgressBar], start: &[StagePosition], now: &[StagePosition]) {
    for ((bar, start), now) in bars.iter().zip(start).zip(now) {
        let done = u64::try_from(now.applied - start.applied).unwrap_or(0);
        bar.set_length(bar.length().unwrap_or(0).max(done));
        bar.set_position(done);
    }
}
