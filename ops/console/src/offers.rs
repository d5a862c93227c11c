//! The offers of one hotel.

use axum::Json;
use axum::extract::{Path, State};
use redis::AsyncCommands as _;
use serde::Serialize;
use strata_service::http::{ApiError, Checked};

use crate::Sources;
use crate::top::{Offer, offers_of};

/// A hotel and what it was offered for.
#[derive(Serialize)]
pub struct Hotel {
    hotel_id: String,
    /// Searches it was seen in; null when it never was.
    searches: Option<u64>,
    /// Lowest winning price by advertiser, cheapest first.
    offers: Vec<Offer>,
}

/// Answers with the offers of a hotel.
pub async fn of_hotel(
    State(sources): State<Sources>,
    Checked(Path(hotel_id)): Checked<Path<String>>,
) -> Result<Json<Hotel>, ApiError> {
    let mut redis = sources.redis.clone();
    let read = async {
        let searches: Option<f64> = redis.zscore(sources.keys.hotels(), &hotel_id).await?;
        redis::RedisResult::Ok((searches, offers_of(&sources, &[&hotel_id]).await?))
    };
    let (searches, offers) = read.await.map_err(|e| ApiError::unavailable("redis", &e))?;
    let offers = offers.into_iter().flatten().collect();
    Ok(Json(Hotel { hotel_id, searches: searches.map(|searches| searches as u64), offers }))
}
