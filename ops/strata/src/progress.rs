//! Progress on a terminal; nothing is drawn where there is none.

use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use strata_observe::Fleet;
use strata_service::Settings;
use strata_streams::StreamDef;
use tokio::task::JoinHandle;

/// A bar, or a spinner where the length is not known.
pub fn bar(length: Option<u64>, template: &str) -> ProgressBar {
    let bar = length.map_or_else(ProgressBar::no_length, ProgressBar::new);
    // A template that cannot be read costs its looks alone.
    bar.with_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// A line that moves by itself.
pub fn spinner(template: &str) -> ProgressBar {
    let spinner = bar(None, template);
    spinner.enable_steady_tick(Duration::from_millis(100));
    spinner
}

/// Follows the stages of these streams, a bar for each, until `sending` has ended and nothing is left to apply.
pub async fn follow<T>(
    settings: &Settings,
    fleet: &Fleet,
    streams: &[(&'static StreamDef, u64)],
    sending: &JoinHandle<T>,
) -> anyhow::Result<()> {
    let all = MultiProgress::new();
    let add = |name: &str, stage, expected: u64| {
        let template = "  {prefix:<17}{bar:40} {human_pos:>10}/{human_len} {per_sec:>16} {msg}";
        all.add(bar(Some(expected), template)).with_prefix(format!("{name} {stage}"))
    };
    let stages = streams.iter().flat_map(|(stream, expected)| {
        stream.spec.hops.iter().map(|hop| add(stream.spec.name, hop.stage, *expected))
    });
    let bars: Vec<ProgressBar> = stages.collect();
    let seen = |applied: &[u64]| {
        for (bar, &applied) in bars.iter().zip(applied) {
            bar.set_length(bar.length().unwrap_or(0).max(applied));
            bar.set_position(applied);
        }
    };
    let specs: Vec<_> = streams.iter().map(|(stream, _)| &stream.spec).collect();
    let told = |why: &str| eprintln!("{why}; waiting until it does");
    fleet.follow(settings, &specs, || sending.is_finished(), seen, told).await?;
    bars.iter().for_each(ProgressBar::abandon);
    Ok(())
}
