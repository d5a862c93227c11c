//! Which dead letters are meant.

use chrono::{DateTime, Utc};
use sqlx::Arguments as _;
use sqlx::postgres::PgArguments;
use strata_events::StageId;

/// The condition that [`Filter::arguments`] fills, on `ops.dead_letters as d`: `$1` to `$7`.
macro_rules! matching {
    () => {
        "($1::bigint[] is null or d.id = any($1)) \
         and ($2::text is null or d.reason = $2) \
         and ($3::text is null or d.stream = $3) \
         and ($4::text is null or d.stage = $4) \
         and ($5::timestamptz is null or d.first_seen >= $5) \
         and ($6::timestamptz is null or d.first_seen < $6) \
         and ($7::text[] is null or d.status = any($7))"
    };
}
pub(super) use matching;

/// Dead letters that nobody has settled: those that wait for somebody, and those that wait for reference data.
pub const UNSETTLED: [&str; 2] = ["open", "parked"];

/// All conditions must hold; without any, every dead letter is meant.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Numbers of dead letters; any where it is empty.
    pub ids: Vec<i64>,
    /// Why the stage refused it, for example unknown_user.
    pub reason: Option<String>,
    /// Name of the stream.
    pub stream: Option<String>,
    /// Who refused it.
    pub stage: Option<StageId>,
    /// Refused since then.
    pub since: Option<DateTime<Utc>>,
    /// Refused before then.
    pub until: Option<DateTime<Utc>>,
}

impl Filter {
    /// True when every dead letter is meant.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
            && self.reason.is_none()
            && self.stream.is_none()
            && self.stage.is_none()
            && self.since.is_none()
            && self.until.is_none()
    }

    /// What fills `$1` to `$7`; no statuses mean any.
    pub fn arguments(&self, statuses: Option<&[&str]>) -> anyhow::Result<PgArguments> {
        let mut arguments = PgArguments::default();
        let ids = (!self.ids.is_empty()).then_some(&self.ids);
        let filled = [
            arguments.add(ids),
            arguments.add(&self.reason),
            arguments.add(&self.stream),
            arguments.add(self.stage.map(StageId::as_str)),
            arguments.add(self.since),
            arguments.add(self.until),
            arguments.add(statuses),
        ];
        filled.into_iter().collect::<Result<(), _>>().map_err(anyhow::Error::from_boxed)?;
        Ok(arguments)
    }
}
