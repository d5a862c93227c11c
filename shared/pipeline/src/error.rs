//! Why a stage cannot go on with a batch.

use strata_service::failpoint::Failed;

/// Why a batch was not applied. Nothing of it is stored.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// Another instance moved the offset: it owns the partition, or did.
    #[error(
        "the stored offset of partition {partition} is {stored}, expected {expected}: another instance was here"
    )]
    Fenced {
        /// Partition concerned.
        partition: i32,
        /// Offset in the store.
        stored: i64,
        /// Offset this instance had reached.
        expected: i64,
    },
    /// A dependency failed; the same batch will do later.
    #[error("{dependency} failed")]
    Transient {
        /// What failed, for people.
        dependency: &'static str,
        /// The cause.
        #[source]
        source: anyhow::Error,
    },
    /// The store refuses values of the batch; repeating cannot help.
    #[error("the store refuses a value")]
    Data(#[source] anyhow::Error),
    /// Only an operator can help; the sentence says how. Tried again all the same.
    #[error("{0}")]
    NeedsOperator(String),
}

impl StageError {
    /// True when the store did not give a lock in time.
    pub fn is_lock_timeout(&self) -> bool {
        let Self::Transient { source, .. } = self else { return false };
        source.downcast_ref().is_some_and(strata_service::pg::is_lock_timeout)
    }
}

impl From<Failed> for StageError {
    fn from(failed: Failed) -> Self {
        Self::Transient { dependency: "a failpoint", source: failed.into() }
    }
}

impl From<sqlx::Error> for StageError {
    fn from(error: sqlx::Error) -> Self {
        if strata_service::pg::is_data_error(&error) {
            return Self::Data(error.into());
        }
        Self::Transient { dependency: "postgres", source: error.into() }
    }
}

impl From<redis::RedisError> for StageError {
    fn from(error: redis::RedisError) -> Self {
        Self::Transient { dependency: "redis", source: error.into() }
    }
}
