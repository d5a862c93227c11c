//! The picture in the terminal.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize as _};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Padding, Paragraph};
use strata_observe::backlog::{Backlog, Backlogs};
use strata_observe::snapshot::{Part, Snapshot, Stage, State};

use super::rate;
use crate::status::{dead_letters_in_short, reconciled};
use crate::table::{Table, grouped, number, seconds};

/// Cells of a progress bar.
const BAR: usize = 20;

/// Draws what was seen last.
pub fn draw(frame: &mut Frame<'_>, snapshot: Option<&Snapshot>, backlogs: &Backlogs) {
    let Some(snapshot) = snapshot else {
        frame.render_widget(Line::from(" asking the fleet …").dim(), frame.area());
        return;
    };
    let height = |lines: usize| Constraint::Length(u16::try_from(lines).unwrap_or(u16::MAX));
    let [head, flow, rows, foot] = Layout::vertical([
        height(2 + snapshot.troubled().count()),
        height(3 + snapshot.stages().count()),
        Constraint::Fill(1),
        Constraint::Length(3),
    ])
    .areas(frame.area());
    frame.render_widget(Paragraph::new(health(snapshot)), head);
    frame.render_widget(Paragraph::new(self::flow(snapshot, backlogs)).block(section("Flow")), flow);
    draw_rows(frame, rows, snapshot);
    frame.render_widget(Paragraph::new(notes(snapshot)), foot);
}

/// The parts in a line, then one line for each that is not well.
fn health(snapshot: &Snapshot) -> Vec<Line<'static>> {
    let mut parts = vec![Span::from(" STRATA ").bold().reversed(), Span::from("  ")];
    for part in snapshot.services.iter().chain(&snapshot.servers) {
        parts.push(Span::styled("● ", colour(part)));
        parts.push(Span::from(format!("{}  ", part.name)));
    }
    let mut lines = vec![Line::from(parts)];
    lines.extend(snapshot.troubled().map(|part| {
        let detail = part.detail.clone().unwrap_or_default();
        Line::styled(format!(" {} is {}: {detail}", part.name, part.state), colour(part))
    }));
    lines
}

fn colour(part: &Part) -> Style {
    match part.state {
        State::Ok => Style::new().fg(Color::Green),
        State::Unhealthy => Style::new().fg(Color::Yellow),
        State::Down => Style::new().fg(Color::Red).bold(),
    }
}

/// A line for each stage, with how far it has come.
fn flow(snapshot: &Snapshot, backlogs: &Backlogs) -> Vec<Line<'static>> {
    let row = |(stream, stage): (&str, &Stage)| {
        let (arrived, applied) = (rate(stage.arrived_per_second), rate(stage.applied_per_second));
        let (lag, late) = (number(stage.lag), seconds(stage.lag_seconds));
        let readers = number(stage.readers.as_ref().map(|readers| readers.len() as i64));
        [stream.to_owned(), stage.stage.clone(), arrived, applied, lag, late, readers]
    };
    let head = ["stream", "stage", "in /s", "out /s", "lag", "seconds", "readers"];
    let mut lines = Table::of(head, snapshot.stages().map(row)).lines().into_iter().map(Line::from);
    let head = lines.next().map(|head| head.dim());
    let stages = lines.zip(snapshot.stages()).map(|(mut line, (stream, stage))| {
        line.extend(progress(stage, backlogs.of(stream, &stage.stage)));
        line
    });
    head.into_iter().chain(stages).collect()
}

/// How far a stage has come with its backlog, or that it has none.
fn progress(stage: &Stage, backlog: Backlog) -> Vec<Span<'static>> {
    if stage.lag.is_none() {
        return vec![Span::from("  not known").yellow()];
    }
    let filled = (backlog.done() * BAR as f64).round() as usize;
    let colour = if backlog.lag == 0 { Color::Green } else { Color::Cyan };
    let words = match (backlog.lag, backlog.seconds_left) {
        (0, _) => " current".to_owned(),
        (_, Some(left)) => format!(" {:.0} %, {left:.0} s left", backlog.done() * 100.0),
        (_, None) => format!(" {:.0} %", backlog.done() * 100.0),
    };
    vec![
        Span::from("  "),
        Span::styled("█".repeat(filled), colour),
        Span::from("░".repeat(BAR.saturating_sub(filled))).dim(),
        Span::from(words),
    ]
}

/// The tables of each layer side by side.
fn draw_rows(frame: &mut Frame<'_>, area: Rect, snapshot: &Snapshot) {
    let block = section("Rows");
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let Some(rows) = snapshot.rows() else {
        frame.render_widget(Line::from("not known").yellow(), inner);
        return;
    };
    let mut layers = [const { Vec::new() }; 3];
    for (name, rows) in rows {
        let layer = ["stg.", "dds."].iter().position(|layer| name.starts_with(layer));
        layers[layer.unwrap_or(2)].push([name, grouped(rows)]);
    }
    let columns = Layout::horizontal([Constraint::Ratio(1, 3); 3]).spacing(2).split(inner);
    for (rows, column) in layers.into_iter().zip(columns.iter()) {
        let lines = Table::of(["table", "rows"], rows).lines().into_iter().skip(1).map(Line::from);
        frame.render_widget(Paragraph::new(lines.collect::<Vec<_>>()), *column);
    }
}

fn notes(snapshot: &Snapshot) -> Vec<Line<'static>> {
    let letters = snapshot.dead_letters.as_ref().is_some_and(|kinds| !kinds.is_empty());
    let differs = snapshot.reconcile.as_ref().is_some_and(|run| run.differences > 0);
    let warned = |warn: bool| if warn { Style::new().yellow() } else { Style::new() };
    let letters =
        Line::styled(format!(" Dead letters: {}", dead_letters_in_short(snapshot)), warned(letters));
    let reconciled = reconciled(snapshot.reconcile.as_ref(), snapshot.at);
    let reconciled = Line::styled(format!(" Last reconcile: {reconciled}"), warned(differs));
    vec![letters, reconciled, Line::from(format!(" {}   q quits", snapshot.at.format("%T UTC"))).dim()]
}

fn section(title: &'static str) -> Block<'static> {
    Block::new().title(Line::from(format!(" {title}")).bold()).padding(Padding::new(1, 1, 1, 0))
}
