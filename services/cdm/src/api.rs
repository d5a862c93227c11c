//! REST: what a user orders, by product and by category.

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::PgPool;
use strata_service::ServiceSpec;
use strata_service::config::{self, Secret};
use strata_service::http::{ApiError, Checked, require_api_key};
use strata_vault::hub_key;
use uuid::Uuid;

use crate::store::read_counters;

/// Name, port and API description of the service.
pub const SPEC: ServiceSpec = ServiceSpec {
    name: "cdm_service",
    port_variable: "CDM_PORT",
    openapi: include_str!("../openapi.json"),
    has_events: true,
};

/// Rows in an answer where the request names no limit.
const DEFAULT_LIMIT: i64 = 100;
/// Most rows in an answer.
const MAX_LIMIT: i64 = 1000;

/// The routes of the counters, which tell of one person each: with a key, they want it.
pub fn routes(pool: PgPool, key: Option<Secret>) -> Router {
    Router::new()
        .route("/counters/users/{user_id}/products", get(products))
        .route("/counters/users/{user_id}/categories", get(categories))
        .route_layer(from_fn_with_state(key, require_api_key))
        .with_state(pool)
        .route("/", get(index))
}

/// Where a browser goes on from here.
async fn index() -> Json<Value> {
    let port = config::value("CONSOLE_PORT").unwrap_or_else(|| "5015".to_owned());
    let console = format!("strata serve, port {port}");
    Json(json!({"service": SPEC.name, "console": console, "description": "/openapi.json"}))
}

#[derive(Deserialize)]
struct Page {
    limit: Option<String>,
}

impl Page {
    fn limit(&self) -> Result<i64, ApiError> {
        let Some(text) = &self.limit else { return Ok(DEFAULT_LIMIT) };
        text.parse().ok().filter(|n| (1..=MAX_LIMIT).contains(n)).ok_or_else(|| {
            ApiError::new(StatusCode::BAD_REQUEST, format!("limit must be a number from 1 to {MAX_LIMIT}"))
        })
    }
}

/// A user's counters, most ordered first.
#[derive(Serialize)]
struct Counters<T> {
    /// Vault key of the user.
    user_id: Uuid,
    /// Rows there are in all; `data` holds at most `limit` of them.
    count: i64,
    /// Rows in this answer at most.
    limit: i64,
    data: Vec<T>,
}

#[derive(Serialize)]
struct ProductRow {
    product_id: Uuid,
    product_name: String,
    order_cnt: i64,
}

#[derive(Serialize)]
struct CategoryRow {
    category_id: Uuid,
    category_name: String,
    order_cnt: i64,
}

async fn products(
    State(pool): State<PgPool>,
    Checked(Path(user)): Checked<Path<String>>,
    Checked(Query(page)): Checked<Query<Page>>,
) -> Result<Json<Counters<ProductRow>>, ApiError> {
    let statement = include_str!("../sql/select_user_product_counters.sql");
    let row = |(product_id, product_name, order_cnt)| ProductRow { product_id, product_name, order_cnt };
    counters(&pool, statement, &user, &page, row).await
}

async fn categories(
    State(pool): State<PgPool>,
    Checked(Path(user)): Checked<Path<String>>,
    Checked(Query(page)): Checked<Query<Page>>,
) -> Result<Json<Counters<CategoryRow>>, ApiError> {
    let statement = include_str!("../sql/select_user_category_counters.sql");
    let row = |(category_id, category_name, order_cnt)| CategoryRow { category_id, category_name, order_cnt };
    counters(&pool, statement, &user, &page, row).await
}

async fn counters<T>(
    pool: &PgPool,
    statement: &'static str,
    user: &str,
    page: &Page,
    row: impl FnMut((Uuid, String, i64)) -> T,
) -> Result<Json<Counters<T>>, ApiError> {
    let (user_id, limit) = (user_key(user)?, page.limit()?);
    let (count, rows) = read_counters(pool, statement, user_id, limit)
        .await
        .map_err(|e| ApiError::postgres_unavailable(pool, &e))?;
    Ok(Json(Counters { user_id, count, limit, data: rows.into_iter().map(row).collect() }))
}

/// Takes a vault key as it is and makes one of a business id.
fn user_key(text: &str) -> Result<Uuid, ApiError> {
    if text.len() == 36
        && let Ok(key) = text.parse()
    {
        return Ok(key);
    }
    if text.len() == 24 && text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Ok(hub_key(text));
    }
    let message = "user_id must be a business id of 24 hexadecimal characters or a vault key (uuid)";
    Err(ApiError::new(StatusCode::BAD_REQUEST, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_either_id() {
        let key = user_key("d3275d9d9530440ea2b0be23").expect("business id");
        assert_eq!(user_key("25f98706-7d86-3388-bfba-ea8376a8bbe1").expect("vault key"), key);
        for text in ["", "d3275d9d", "zzzzzzzzzzzzzzzzzzzzzzzz", "25f98706-7d86-3388-bfba-ea8376a8bbzz"] {
            assert!(user_key(text).is_err(), "{text}");
        }
    }
}
