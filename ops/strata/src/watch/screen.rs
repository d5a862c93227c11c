//! The picture in the terminal.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize as _};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Cell, Padding, Paragraph, Row, Table};
use strata_observe::Snapshot;
use strata_observe::snapshot::{Part, Stage, State};

use super::backlog::{Backlog, Backlogs};
use super::rate;
use crate::layers::grouped;
use crate::status::{dead_letters_in_short, number, reconciled, rows_by_table, seconds, state};

/// Cells of a progress bar.
const BAR: usize = 20;

/// Draws what was seen last.
pub fn draw(frame: &mut Frame<'_>, snapshot: Option<&Snapshot>, backlogs: &Backlogs) {
    let Some(snapshot) = snapshot else {
        frame.render_widget(Line::from(" asking the fleet …").dim(), frame.area());
        return;
    };
    let stages: usize = snapshot.streams.iter().map(|stream| stream.stages.len()).sum();
    let stages = u16::try_from(stages).unwrap_or(u16::MAX);
    let troubles = u16::try_from(snapshot.troubled().count()).unwrap_or(u16::MAX);
    let [head, flow, rows, foot] = Layout::vertical([
        Constraint::Length(2 + troubles),
        Constraint::Length(stages + 3),
        Constraint::Fill(1),
        Constraint::Length(3),
    ])
    .areas(frame.area());
    frame.render_widget(Paragraph::new(health(snapshot)), head);
    frame.render_widget(flow_table(snapshot, backlogs), flow);
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
        Line::styled(format!(" {} is {}: {detail}", part.name, state(part.state)), colour(part))
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

fn flow_table(snapshot: &Snapshot, backlogs: &Backlogs) -> Table<'static> {
    let mut rows = Vec::new();
    for stream in &snapshot.streams {
        for stage in &stream.stages {
            let backlog = backlogs.of(&stream.name, &stage.stage);
            rows.push(flow_row(&stream.name, stage, backlog));
        }
    }
    let head = ["stream", "stage", "in /s", "out /s", "lag", "seconds", "readers", "progress"];
    let head = head.into_iter().enumerate().map(|(column, name)| aligned(name.to_owned(), column));
    let widths = [
        Constraint::Length(13),
        Constraint::Length(6),
        Constraint::Length(9),
        Constraint::Length(9),
        Constraint::Length(11),
        Constraint::Length(9),
        Constraint::Length(7),
        Constraint::Fill(1),
    ];
    Table::new(rows, widths).header(Row::new(head.collect::<Vec<_>>()).dim()).block(section("Flow"))
}

fn flow_row(stream: &str, stage: &Stage, backlog: Backlog) -> Row<'static> {
    let cells = [
        stream.to_owned(),
        stage.stage.clone(),
        rate(stage.arrived_per_second),
        rate(stage.applied_per_second),
        number(stage.lag),
        seconds(stage.lag_seconds),
        number(stage.readers.as_ref().map(|readers| readers.len() as i64)),
    ];
    let mut cells: Vec<Cell<'_>> =
        cells.into_iter().enumerate().map(|(column, text)| aligned(text, column)).collect();
    cells.push(Cell::from(progress(stage, backlog)));
    Row::new(cells)
}

/// A cell; numbers, which begin in the third column, stand to the right.
fn aligned(text: String, column: usize) -> Cell<'static> {
    let line = Line::from(text);
    Cell::from(if (2..7).contains(&column) { line.right_aligned() } else { line })
}

/// How far a stage has come with its backlog, or that it has none.
fn progress(stage: &Stage, backlog: Backlog) -> Line<'static> {
    if stage.lag.is_none() {
        return Line::from("not known").yellow();
    }
    let filled = (backlog.done() * BAR as f64).round() as usize;
    let colour = if backlog.lag == 0 { Color::Green } else { Color::Cyan };
    let words = match (backlog.lag, backlog.seconds_left) {
        (0, _) => " current".to_owned(),
        (_, Some(left)) => format!(" {:.0} %, {left:.0} s left", backlog.done() * 100.0),
        (_, None) => format!(" {:.0} %", backlog.done() * 100.0),
    };
    Line::from(vec![
        Span::styled("█".repeat(filled), colour),
        Span::from("░".repeat(BAR.saturating_sub(filled))).dim(),
        Span::from(words),
    ])
}

/// The tables of each layer side by side.
fn draw_rows(frame: &mut Frame<'_>, area: Rect, snapshot: &Snapshot) {
    let block = section("Rows");
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let Some(rows) = rows_by_table(snapshot) else {
        frame.render_widget(Line::from("not known").yellow(), inner);
        return;
    };
    let columns = Layout::horizontal([Constraint::Ratio(1, 3); 3]).spacing(2).split(inner);
    for (layer, column) in ["stg.", "dds.", ""].into_iter().zip(columns.iter()) {
        let ours = rows.iter().filter(|(name, _)| match layer {
            "" => !name.starts_with("stg.") && !name.starts_with("dds."),
            layer => name.starts_with(layer),
        });
        let lines: Vec<Row<'_>> = ours
            .map(|(name, rows)| {
                Row::new([Line::from(name.clone()), Line::from(grouped(*rows)).right_aligned()])
            })
            .collect();
        frame.render_widget(Table::new(lines, [Constraint::Fill(1), Constraint::Length(12)]), *column);
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
