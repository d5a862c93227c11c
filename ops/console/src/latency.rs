//! End-to-end latency over the last minutes, a point a second and stream.
//!
//! The last layer of a stream counts in any case; here its metrics are read once a second, so that whoever opens the
//! page sees what was before. It is the latency of the records that the instance which answers has committed.

use std::array::from_fn;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::Utc;
use serde::Serialize;
use strata_events::{StageId, StreamSpec};
use strata_observe::services::Service;
use strata_pipeline::metrics::latency::{BUCKETS, Counts, quantile, read};
use strata_streams::STREAMS;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// Points kept: five minutes.
const POINTS: usize = 300;

/// A service that answers later leaves a gap.
const ANSWER_WITHIN: Duration = Duration::from_millis(900);

/// One second of one stream.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Point {
    /// Unix seconds.
    at: i64,
    /// Records committed.
    events: u64,
    /// Half of them were faster; null in a second without records.
    p50_ms: Option<f64>,
    /// 99 of 100 were faster.
    p99_ms: Option<f64>,
}

/// The points of one stream.
#[derive(Debug, Clone, Serialize)]
pub struct Series {
    stream: &'static str,
    points: Vec<Point>,
}

/// The points of each stream, oldest first.
type PointsByStream = Vec<(&'static str, VecDeque<Point>)>;

/// The points of all streams.
#[derive(Clone, Default)]
pub struct History(Arc<Mutex<PointsByStream>>);

impl History {
    /// Starts to ask the last layer of every stream, until the program stops.
    pub fn keep(stop: &CancellationToken) -> anyhow::Result<Self> {
        let history = Self::default();
        let http = reqwest::Client::builder().timeout(ANSWER_WITHIN).build()?;
        for stage in StageId::ALL {
            let ends_here = |spec: &&StreamSpec| spec.hops.last().is_some_and(|hop| hop.stage == stage);
            let ending: Vec<&str> =
                STREAMS.iter().map(|stream| &stream.spec).filter(ends_here).map(|spec| spec.name).collect();
            if ending.is_empty() {
                continue;
            }
            let url = format!("{}/metrics", Service::of(stage).url()?);
            let (kept, http, stop) = (history.clone(), http.clone(), stop.clone());
            tokio::spawn(async move { stop.run_until_cancelled(kept.collect(http, url, ending)).await });
        }
        Ok(history)
    }

    async fn collect(self, http: reqwest::Client, url: String, streams: Vec<&'static str>) {
        let mut last: BTreeMap<&str, Counts> = BTreeMap::new();
        let mut tick = interval(Duration::from_secs(1));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let Ok(text) = scrape(&http, &url).await else { continue };
            let at = Utc::now().timestamp();
            for &stream in &streams {
                let Some(now) = read(&text, stream) else { continue };
                let before = last.insert(stream, now);
                if let Some(new) = before.and_then(|before| since(&now, &before)) {
                    self.add(stream, point(at, &new));
                }
            }
        }
    }

    fn add(&self, stream: &'static str, point: Point) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let index = all.iter().position(|(name, _)| *name == stream).unwrap_or_else(|| {
            all.push((stream, VecDeque::with_capacity(POINTS)));
            all.len() - 1
        });
        let points = &mut all[index].1;
        if points.len() == POINTS {
            points.pop_front();
        }
        points.push_back(point);
    }

    /// The newest points of every stream, at most `count` of each.
    pub fn newest(&self, count: usize) -> Vec<Series> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = |points: &VecDeque<Point>| {
            points.iter().skip(points.len().saturating_sub(count)).copied().collect()
        };
        all.iter().map(|(stream, points)| Series { stream, points: newest(points) }).collect()
    }

    /// All points.
    pub fn all(&self) -> Vec<Series> {
        self.newest(POINTS)
    }
}

async fn scrape(http: &reqwest::Client, url: &str) -> reqwest::Result<String> {
    http.get(url).send().await?.error_for_status()?.text().await
}

/// What was counted in between; none where another process answers, one that was restarted for example.
fn since(now: &Counts, before: &Counts) -> Option<Counts> {
    let same = now.iter().zip(before).all(|(now, before)| now >= before);
    same.then(|| from_fn(|bucket: usize| now[bucket] - before[bucket]))
}

fn point(at: i64, counts: &[u64; BUCKETS]) -> Point {
    Point { at, events: counts.iter().sum(), p50_ms: quantile(counts, 0.5), p99_ms: quantile(counts, 0.99) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_point_makes_room_for_the_newest() {
        let history = History::default();
        for at in 0..=i64::try_from(POINTS).expect("few points") {
            history.add("order", point(at, &[0; BUCKETS]));
        }
        let all = history.all();
        assert_eq!((all[0].points.len(), all[0].points[0].at), (POINTS, 1));
        assert_eq!(history.newest(2)[0].points.iter().map(|point| point.at).collect::<Vec<_>>(), [299, 300]);
        assert_eq!(all[0].points[0].p50_ms, None);
    }

    #[test]
    fn counts_of_different_processes_are_not_subtracted() {
        let (mut before, mut now) = ([0; BUCKETS], [0; BUCKETS]);
        (before[2], now[2], now[3]) = (5, 7, 1);
        assert_eq!(since(&now, &before).map(|new| new.iter().sum::<u64>()), Some(3));
        now[2] = 4;
        assert_eq!(since(&now, &before), None);
    }
}
