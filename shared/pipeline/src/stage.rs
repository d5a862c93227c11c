//! What the loop needs of a layer, and what a layer's handler needs to know.

use std::collections::BTreeMap;
use std::future::{Future, ready};

use serde::Serialize;
use sqlx::PgConnection;
use strata_events::Reject;

use crate::error::StageError;
use crate::guard::DeadLetterGuard;
use crate::record::{Output, Record};

/// Where a stage stands in one partition.
#[derive(Debug, Clone)]
pub struct Position {
    /// Partition.
    pub partition: i32,
    /// Offset to read next; none where the stage never read the partition.
    pub next_offset: Option<i64>,
    /// Outputs of the last batch that may not have reached Kafka.
    pub pending: Vec<Output>,
}

/// Offsets a batch spans: partition → (expected now, stored afterwards).
pub type Span = BTreeMap<i32, (i64, i64)>;

/// One layer's consumption of one topic: keeps data, offset and outputs together.
pub trait Stage: Send + 'static {
    /// Reads where the stage stands.
    fn positions(&mut self, partitions: &[i32]) -> impl Future<Output = Result<Vec<Position>, StageError>>;

    /// Records that partitions which were never read are to be read from their first offset on.
    fn initialize(&mut self, partitions: &[i32]) -> impl Future<Output = Result<(), StageError>>;

    /// Applies a batch, moves the offsets and keeps the outputs, all or nothing.
    ///
    /// Returns the outputs, to be sent now that they are safe. `refuse_as` makes every record of the
    /// batch a dead letter for that reason. `guard` is asked before the commit, with what was refused.
    fn apply(
        &mut self,
        records: &[Record],
        span: &Span,
        refuse_as: Option<Reject>,
        guard: &mut DeadLetterGuard,
    ) -> impl Future<Output = Result<Vec<Output>, StageError>>;

    /// Forgets kept outputs that Kafka has acknowledged, where the partition still stands at this offset.
    ///
    /// Where it does not, another instance was here and the kept outputs are its own.
    fn forget_acknowledged(
        &mut self,
        positions: &[(i32, i64)],
    ) -> impl Future<Output = Result<(), StageError>>;

    /// Compares the store with where the loop believes to stand, every now and then.
    ///
    /// For a store that can lose what it confirmed: without it, a loss would show with the next record
    /// only, and in a quiet partition never. A difference is [`StageError::Fenced`].
    fn verify(&mut self, _positions: &BTreeMap<i32, i64>) -> impl Future<Output = Result<(), StageError>> {
        ready(Ok(()))
    }

    /// What an operator can do when Kafka lost records that the stage has not read; none means the
    /// offset in Postgres.
    fn way_out(&self) -> Option<&'static str> {
        None
    }
}

/// A decoded record.
#[derive(Debug)]
pub struct Input<'a, E> {
    /// The record it was decoded from.
    pub record: &'a Record,
    /// What it says.
    pub event: E,
}

/// What a handler made of a batch besides rows.
#[derive(Debug, Default)]
pub struct Effects {
    /// Records for the next layer, each with the index of its input, in the order of the inputs.
    pub outputs: Vec<(usize, Output)>,
    /// Inputs, by index, that turned out to be unusable.
    pub rejects: Vec<(usize, Reject)>,
    /// Inputs that were applied before, and so were skipped.
    pub duplicates: usize,
}

impl Effects {
    /// The JSON of the next output; made in one piece when it is about as long as the one before.
    pub fn body(&self, content: &impl Serialize) -> Result<Vec<u8>, StageError> {
        let about = self.outputs.last().map_or(0, |(_, output)| output.payload.len());
        let mut body = Vec::with_capacity(about + about / 8);
        serde_json::to_writer(&mut body, content).map_err(|e| StageError::Data(e.into()))?;
        Ok(body)
    }
}

/// What a service brings to the loop: the meaning of its rows.
pub trait Handler: Send + 'static {
    /// A decoded message; it may keep to the record for its text.
    type Event<'r>: Send + Sync;
    /// What a batch needs of other servers than the stage's own, asked for before its transaction.
    type Prepared: Default + Send;

    /// Reads one record; what cannot be used becomes a dead letter.
    fn decode<'r>(&self, record: &'r Record) -> Result<Self::Event<'r>, Reject>;

    /// Asks other servers, while no transaction is open and no offset row is locked: a server that hangs must
    /// hold nothing that another instance waits for.
    fn prepare<'r>(
        &mut self,
        _inputs: &[Input<'r, Self::Event<'r>>],
    ) -> impl Future<Output = Result<Self::Prepared, StageError>> {
        ready(Ok(Self::Prepared::default()))
    }

    /// Writes a batch within the transaction that also moves the offsets.
    ///
    /// **Idempotent** where the transaction repeats: it may run again after a rollback, and must not
    /// remember anything of a run that was not committed.
    fn apply<'r>(
        &mut self,
        transaction: &mut PgConnection,
        inputs: &[Input<'r, Self::Event<'r>>],
        prepared: Self::Prepared,
    ) -> impl Future<Output = Result<Effects, StageError>>;
}
