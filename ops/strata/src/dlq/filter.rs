//! Which dead letters are meant.

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use sqlx::postgres::{PgArguments, Postgres};
use sqlx::query::{QueryAs, QueryScalar};
use strata_events::StageId;

/// The condition that [`Filter::bind`] fills, on `ops.dead_letters as d`: `$1` to `$7`.
macro_rules! matching {
    () => {
        "($1::bigint[] is null or d.id = any($1)) \
         and ($2::text is null or d.reason = $2) \
         and ($3::text is null or d.stream = $3) \
         and ($4::text is null or d.stage = $4) \
         and ($5::timestamptz is null or d.first_seen >= $5) \
         and ($6::timestamptz is null or d.first_seen < $6) \
         and ($7::text is null or d.status = $7)"
    };
}
pub(super) use matching;

/// All conditions must hold; without any, every dead letter is meant.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Filter {
    /// Number of a dead letter; several times for several.
    #[arg(long)]
    id: Vec<i64>,
    /// Why the stage refused it, for example unknown_user.
    #[arg(long)]
    reason: Option<String>,
    /// order or hotel_search.
    #[arg(long)]
    stream: Option<String>,
    /// stg, dds or cdm.
    #[arg(long)]
    stage: Option<StageId>,
    /// Refused since then: 2026-05-01, 2026-05-01T12:00:00Z, or 90s, 15m, 2h, 3d ago.
    #[arg(long, value_parser = parse_time)]
    since: Option<DateTime<Utc>>,
    /// Refused before then.
    #[arg(long, value_parser = parse_time)]
    until: Option<DateTime<Utc>>,
}

impl Filter {
    /// True when every dead letter is meant.
    pub fn is_empty(&self) -> bool {
        self.id.is_empty()
            && self.reason.is_none()
            && self.stream.is_none()
            && self.stage.is_none()
            && self.since.is_none()
            && self.until.is_none()
    }

    /// Refuses to change every dead letter unless `all` says that this is meant.
    pub fn require_choice(&self, all: bool) -> anyhow::Result<()> {
        anyhow::ensure!(
            all || !self.is_empty(),
            "which ones? Say --id, --reason, --stream, --stage, --since or --until, or --all"
        );
        Ok(())
    }

    fn ids(&self) -> Option<Vec<i64>> {
        (!self.id.is_empty()).then(|| self.id.clone())
    }

    /// Fills `$1` to `$7`; no status means any.
    pub fn bind<'q, T>(
        &'q self,
        query: QueryAs<'q, Postgres, T, PgArguments>,
        status: Option<&'q str>,
    ) -> QueryAs<'q, Postgres, T, PgArguments> {
        query
            .bind(self.ids())
            .bind(&self.reason)
            .bind(&self.stream)
            .bind(self.stage.map(StageId::as_str))
            .bind(self.since)
            .bind(self.until)
            .bind(status)
    }

    /// As [`Filter::bind`], for a single value.
    pub fn bind_scalar<'q, T>(
        &'q self,
        query: QueryScalar<'q, Postgres, T, PgArguments>,
        status: Option<&'q str>,
    ) -> QueryScalar<'q, Postgres, T, PgArguments> {
        query
            .bind(self.ids())
            .bind(&self.reason)
            .bind(&self.stream)
            .bind(self.stage.map(StageId::as_str))
            .bind(self.since)
            .bind(self.until)
            .bind(status)
    }
}

/// Reads a moment, a day (its first moment, UTC) or a time before now.
fn parse_time(text: &str) -> Result<DateTime<Utc>, String> {
    if let Ok(moment) = DateTime::parse_from_rfc3339(text) {
        return Ok(moment.with_timezone(&Utc));
    }
    if let Ok(day) = text.parse::<NaiveDate>() {
        return Ok(day.and_time(chrono::NaiveTime::MIN).and_utc());
    }
    let seconds = text.char_indices().last().and_then(|(at, unit)| {
        let factor = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86_400,
            _ => return None,
        };
        text[..at].parse::<u32>().ok().map(|number| i64::from(number) * factor)
    });
    let ago = seconds.and_then(TimeDelta::try_seconds).and_then(|ago| Utc::now().checked_sub_signed(ago));
    ago.ok_or_else(|| {
        "neither a moment (2026-05-01T12:00:00Z), a day (2026-05-01) nor 90s, 15m, 2h, 3d".into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_moments_days_or_ago() {
        assert_eq!(parse_time("2026-05-01").map(|t| t.to_rfc3339()), Ok("2026-05-01T00:00:00+00:00".into()));
        let moment = parse_time("2026-05-01T12:00:00+02:00").map(|t| t.to_rfc3339());
        assert_eq!(moment, Ok("2026-05-01T10:00:00+00:00".into()));
        let ago = Utc::now() - parse_time("2h").expect("two hours");
        assert!((7199..=7201).contains(&ago.num_seconds()), "{ago}");
        for text in ["", "h", "2w", "yesterday", "-1h", "2й", "4294967295d"] {
            assert!(parse_time(text).is_err(), "{text}");
        }
    }

    #[test]
    fn nothing_chosen_is_not_everything() {
        assert!(Filter::default().require_choice(false).is_err());
        assert!(Filter::default().require_choice(true).is_ok());
        assert!(Filter { id: vec![1], ..Filter::default() }.require_choice(false).is_ok());
    }
}
