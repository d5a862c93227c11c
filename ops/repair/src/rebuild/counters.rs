//! `strata rebuild counters`: `cdm.*`, rebuilt from the vault, in one transaction, while the fleet runs.
//!
//! cdm is kept from committing, not from running: its offsets stay where they are. The fold and dds' offsets
//! are read in one statement, and the watermarks are set to what the fold holds: cdm goes on reading where it
//! stood, skips announcements of what was counted, sent or still to be sent, and applies later ones.
//!
//! Killed at any moment, nothing has happened.

use sqlx::PgConnection;
use strata_events::StageId;
use strata_observe::Fleet;
use strata_pipeline::watermark::Watermarks;
use strata_service::{Settings, failpoint};
use strata_streams::order::vault::{ORDER_CATEGORY, ORDER_PRODUCT};
use strata_streams::order::{ORDER, fold};

use super::counted::Counted;
use super::{begin, expect_whole_tables, hold};
use crate::Progress;

/// What was found.
#[derive(Debug)]
pub struct Recounted {
    /// Counters by product, and how many of them were wrong, missing or too many.
    pub products: (i64, i64),
    /// The same by category.
    pub categories: (i64, i64),
    /// Dead letters that are settled by it.
    pub dead_letters: u64,
}

/// Rebuilds the counters, under the lock that the caller holds.
pub async fn rebuild(
    settings: &Settings,
    fleet: &Fleet,
    progress: &mut Progress<'_>,
) -> anyhow::Result<Recounted> {
    let partitions = partitions(settings, fleet)?;
    progress("counting", 0);
    let mut tx = begin(&fleet.pool).await?;
    let recounted = recount(&mut tx, settings, &partitions).await?;
    failpoint::pass("rebuild_in_transaction")?;
    tx.commit().await?;
    Ok(recounted)
}

/// The partitions of cdm's topic.
pub fn partitions(settings: &Settings, fleet: &Fleet) -> anyhow::Result<Vec<(i32, i64, i64)>> {
    let topic = settings.topics.name(ORDER.topic(StageId::Cdm));
    let partitions = fleet.watermarks(topic)?;
    anyhow::ensure!(!partitions.is_empty(), "Kafka has no topic {topic}; start the fleet first");
    Ok(partitions)
}

/// Counts again within the caller's transaction.
///
/// **Idempotent**: counters that are right stay as they are.
pub async fn recount(
    tx: &mut PgConnection,
    settings: &Settings,
    partitions: &[(i32, i64, i64)],
) -> anyhow::Result<Recounted> {
    let [dds_topic, cdm_topic] =
        [StageId::Dds, StageId::Cdm].map(|stage| settings.topics.name(ORDER.topic(stage)));
    expect_whole_tables(tx).await?;
    hold(tx, StageId::Cdm.as_str(), cdm_topic, partitions).await?;
    type Found = (i64, i64, i64, i64, Vec<i32>, Vec<i64>);
    let recount = include_str!("../../sql/recount.sql")
        .replace(":products", &fold::counters(&ORDER_PRODUCT))
        .replace(":categories", &fold::counters(&ORDER_CATEGORY));
    let recount = sqlx::query_as(&recount).bind(dds_topic);
    let (products, wrong_products, categories, wrong_categories, read, next): Found =
        recount.fetch_one(&mut *tx).await?;
    let counted = Counted::new(tx, [dds_topic, cdm_topic], read.into_iter().zip(next)).await?;
    let mut watermarks = Watermarks::default();
    for origin in counted.origins() {
        for (partition, ..) in partitions {
            watermarks.advance(*partition, &origin);
        }
    }
    watermarks.write(tx, StageId::Cdm.as_str(), cdm_topic).await?;
    Ok(Recounted {
        products: (products, wrong_products),
        categories: (categories, wrong_categories),
        dead_letters: counted.mark(tx).await?,
    })
}
