//! The loop of the fleet: from a topic into a store and on to the next topic, exactly once.
//!
//! [`worker`] runs the loop, a [`stage::Stage`] keeps offset and data together, a [`stage::Handler`] knows what the
//! rows mean. No stream is known here: a [`strata_service::config::Route`] says what is read and written.

pub mod admin;
pub mod connection;
pub mod consumer;
pub mod dead_letter;
pub mod entrance;
pub mod error;
mod failure;
pub mod guard;
pub mod loops;
pub mod loss;
pub mod metrics;
pub mod operator_lock;
pub mod parked;
mod partitioner;
pub mod partitions;
pub mod pending;
pub mod pg_stage;
mod position;
mod probe;
pub mod producer;
pub mod record;
pub mod replay;
pub mod retention;
pub mod seams;
#[cfg(test)]
mod simulation;
pub mod stage;
mod stuck;
mod topic_check;
mod trace;
mod turn;
mod watchdog;
pub mod watermark;
pub mod worker;
mod writers;

pub use dead_letter::DeadLetters;
pub use error::StageError;
pub use guard::DeadLetterGuard;
pub use loops::Loops;
pub use operator_lock::OperatorLock;
pub use partitions::Partitions;
pub use pg_stage::PgStage;
pub use producer::Producer;
pub use record::{Output, OutputHeaders, Record};
pub use stage::{Effects, Handler, Input};
pub use turn::LoopSettings;
pub use worker::Worker;
