//! `strata rebuild vault`.

use strata_testkit::{Fleet, Reference, Service};

use super::{assert_all_exact, assert_same, contents, die_in, launch_filled, tamper, under_load};
use crate::support::{SOON, launch, load, random, reference, simple_order, versions};

const REBUILD: [&str; 2] = ["rebuild", "vault"];

/// All of it.
const VAULT: [&str; 19] = [
    "dds.h_user",
    "dds.h_product",
    "dds.h_category",
    "dds.h_restaurant",
    "dds.h_order",
    "dds.h_hotel",
    "dds.h_advertiser",
    "dds.l_order_product",
    "dds.l_product_restaurant",
    "dds.l_product_category",
    "dds.l_order_user",
    "dds.l_order_category",
    "dds.l_hotel_search",
    "dds.s_user_names",
    "dds.s_product_names",
    "dds.s_restaurant_names",
    "dds.s_order_cost",
    "dds.s_order_status",
    "dds.s_hotel_search_offers",
];

/// Tables whose rows belong to one order or search each: these come back as they were, time and place included.
/// Of what several share, the first sighting stands, and which that was depends on how partitions were read.
const OF_ONE: [&str; 8] = [
    "dds.h_order",
    "dds.l_order_product",
    "dds.l_order_user",
    "dds.l_order_category",
    "dds.s_order_cost",
    "dds.s_order_status",
    "dds.l_hotel_search",
    "dds.s_hotel_search_offers",
];

const COUNTERS: [&str; 2] = ["cdm.user_product_counters", "cdm.user_category_counters"];

/// Deletes rows of every table of the vault.
async fn lose_rows(fleet: &Fleet) {
    for table in VAULT {
        tamper(fleet, &format!("delete from {table} as t where hashtext(t::text) % 4 = 0 or not exists (select from {table} as o where hashtext(o::text) % 4 = 0)")).await;
    }
}

#[tokio::test]
async fn rows_that_the_vault_lost_come_back_as_they_were() {
    // GIVEN a vault that lost rows of every table, all of which staging can bring back
    let fleet = launch_filled().await;
    let (rows, counters) = (contents(&fleet, &OF_ONE).await, contents(&fleet, &COUNTERS).await);
    lose_rows(&fleet).await;
    tamper(&fleet, "update cdm.user_product_counters set order_cnt = order_cnt + 1 where id % 5 = 0").await;
    let damaged = contents(&fleet, &VAULT).await;
    // WHEN a rebuild is killed before its commit
    die_in(&fleet, &REBUILD, "rebuild_in_transaction").await;
    // THEN it has changed nothing
    assert_same(&contents(&fleet, &VAULT).await, &damaged);
    // WHEN it is run
    fleet.strata_ok(&REBUILD).await;
    // THEN the rows are there again, the same ones, and every layer equals the model
    assert_same(&contents(&fleet, &OF_ONE).await, &rows);
    assert_same(&contents(&fleet, &COUNTERS).await, &counters);
    assert_all_exact(&fleet).await;
}

#[tokio::test]
async fn a_vault_is_filled_under_load_and_a_rebuild_may_die_in_between() {
    // GIVEN a fleet under load whose vault loses rows
    let fleet = launch_filled().await;
    let work = async {
        lose_rows(&fleet).await;
        die_in(&fleet, &REBUILD, "rebuild_in_transaction").await;
        // WHEN the vault is rebuilt, and the tool dies right after that
        die_in(&fleet, &REBUILD, "rebuild_committed").await;
    };
    under_load(&fleet, work).await;
    // THEN every layer equals the model all the same
    assert_all_exact(&fleet).await;
    // WHEN rows are lost once more, and it is run again and again
    let work = async {
        lose_rows(&fleet).await;
        for _ in 0..3 {
            fleet.strata_ok(&REBUILD).await;
        }
    };
    under_load(&fleet, work).await;
    // THEN every layer equals the model
    assert_all_exact(&fleet).await;
}

#[tokio::test]
async fn what_only_the_vault_knows_stays() {
    // GIVEN orders in several versions, of which staging holds the newest
    let fleet = launch(&[]).await;
    load(&fleet, 100, &versions(&mut random(), 60, 5)).await;
    fleet.push_searches(200).await;
    assert_all_exact(&fleet).await;
    let before = (contents(&fleet, &VAULT).await, contents(&fleet, &COUNTERS).await);
    // WHEN people were renamed and dishes moved to other categories since, and the vault is rebuilt
    fleet.put_reference(&renamed()).await;
    fleet.strata_ok(&REBUILD).await;
    // THEN nothing has changed
    let after = (contents(&fleet, &VAULT).await, contents(&fleet, &COUNTERS).await);
    assert_same(&after.0, &before.0);
    assert_same(&after.1, &before.1);
    // WHEN rows of the newest versions are lost: the state and the cost
    let lose = "delete from dds.s_order_status as s using stg.order_events as e, dds.h_order as h \
                where h.order_id = e.object_id and s.h_order_pk = h.h_order_pk and s.load_seq = e.load_offset * 4096 + e.load_partition";
    tamper(&fleet, lose).await;
    tamper(&fleet, &lose.replace("s_order_status", "s_order_cost")).await;
    fleet.strata_ok(&REBUILD).await;
    // THEN exactly these come back, and the counters have not moved
    assert_same(&contents(&fleet, &VAULT).await, &before.0);
    assert_same(&contents(&fleet, &COUNTERS).await, &before.1);
}

/// The reference data with other names, and every dish in another category.
fn renamed() -> Reference {
    let mut reference = reference();
    for user in reference.users.values_mut() {
        user.name.push_str(" the Second");
    }
    for restaurant in reference.restaurants.values_mut() {
        for dish in &mut restaurant.menu {
            dish.category = "Somewhere else".to_owned();
        }
    }
    reference
}

#[tokio::test]
async fn a_vault_that_cannot_be_trusted_is_emptied_and_rebuilt() {
    // GIVEN a vault with rows that say something else than what was sent
    let fleet = launch_filled().await;
    for statement in [
        "update dds.s_order_cost set cost = cost + 1",
        "update dds.s_order_status set status = 'CLOSED' where status = 'OPEN'",
        "update dds.h_product set product_id = 'x' || product_id",
        "update dds.s_hotel_search_offers set min_price = min_price + 5",
        "insert into dds.l_order_product select gen_random_uuid(), h_order_pk, gen_random_uuid(), load_dt, load_src from dds.h_order limit 9",
        // AND a table that somebody else keeps in the same schema
        "create table dds.notes as select 'mine' as note",
    ] {
        tamper(&fleet, statement).await;
    }
    let damaged = contents(&fleet, &VAULT).await;
    // WHEN nobody confirms that history may go
    for arguments in
        [&["rebuild", "vault", "--truncate"][..], &["rebuild", "vault", "--truncate", "--confirm", "another"]]
    {
        assert!(!fleet.strata(arguments).await.status.success(), "{arguments:?}");
    }
    // THEN nothing happens
    assert_same(&contents(&fleet, &VAULT).await, &damaged);
    // WHEN it is confirmed, under load
    let database: String =
        sqlx::query_scalar("select current_database()").fetch_one(fleet.pool()).await.expect("a name");
    let truncate = ["rebuild", "vault", "--truncate", "--confirm", &database];
    let work = async {
        die_in(&fleet, &truncate, "rebuild_in_transaction").await;
        fleet.strata_ok(&truncate).await;
    };
    under_load(&fleet, work).await;
    // THEN every layer equals the model
    assert_all_exact(&fleet).await;
    // AND what is not the fleet's is as it was
    let notes: Vec<String> =
        sqlx::query_scalar("select note from dds.notes").fetch_all(fleet.pool()).await.expect("notes");
    assert_eq!(notes, ["mine"]);
}

#[tokio::test]
async fn what_dds_has_still_to_read_is_left_to_it() {
    // GIVEN orders and searches that stg has passed on and dds has not read
    let fleet = launch(&[]).await;
    fleet.kill(Service::Dds);
    let orders: Vec<_> = (0..100).map(|n| simple_order(n, "CLOSED")).collect();
    fleet.ingest(&orders).await;
    fleet.push_searches(200).await;
    fleet.stage_at_rest(Service::Stg, &fleet.stg_topic(), SOON).await;
    fleet.stage_at_rest(Service::Stg, &fleet.raw_topic(), SOON).await;
    // WHEN the vault is rebuilt, and the tool dies before it comes to the metrics
    die_in(&fleet, &REBUILD, "rebuild_committed").await;
    let searches: i64 = sqlx::query_scalar("select count(*) from dds.l_hotel_search")
        .fetch_one(fleet.pool())
        .await
        .expect("rows");
    assert_eq!(searches, 0);
    fleet.start(Service::Dds);
    // THEN dds brings them, announces them, and they count
    assert_all_exact(&fleet).await;
}
