//! Every stream with the model that it is compared with.

use std::pin::Pin;
use std::time::Duration;

use strata_streams::StreamDef;
use strata_streams::click::CLICK;
use strata_streams::hotel_search::HOTEL_SEARCH;
use strata_streams::order::ORDER;

use crate::click::assert_clicks_equal;
use crate::compare::assert_warehouse_equals;
use crate::fleet::Fleet;
use crate::search::assert_searches_equal;

/// Compares every layer of a fleet at rest with the model of one stream.
type Compare = for<'f> fn(&'f Fleet) -> Pin<Box<dyn Future<Output = ()> + 'f>>;

/// The comparisons by stream; a new one is one more line.
const MODELS: &[(&str, Compare)] = &[
    (ORDER.name, |fleet| Box::pin(orders(fleet))),
    (HOTEL_SEARCH.name, |fleet| Box::pin(searches(fleet))),
    (CLICK.name, |fleet| Box::pin(clicks(fleet))),
];

async fn orders(fleet: &Fleet) {
    let model = fleet.model(&fleet.reference().await).await;
    assert_warehouse_equals(fleet.pool(), &model).await;
}

async fn searches(fleet: &Fleet) {
    assert_searches_equal(fleet, &fleet.search_model().await).await;
}

async fn clicks(fleet: &Fleet) {
    assert_clicks_equal(fleet.pool(), &fleet.click_model().await).await;
}

impl Fleet {
    /// Waits until every event of a stream has gone through all layers, then compares each with the model; every
    /// record of its first topic must be a valid event.
    ///
    /// **Panics** when a layer differs, or the stream has no model.
    pub async fn assert_exact(&self, stream: &StreamDef, within: Duration) {
        let name = stream.spec.name;
        let (_, compare) =
            MODELS.iter().find(|(known, _)| *known == name).unwrap_or_else(|| panic!("{name} has no model"));
        self.stream_at_rest(stream, within).await;
        compare(self).await;
    }
}
