//! Kafka: producing with acknowledgements, and the one consumer loop of the fleet.
//!
//! [`worker`] turns the loop, a [`stage::Stage`] keeps offset and data together, a
//! [`stage::Handler`] knows what the rows mean.

pub mod admin;
pub mod connection;
pub mod consumer;
pub mod dead_letter;
pub mod entrance;
pub mod guard;
pub mod loss;
pub mod parked;
pub mod partitions;
pub mod pending;
pub mod pg_stage;
mod position;
mod probe;
pub mod producer;
pub mod record;
pub mod replay;
pub mod stage;
mod stuck;
mod topic_check;
mod trouble;
mod watchdog;
pub mod watermark;
pub mod worker;
mod writers;

pub use dead_letter::DeadLetters;
pub use entrance::Upstream;
pub use guard::DeadLetterGuard;
pub use partitions::Partitions;
pub use pg_stage::PgStage;
pub use producer::Producer;
pub use record::{Output, OutputHeaders, Record};
pub use stage::{Effects, Handler, Input, StageError};
pub use worker::Worker;
