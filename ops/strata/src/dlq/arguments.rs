//! How dead letters are chosen on the command line.

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use strata_events::StageId;
use strata_repair::dead_letters::Filter;
use strata_streams::names;

/// All conditions must hold; without any, every dead letter is meant.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct FilterArgs {
    /// Number of a dead letter; several times for several.
    #[arg(long)]
    id: Vec<i64>,
    /// Why the stage refused it, for example unknown_user.
    #[arg(long)]
    reason: Option<String>,
    /// Name of a stream.
    #[arg(long, help = names())]
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

impl From<FilterArgs> for Filter {
    fn from(FilterArgs { id: ids, reason, stream, stage, since, until }: FilterArgs) -> Self {
        Self { ids, reason, stream, stage, since, until }
    }
}

/// Which dead letters are to change.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Choice {
    #[command(flatten)]
    filter: FilterArgs,
    /// All open dead letters.
    #[arg(long)]
    all: bool,
    /// Dead letters at most, the oldest first.
    #[arg(long)]
    pub limit: Option<u32>,
}

impl Choice {
    /// Refuses to change every dead letter unless `--all` says that this is meant.
    pub fn filter(self) -> anyhow::Result<Filter> {
        let filter = Filter::from(self.filter);
        anyhow::ensure!(
            self.all || !filter.is_empty(),
            "which ones? Say --id, --reason, --stream, --stage, --since or --until, or --all"
        );
        Ok(filter)
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
    let units = [('s', 1), ('m', 60), ('h', 3600), ('d', 86_400)];
    let seconds = units.iter().find_map(|(unit, factor)| {
        let number: u32 = text.strip_suffix(*unit)?.parse().ok()?;
        Some(i64::from(number) * factor)
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
        assert!(Choice::default().filter().is_err());
        assert!(Choice { all: true, ..Choice::default() }.filter().is_ok());
        let one = Choice { filter: FilterArgs { id: vec![1], ..FilterArgs::default() }, ..Choice::default() };
        assert!(one.filter().is_ok());
    }
}
