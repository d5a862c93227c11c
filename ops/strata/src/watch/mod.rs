//! `strata watch`: the fleet live, a look a second.

mod screen;

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyModifiers};
use strata_observe::Observer;
use strata_observe::backlog::Backlogs;
use strata_observe::snapshot::{Snapshot, Stage};
use strata_service::Settings;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use crate::status::dead_letters_in_short;
use crate::table::{number, seconds};

/// Time between two looks.
const REFRESH: Duration = Duration::from_secs(1);

/// Shows the fleet until it is told to stop.
pub async fn run(settings: &Settings) -> anyhow::Result<ExitCode> {
    let observer = Observer::new(settings)?;
    if std::io::stdout().is_terminal() && std::io::stdin().is_terminal() {
        let mut terminal = ratatui::try_init()?;
        let outcome = show(&mut terminal, observer).await;
        ratatui::try_restore()?;
        outcome?;
    } else {
        print_lines(observer).await;
    }
    Ok(ExitCode::SUCCESS)
}

async fn show(terminal: &mut DefaultTerminal, observer: Observer) -> anyhow::Result<()> {
    let (mut events, mut snapshots) = (events(), every_second(observer));
    let (mut backlogs, mut snapshot) = (Backlogs::default(), None);
    loop {
        terminal.draw(|frame| screen::draw(frame, snapshot.as_ref(), &backlogs))?;
        tokio::select! {
            event = events.recv() => if event.as_ref().is_none_or(quits) { return Ok(()) },
            Some(seen) = snapshots.recv() => {
                backlogs.note(&seen);
                snapshot = Some(seen);
            }
        }
    }
}

/// Looks in a task of its own: one look may take its time while a part is down.
fn every_second(observer: Observer) -> mpsc::Receiver<Snapshot> {
    let (snapshots, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut tick = interval(REFRESH);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            if snapshots.send(observer.look().await).await.is_err() {
                return;
            }
        }
    });
    receiver
}

/// Reads keyboard and window on a thread of its own, which ends with the process.
fn events() -> mpsc::Receiver<Event> {
    let (events, receiver) = mpsc::channel(8);
    std::thread::spawn(move || while event::read().is_ok_and(|event| events.blocking_send(event).is_ok()) {});
    receiver
}

/// Whether the user wants to leave.
fn quits(event: &Event) -> bool {
    event.as_key_press_event().is_some_and(|key| match key.code {
        KeyCode::Char('q') | KeyCode::Esc => true,
        KeyCode::Char('c') => key.modifiers.contains(KeyModifiers::CONTROL),
        _ => false,
    })
}

/// One line a look, for logs and pipes, until nobody reads them.
async fn print_lines(observer: Observer) {
    let mut snapshots = every_second(observer);
    while let Some(snapshot) = snapshots.recv().await {
        if writeln!(std::io::stdout(), "{}", line(&snapshot)).is_err() {
            return;
        }
    }
}

fn line(snapshot: &Snapshot) -> String {
    let ill: Vec<String> = snapshot.troubled().map(|part| format!("{} {}", part.name, part.state)).collect();
    let health = if ill.is_empty() { "healthy".to_owned() } else { ill.join(", ") };
    let stage = |stage: &Stage| {
        let lag = stage.lag.map_or_else(|| "?".to_owned(), |lag| lag.to_string());
        let (name, rate, late) = (&stage.stage, rate(stage.applied_per_second), seconds(stage.lag_seconds));
        format!("{name} {rate}/s lag {lag} ({late} s)")
    };
    let streams = snapshot.streams.iter().map(|stream| {
        let stages: Vec<String> = stream.stages.iter().map(stage).collect();
        format!("{}: {}", stream.name, stages.join(", "))
    });
    let streams: Vec<String> = streams.collect();
    let at = snapshot.at.format("%FT%TZ");
    format!("{at} {health} | {} | dead letters: {}", streams.join(" | "), dead_letters_in_short(snapshot))
}

/// Records a second.
fn rate(per_second: Option<f64>) -> String {
    number(per_second.map(|rate| rate.round() as i64))
}
