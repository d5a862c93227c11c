//! The data marts against the fold over the vault, to the row, on a system that does not stand still.
//!
//! dds announces what becomes countable, cdm adds it up later. What cdm has not applied in the snapshot is
//! found as cdm would find it: from its offsets and watermarks on, the records of its topic whose inputs lie
//! below dds' offset in the snapshot, then the outputs that dds has kept, each origin once. Added to the
//! counters they must give the fold.

use std::collections::{BTreeMap, HashMap};

use strata_events::{Contract as _, Origin, StageId};
use strata_pipeline::watermark::Watermarks;
use strata_streams::order::CountedMessage;
use strata_streams::order::ORDER;
use strata_streams::order::counters::{Counted, Increments};

use super::super::keys::{pair, unpair};
use super::super::letters;
use super::super::outputs::origin_of;
use super::super::reader::Reader;
use super::super::report::Check;
use super::super::snapshot::{Offsets, Snapshot};
use super::super::vault::Hub;
use super::vault::{OrderVault, status_fingerprint};
use strata_observe::read_ranges;

/// Orders by (user, thing), as [`pair`].
type Fold = HashMap<u64, i64>;

/// What cdm has not applied.
#[derive(Default)]
pub struct Waiting {
    counted: Counted,
    /// Announcements on their way.
    pub messages: u64,
    /// Announcements that cdm refused.
    pub refused: u64,
}

/// Finds what dds has announced and cdm has not applied.
pub fn waiting(snapshot: &Snapshot<'_>) -> anyhow::Result<Waiting> {
    let [dds_topic, cdm_topic] =
        [StageId::Dds, StageId::Cdm].map(|stage| snapshot.settings.topics.name(ORDER.topic(stage)));
    let announced = snapshot.offsets_of(StageId::Dds.as_str(), dds_topic);
    let stored = snapshot.watermarks_of(StageId::Cdm.as_str(), cdm_topic);
    let (mut waiting, mut marks) = (Waiting::default(), Watermarks::new(stored.clone()));
    let unread = snapshot.unread(StageId::Cdm.as_str(), cdm_topic);
    read_ranges(&snapshot.settings.kafka, cdm_topic, &unread, |record| {
        // What cannot be decoded will be a dead letter.
        if let Ok(message) = CountedMessage::decode(&record.payload)
            && marks.advance(record.partition, &record.source())
        {
            waiting.messages += waiting.add(&announced, dds_topic, &record.source(), &message);
        }
        Ok(())
    })?;
    for output in snapshot.kept_for(StageId::Dds.as_str(), dds_topic, cdm_topic) {
        let partition = output.partition_among(snapshot.partitions(cdm_topic));
        if let (Some(origin), Ok(message)) = (origin_of(output), CountedMessage::decode(&output.payload))
            && marks.advance(partition, &origin)
        {
            waiting.messages += waiting.add(&announced, dds_topic, &origin, &message);
        }
    }
    for letter in letters::unapplied(snapshot, cdm_topic, &stored) {
        if let (Some(start), Ok(message)) = (letter.start(), CountedMessage::decode(&letter.payload)) {
            waiting.refused += waiting.add(&announced, dds_topic, &start, &message);
        }
    }
    Ok(waiting)
}

impl Waiting {
    /// Adds an announcement unless it was made after the snapshot, or by somebody else than dds.
    fn add(
        &mut self,
        announced: &Offsets,
        dds_topic: &str,
        origin: &Origin,
        message: &CountedMessage<'_>,
    ) -> u64 {
        let in_snapshot = *origin.topic == *dds_topic
            && announced.get(&origin.partition).is_some_and(|next| origin.offset < *next);
        if in_snapshot {
            self.counted.add(message);
        }
        u64::from(in_snapshot)
    }
}

/// Checks the counters of the order stream.
pub fn check(reader: &mut Reader, vault: &OrderVault, waiting: &Waiting) -> anyhow::Result<Vec<Check>> {
    let (products, categories) = fold(vault);
    let mut names = Check::new("dds → cdm: names of counters are in the vault");
    let by_product = Mart { thing: "product", users: &vault.users, things: &vault.products };
    let products = by_product.compare(reader, products, &waiting.counted.products, |product, name| {
        names.compared += 1;
        if !vault.product_names.of(product).iter().any(|known| &**known == name) {
            names.differs(|| {
                format!("user_product_counters: {} was never called {name}", vault.products.name(product))
            });
        }
    })?;
    let by_category = Mart { thing: "category", users: &vault.users, things: &vault.categories };
    let categories =
        by_category.compare(reader, categories, &waiting.counted.categories, |category, name| {
            names.compared += 1;
            let known = vault.categories.name(category);
            if known != name {
                names.differs(|| format!("user_category_counters: {known} is called {name}"));
            }
        })?;
    Ok(vec![products, categories, names])
}

/// Distinct closed orders of each user by product and by category.
fn fold(vault: &OrderVault) -> (Fold, Fold) {
    let (mut products, mut categories) = (Fold::new(), Fold::new());
    let closed = status_fingerprint("CLOSED");
    for order in vault.numbers().filter(|order| vault.is_closed(*order, closed)) {
        for user in vault.users_of.of(order) {
            for product in vault.products_of.of(order) {
                *products.entry(pair(*user, *product)).or_default() += 1;
            }
            for category in vault.categories_of.of(order) {
                *categories.entry(pair(*user, *category)).or_default() += 1;
            }
        }
    }
    (products, categories)
}

/// One table of counters.
struct Mart<'a> {
    thing: &'static str,
    users: &'a Hub,
    things: &'a Hub,
}

impl Mart<'_> {
    /// Compares the table with the fold; `named` gets the thing and the name of every row.
    fn compare(
        &self,
        reader: &mut Reader,
        mut fold: Fold,
        waiting: &Increments,
        mut named: impl FnMut(u32, &str),
    ) -> anyhow::Result<Check> {
        let Self { thing, users, things } = self;
        let mut check = Check::new(format!("dds → cdm: counters by {thing} are the fold"));
        for ((user, counted), (_, times)) in waiting {
            let place = users.keys.find(user).zip(things.keys.find(counted));
            // What the vault does not have cannot have been announced by dds.
            if let Some((user, counted)) = place {
                *fold.entry(pair(user, counted)).or_default() -= times;
            }
        }
        let select =
            format!("select user_id, {thing}_id, {thing}_name, order_cnt from cdm.user_{thing}_counters");
        reader.copy_out(&select, |row| {
            let (user, counted, count) = (row.uuid(0)?, row.uuid(1)?, row.bigint(3)?);
            check.compared += 1;
            let place = users.keys.find(&user).zip(things.keys.find(&counted));
            let expected = place.and_then(|(user, counted)| fold.remove(&pair(user, counted)));
            if expected != Some(count) {
                check.differs(|| {
                    let (user, counted) = place.map_or_else(
                        || (user.to_string(), counted.to_string()),
                        |(user, counted)| (users.name(user).to_owned(), things.name(counted).to_owned()),
                    );
                    let expected = expected.unwrap_or_default();
                    format!(
                        "user_{thing}_counters: user {user}, {thing} {counted}: {count} orders, {expected} in the vault"
                    )
                });
            }
            if let Some((_, counted)) = place {
                named(counted, row.text(2)?);
            }
            Ok(())
        })?;
        let rest: BTreeMap<u64, i64> = fold.into_iter().filter(|(_, count)| *count != 0).collect();
        for (place, count) in rest {
            check.differs(|| {
                let (user, counted) = unpair(place);
                let (user, counted) = (users.name(user), things.name(counted));
                format!("user_{thing}_counters: user {user}, {thing} {counted}: no row, {count} orders in the vault")
            });
        }
        Ok(check)
    }
}
