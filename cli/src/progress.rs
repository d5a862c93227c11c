//! One progress bar a stage, until every stage has applied all there is.

use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use strata_events::StreamSpec;
use strata_runtime::Settings;
use tokio::task::JoinHandle;

use crate::fleet::{Fleet, STAGES, StagePosition};

/// Time between two looks at the fleet.
const REFRESH: Duration = Duration::from_millis(200);

/// A fleet that applies nothing for this long does not work.
const STALL: Duration = Duration::from_secs(60);

/// Follows the stages until `sending` has ended and nothing is left to apply.
pub async fn follow<T>(
    settings: &Settings,
    fleet: &Fleet,
    stream: &StreamSpec,
    expected: u64,
    sending: &JoinHandle<T>,
) -> anyhow::Result<()> {
    let start = fleet.positions(settings, stream).await?;
    let bars = MultiProgress::new();
    let style = ProgressStyle::with_template(
        "  {prefix:<4}{bar:40} {human_pos:>10}/{human_len} {per_sec:>16} {msg}",
    )?;
    let bars: Vec<ProgressBar> = STAGES
        .iter()
        .map(|stage| {
            let bar = bars.add(ProgressBar::new(expected).with_style(style.clone()));
            bar.set_prefix(*stage);
            bar
        })
        .collect();
    let (mut last, mut moved) = (start, Instant::now());
    loop {
        let sent = sending.is_finished();
        let now = fleet.positions(settings, stream).await?;
        show(&bars, &start, &now);
        if sent && now.iter().all(|stage| stage.lag() == 0) {
            // A stage that was empty-handed a moment ago may have been handed something since.
            if fleet.positions(settings, stream).await? == now {
                break;
            }
        }
        if now != last {
            (last, moved) = (now, Instant::now());
        }
        let stalled =
            STAGES.iter().zip(&now).find(|(_, stage)| stage.lag() > 0).filter(|_| moved.elapsed() > STALL);
        if let Some((stage, position)) = stalled {
            anyhow::bail!(
                "{stage} has applied nothing for {} s and lags by {}; its /health says why",
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

fn show(bars: &[ProgressBar], start: &[StagePosition; 3], now: &[StagePosition; 3]) {
    for ((bar, start), now) in bars.iter().zip(start).zip(now) {
        let done = u64::try_from(now.applied - start.applied).unwrap_or(0);
        bar.set_length(bar.length().unwrap_or(0).max(done));
        bar.set_position(done);
    }
}
