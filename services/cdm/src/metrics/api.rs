//! REST: the live hotel metrics, a page at a time.

use std::fmt::Display;

use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodRouter, get};
use axum::{Json, Router};
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Serialize, Serializer};
use strata_service::config::Secret;
use strata_service::http::{ApiError, Checked, require_api_key};
use strata_service::redis::{Connection, MetricsKeys};
use tower_http::cors::{Any, CorsLayer};

use super::ranking::{Cursor, Page, Ranking};

/// Entries in an answer where the request names no limit.
const DEFAULT_LIMIT: usize = 100;
/// Most entries of a frequency list.
const MAX_LIMIT: usize = 10_000;
/// Most hotels in an answer with their prices.
const MAX_HOTELS: usize = 1000;

const NEXT_CURSOR: HeaderName = HeaderName::from_static("x-next-cursor");
const LIMIT: HeaderName = HeaderName::from_static("x-limit");

/// Where the metrics are read.
#[derive(Clone)]
struct Metrics {
    ranking: Ranking,
    keys: MetricsKeys,
}

/// The routes of the metrics. Any web page may read those that tell of nobody; users want the key.
pub fn routes(redis: Connection, keys: MetricsKeys, key: Option<Secret>) -> Router {
    let cors = CorsLayer::new().allow_origin(Any).allow_methods([Method::GET]).expose_headers([
        NEXT_CURSOR,
        LIMIT,
        header::LINK,
    ]);
    // Else the service's answer to methods it does not know would come before the layer's to a preflight.
    let open = |route: MethodRouter<Metrics>| route.options(|| async { StatusCode::NO_CONTENT });
    let persons =
        Router::new().route("/users", get(users)).route_layer(from_fn_with_state(key, require_api_key));
    Router::new()
        .route("/hotels", open(get(hotels)))
        .route("/advertisers", open(get(advertisers)))
        .route("/hotel_min_offer_per_advertiser", open(get(prices)))
        .layer(cors)
        .merge(persons)
        .with_state(Metrics { ranking: Ranking::new(redis), keys })
}

#[derive(Deserialize)]
struct PageRequest {
    limit: Option<String>,
    cursor: Option<String>,
}

impl PageRequest {
    fn limit(&self, max: usize) -> Result<usize, ApiError> {
        let Some(text) = &self.limit else { return Ok(DEFAULT_LIMIT) };
        text.parse().ok().filter(|n| (1..=max).contains(n)).ok_or_else(|| {
            ApiError::new(StatusCode::BAD_REQUEST, format!("limit must be a number from 1 to {max}"))
        })
    }

    fn cursor(&self) -> Result<Option<Cursor>, ApiError> {
        let Some(text) = &self.cursor else { return Ok(None) };
        let cursor = Cursor::decode(text).ok_or_else(|| {
            ApiError::new(StatusCode::BAD_REQUEST, "cursor must be the one that the page before gave")
        })?;
        Ok(Some(cursor))
    }
}

/// How often members were seen.
#[derive(Serialize)]
struct Frequencies {
    /// Members there are in all; `data` holds at most `limit` of them.
    count: u64,
    /// Members in this answer at most.
    limit: usize,
    /// Leads to the next page; null on the last.
    next_cursor: Option<String>,
    data: Ordered<u64>,
}

/// A JSON object whose fields keep their order.
struct Ordered<V>(Vec<(String, V)>);

impl<V: Serialize> Serialize for Ordered<V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

fn redis_down(error: impl Display) -> ApiError {
    ApiError::unavailable("redis", &error)
}

async fn users(
    State(metrics): State<Metrics>,
    Checked(Query(request)): Checked<Query<PageRequest>>,
) -> Result<Json<Frequencies>, ApiError> {
    frequencies(&metrics.ranking, &metrics.keys.users(), &request).await
}

async fn hotels(
    State(metrics): State<Metrics>,
    Checked(Query(request)): Checked<Query<PageRequest>>,
) -> Result<Json<Frequencies>, ApiError> {
    frequencies(&metrics.ranking, &metrics.keys.hotels(), &request).await
}

async fn advertisers(
    State(metrics): State<Metrics>,
    Checked(Query(request)): Checked<Query<PageRequest>>,
) -> Result<Json<Frequencies>, ApiError> {
    frequencies(&metrics.ranking, &metrics.keys.advertisers(), &request).await
}

async fn frequencies(
    ranking: &Ranking,
    key: &str,
    request: &PageRequest,
) -> Result<Json<Frequencies>, ApiError> {
    let (limit, cursor) = (request.limit(MAX_LIMIT)?, request.cursor()?);
    let Page { count, entries, next } =
        ranking.page(key, limit, cursor.as_ref()).await.map_err(redis_down)?;
    Ok(Json(Frequencies {
        count,
        limit,
        next_cursor: next.map(|cursor| cursor.encode()),
        data: Ordered(entries),
    }))
}

/// Hotels by how often they were searched, each with the lowest winning price of every advertiser.
///
/// **Shape**: the body is the map alone, so what a page needs lies in headers. A hotel that nobody ever won
/// has no field, and a page may hold fewer fields than the limit.
async fn prices(
    State(metrics): State<Metrics>,
    Checked(Query(request)): Checked<Query<PageRequest>>,
) -> Result<(HeaderMap, Json<Ordered<Ordered<i64>>>), ApiError> {
    let Metrics { ranking, keys } = &metrics;
    let (limit, cursor) = (request.limit(MAX_HOTELS)?, request.cursor()?);
    let page = ranking.page(&keys.hotels(), limit, cursor.as_ref()).await.map_err(redis_down)?;
    // Read after the page, not with it: a price that falls in between shows the fall, no more.
    let hashes = page.entries.iter().map(|(hotel, _)| keys.offers(hotel));
    let prices = ranking.prices(hashes).await.map_err(redis_down)?;
    let body = page.entries.into_iter().zip(prices).filter(|(_, prices)| !prices.is_empty());
    let body = body.map(|((hotel, _), mut prices)| {
        prices.sort_unstable();
        (hotel, Ordered(prices))
    });
    Ok((page_headers(limit, page.next.as_ref()), Json(Ordered(body.collect()))))
}

fn page_headers(limit: usize, next: Option<&Cursor>) -> HeaderMap {
    let mut headers = HeaderMap::from_iter([(LIMIT, HeaderValue::from(limit))]);
    if let Some(cursor) = next.map(Cursor::encode) {
        let link = format!("</hotel_min_offer_per_advertiser?limit={limit}&cursor={cursor}>; rel=\"next\"");
        for (name, value) in [(NEXT_CURSOR, cursor), (header::LINK, link)] {
            // Digits, letters and marks of ASCII: always a header value.
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(name, value);
            }
        }
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_keep_their_order() {
        let ordered = Ordered(vec![("b".to_owned(), 2), ("a".to_owned(), 1)]);
        assert_eq!(serde_json::to_string(&ordered).expect("serializes"), r#"{"b":2,"a":1}"#);
    }

    #[test]
    fn limits_and_cursors_that_do_not_fit_are_refused() {
        let request = |limit: &str, cursor: &str| PageRequest {
            limit: Some(limit.to_owned()),
            cursor: Some(cursor.to_owned()),
        };
        for limit in ["0", "-1", "1001", "many", ""] {
            assert!(request(limit, "").limit(MAX_HOTELS).is_err(), "{limit}");
        }
        assert_eq!(request("1000", "").limit(MAX_HOTELS).expect("fits"), 1000);
        assert!(request("1", "page 2").cursor().is_err());
    }

    #[test]
    fn headers_lead_to_the_next_page() {
        let cursor = Cursor::decode("5-36303332").expect("a cursor");
        let headers = page_headers(2, Some(&cursor));
        assert_eq!(headers[LIMIT], "2");
        assert_eq!(headers[NEXT_CURSOR], "5-36303332");
        let link = "</hotel_min_offer_per_advertiser?limit=2&cursor=5-36303332>; rel=\"next\"";
        assert_eq!(headers[header::LINK], link);
        assert_eq!(page_headers(2, None).len(), 1);
    }
}
