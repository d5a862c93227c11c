//! A filled warehouse of an earlier release is migrated while the fleet runs.

use sqlx::Executor as _;
use strata_testkit::migrate;

use crate::searches;
use crate::support::{assert_exact, launch, load, random, versions};

/// Link tables as they were before `0014_link_keys.sql`: the hash was the primary key, an index found an order.
const HASHES_AS_KEYS: &str = "
    alter table dds.l_order_user drop constraint pk_l_order_user,
        add constraint pk_l_order_user primary key (hk_order_user_pk);
    alter table dds.l_order_product drop constraint pk_l_order_product,
        add constraint pk_l_order_product primary key (hk_order_product_pk);
    alter table dds.l_order_category drop constraint pk_l_order_category,
        add constraint pk_l_order_category primary key (hk_order_category_pk);
    alter table dds.l_product_restaurant drop constraint pk_l_product_restaurant,
        add constraint pk_l_product_restaurant primary key (hk_product_restaurant_pk);
    alter table dds.l_product_category drop constraint pk_l_product_category,
        add constraint pk_l_product_category primary key (hk_product_category_pk);
    create index ix_l_order_user_order on dds.l_order_user (h_order_pk);
    create index ix_l_order_product_order on dds.l_order_product (h_order_pk);
    create index ix_l_order_category_order on dds.l_order_category (h_order_pk);
    create index ix_l_product_category_product on dds.l_product_category (h_product_pk)";

/// Raw tables and counters as they were before `0019_event_keys.sql`: the id was the primary key, what a row is about
/// was unique besides.
const IDS_AS_KEYS: &str = "
    alter table stg.order_events drop constraint pk_order_events,
        add constraint pk_order_events primary key (id),
        add constraint uq_order_events_object_id unique (object_id);
    alter table stg.hotel_search_events drop constraint pk_hotel_search_events,
        add constraint pk_hotel_search_events primary key (id),
        add constraint uq_hotel_search_events_event_id unique (event_id);
    alter table cdm.user_product_counters drop constraint pk_user_product_counters,
        add constraint pk_user_product_counters primary key (id),
        add constraint uq_user_product_counters_user_product unique (user_id, product_id);
    alter table cdm.user_category_counters drop constraint pk_user_category_counters,
        add constraint pk_user_category_counters primary key (id),
        add constraint uq_user_category_counters_user_category unique (user_id, category_id)";

#[tokio::test]
async fn a_filled_warehouse_gets_its_new_keys_while_events_arrive() {
    // GIVEN a warehouse that was filled under the old keys
    let fleet = launch(&[("BATCH_MAX_ROWS", "100")]).await;
    for old in [HASHES_AS_KEYS, IDS_AS_KEYS, "delete from _sqlx_migrations where version in (14, 19)"] {
        fleet.pool().execute(old).await.expect("the old keys");
    }
    let mut random = random();
    let (first, more) = (versions(&mut random, 60, 3), versions(&mut random, 90, 3));
    tokio::join!(load(&fleet, 500, &first), fleet.push_searches(200));
    assert_exact(&fleet).await;
    // WHEN it is migrated while events arrive, of orders that it knows among them
    tokio::join!(load(&fleet, 500, &more), fleet.push_searches(400), migrate(fleet.pool()));
    // THEN rows are unique by what they are about and need no other index
    let indexes: Vec<String> = sqlx::query_scalar(
        "select indexdef from pg_indexes where (schemaname = 'dds' and tablename like 'l\\_%' \
         and tablename not in ('l_hotel_search', 'l_click')) or schemaname in ('stg', 'cdm') order by schemaname, tablename",
    )
    .fetch_all(fleet.pool())
    .await
    .expect("the indexes");
    let keys = [
        ("cdm", "user_category_counters", "user_id, category_id"),
        ("cdm", "user_product_counters", "user_id, product_id"),
        ("dds", "l_order_category", "h_order_pk, h_category_pk"),
        ("dds", "l_order_product", "h_order_pk, h_product_pk"),
        ("dds", "l_order_user", "h_order_pk, h_user_pk"),
        ("dds", "l_product_category", "h_product_pk, h_category_pk"),
        ("dds", "l_product_restaurant", "h_product_pk, h_restaurant_pk"),
        ("stg", "click_events", "event_id"),
        ("stg", "hotel_search_events", "event_id"),
        ("stg", "order_events", "object_id"),
    ];
    let expected = keys.map(|(schema, table, columns)| {
        format!("CREATE UNIQUE INDEX pk_{table} ON {schema}.{table} USING btree ({columns})")
    });
    assert_eq!(indexes, expected);
    // AND every layer equals the model, and the one before it
    assert_exact(&fleet).await;
    searches::support::assert_exact(&fleet).await;
    fleet.strata_ok(&["reconcile"]).await;
}
