//! A filled warehouse of an earlier release is migrated while the fleet runs.

use sqlx::Executor as _;
use strata_testkit::migrate;

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
    create index ix_l_product_category_product on dds.l_product_category (h_product_pk);
    delete from _sqlx_migrations where version = 14";

#[tokio::test]
async fn a_filled_vault_gets_its_new_link_keys_while_orders_arrive() {
    // GIVEN a vault that was filled under the old keys
    let fleet = launch(&[("BATCH_MAX_ROWS", "100")]).await;
    fleet.pool().execute(HASHES_AS_KEYS).await.expect("the old keys");
    let mut random = random();
    load(&fleet, 500, &versions(&mut random, 60, 3)).await;
    assert_exact(&fleet).await;
    // WHEN it is migrated while orders arrive, those it knows among them
    let more = versions(&mut random, 90, 3);
    tokio::join!(load(&fleet, 500, &more), migrate(fleet.pool()));
    // THEN the links are unique by their hubs and need no other index
    let indexes: Vec<String> = sqlx::query_scalar(
        "select indexdef from pg_indexes where schemaname = 'dds' and tablename like 'l\\_%' \
         and tablename <> 'l_hotel_search' order by tablename",
    )
    .fetch_all(fleet.pool())
    .await
    .expect("the indexes");
    let keys = [
        ("order_category", "h_order_pk, h_category_pk"),
        ("order_product", "h_order_pk, h_product_pk"),
        ("order_user", "h_order_pk, h_user_pk"),
        ("product_category", "h_product_pk, h_category_pk"),
        ("product_restaurant", "h_product_pk, h_restaurant_pk"),
    ];
    let expected = keys.map(|(link, columns)| {
        format!("CREATE UNIQUE INDEX pk_l_{link} ON dds.l_{link} USING btree ({columns})")
    });
    assert_eq!(indexes, expected);
    // AND every layer equals the model, and the one before it
    assert_exact(&fleet).await;
    fleet.strata_ok(&["reconcile"]).await;
}
