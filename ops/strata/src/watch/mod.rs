//! `strata watch`: the fleet live, a look a second.

mod backlog;
mod screen;

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use strata_observe::snapshot::Stage;
use strata_observe::{Observer, Snapshot};
use strata_service::Settings;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use crate::layers::grouped;
use crate::status::{dead_letters_in_short, seconds, state};
use backlog::Backlogs;

/// Time between two looks.
const REFRESH: Duration = Duration::from_secs(1);

/// Shows the fleet until it is told to stop.
pub async fn run(settings: &Settings) -> anyhow::Result<ExitCode> {
    let looks = Looks::new(settings)?;
    if std::io::stdout().is_terminal() && std::io::stdin().is_terminal() {
        let mut terminal = ratatui::try_init()?;
        let outcome = show(&mut terminal, looks).await;
        ratatui::try_restore()?;
        outcome?;
    } else {
        print_lines(looks).await;
    }
    Ok(ExitCode::SUCCESS)
}

/// Snapshots, each with its rates.
struct Looks {
    observer: Observer,
    last: Option<Snapshot>,
}

impl Looks {
    fn new(settings: &Settings) -> anyhow::Result<Self> {
        Ok(Self { observer: Observer::new(settings)?, last: None })
    }

    async fn next(&mut self) -> Snapshot {
        let mut snapshot = self.observer.look().await;
        if let Some(last) = &self.last {
            snapshot.rate_since(last);
        }
        self.last = Some(snapshot.clone());
        snapshot
    }
}

/// What the keyboard or the window asks for.
enum Wish {
    Quit,
    Redraw,
}

async fn show(terminal: &mut DefaultTerminal, looks: Looks) -> anyhow::Result<()> {
    let (mut wishes, mut snapshots) = (keyboard(), every_second(looks));
    let (mut backlogs, mut snapshot) = (Backlogs::default(), None);
    loop {
        terminal.draw(|frame| screen::draw(frame, snapshot.as_ref(), &backlogs))?;
        tokio::select! {
            wish = wishes.recv() => if matches!(wish, None | Some(Wish::Quit)) { return Ok(()) },
            Some(seen) = snapshots.recv() => {
                backlogs.note(&seen);
                snapshot = Some(seen);
            }
        }
    }
}

/// Looks in a task of its own: one look may take its time while a part is down.
fn every_second(mut looks: Looks) -> mpsc::Receiver<Snapshot> {
    let (snapshots, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut tick = interval(REFRESH);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            if snapshots.send(looks.next().await).await.is_err() {
                return;
            }
        }
    });
    receiver
}

/// Reads the keyboard on a thread of its own, which ends with the process.
fn keyboard() -> mpsc::Receiver<Wish> {
    let (wishes, receiver) = mpsc::channel(8);
    std::thread::spawn(move || {
        while let Ok(event) = event::read() {
            let wish = match event {
                Event::Key(key) if key.kind == KeyEventKind::Press => {
                    let interrupt =
                        key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c');
                    match key.code {
                        KeyCode::Char('q') | KeyCode::Esc => Wish::Quit,
                        _ if interrupt => Wish::Quit,
                        _ => continue,
                    }
                }
                Event::Resize(..) => Wish::Redraw,
                _ => continue,
            };
            if wishes.blocking_send(wish).is_err() {
                return;
            }
        }
    });
    receiver
}

/// One line a look, for logs and pipes, until nobody reads them.
async fn print_lines(looks: Looks) {
    let mut snapshots = every_second(looks);
    while let Some(snapshot) = snapshots.recv().await {
        if writeln!(std::io::stdout(), "{}", line(&snapshot)).is_err() {
            return;
        }
    }
}

fn line(snapshot: &Snapshot) -> String {
    let troubled: Vec<String> =
        snapshot.troubled().map(|part| format!("{} {}", part.name, state(part.state))).collect();
    let health = if troubled.is_empty() { "healthy".to_owned() } else { troubled.join(", ") };
    let stage = |stage: &Stage| {
        let lag = stage.lag.map_or_else(|| "?".to_owned(), |lag| lag.to_string());
        format!(
            "{} {}/s lag {lag} ({} s)",
            stage.stage,
            rate(stage.applied_per_second),
            seconds(stage.lag_seconds)
        )
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
    per_second.map_or_else(|| "?".to_owned(), |rate| grouped(rate.round() as i64))
}
