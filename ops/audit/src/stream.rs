//! One stream: Kafka, the raw layer and the vault, event by event in the order of their keys.

use strata_observe::Fleet;
use strata_streams::StreamDef;

use super::inputs::Inputs;
use super::ordered::least;
use super::progress::{Progress, Told};
use super::report::Check;
use super::snapshot::Snapshot;
use super::staged::Staged;
use super::subjects::Subjects;
use super::unapplied::Unapplied;

/// What was found of a stream.
pub struct Found<'a> {
    /// The stream.
    pub stream: &'static StreamDef,
    /// From Kafka to the raw layer, and from there to the vault.
    pub staged: Vec<Check>,
    /// The vault; rows of users are still to come.
    pub vault: Subjects<'a>,
    /// What cdm has not applied; of the metrics the vault's fold has it.
    pub unapplied: Unapplied,
    /// What is worth knowing besides.
    pub notes: Vec<String>,
}

/// Compares the layers of a stream, but for its marts.
pub fn check<'a>(
    snapshot: &'a Snapshot<'_>,
    fleet: &Fleet,
    stream: &'static StreamDef,
    progress: Progress<'_>,
) -> anyhow::Result<Found<'a>> {
    let many = stream.words.many;
    let mut unapplied = Unapplied::find(snapshot, stream)?;
    progress(&format!("{many}: hubs"));
    let mut vault = Subjects::open(snapshot, stream, std::mem::take(&mut unapplied.withheld))?;
    progress(&format!("{many}: raw layer"));
    let (mut staged, mut staged_rows) = Staged::read(snapshot, stream)?;
    progress(&format!("{many}: Kafka"));
    let (mut inputs, mut input_rows) = Inputs::read(snapshot, fleet, stream)?;
    let mut told = Told::new(progress, many);
    while let Some(key) = least(vault.tables().chain([&mut staged_rows, &mut input_rows]))? {
        told.at(key);
        let found = vault.subject(key)?;
        let sent = staged.compare(&mut staged_rows, key, &found, &vault.shape)?;
        inputs.compare(&mut input_rows, key, sent, &staged.excused, (&vault.shape, &found))?;
    }
    let (check, note) = inputs.finish();
    let mut notes = vec![note];
    notes.extend(staged.notes());
    notes.extend(unapplied.notes(stream));
    let staged = [check].into_iter().chain(staged.checks()).collect();
    Ok(Found { stream, staged, vault: vault.finish()?, unapplied, notes })
}
