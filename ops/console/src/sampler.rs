//! One look at the fleet a second, shared by all viewers; none while nobody watches.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use serde::Serialize;
use strata_observe::Observer;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::Sources;
use super::latency::History;
use super::top::{People, Top};

/// Time between two looks.
const REFRESH: Duration = Duration::from_secs(1);

/// What the stores are asked for the data marts must not hold up the rest.
const TOP_TIMEOUT: Duration = Duration::from_secs(2);

/// What viewers are shown, as JSON; written once for all of them.
#[derive(Debug, Clone, Default)]
pub struct Frame {
    /// A [`strata_observe::Snapshot`].
    pub fleet: Arc<str>,
    /// A [`Top`].
    pub top: Arc<str>,
    /// [`People`], for those who may know.
    pub people: Arc<str>,
}

/// Looks while somebody watches.
pub struct Sampler {
    sources: Sources,
    /// Latencies, which are collected in any case.
    pub history: History,
    /// Belongs to the task that looks, and is gone with it.
    frames: Mutex<Weak<watch::Sender<Frame>>>,
}

impl Sampler {
    /// Makes a sampler that does not look yet.
    pub fn new(sources: Sources, history: History) -> Self {
        Self { sources, history, frames: Mutex::default() }
    }

    /// What is seen from now on; the first viewer starts the looking.
    pub fn watch(self: &Arc<Self>) -> anyhow::Result<watch::Receiver<Frame>> {
        let mut current = self.frames.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(frames) = current.upgrade() {
            return Ok(frames.subscribe());
        }
        let observer = Observer::new(&self.sources.settings)?;
        let (frames, receiver) = watch::channel(Frame::default());
        let frames = Arc::new(frames);
        *current = Arc::downgrade(&frames);
        tokio::spawn(Arc::clone(self).look(observer, frames));
        Ok(receiver)
    }

    async fn look(self: Arc<Self>, observer: Observer, frames: Arc<watch::Sender<Frame>>) {
        let mut tick = interval(REFRESH);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while self.is_watched(&frames) {
            tick.tick().await;
            let top = timeout(TOP_TIMEOUT, Top::read(&self.sources));
            let people = timeout(TOP_TIMEOUT, People::read(&self.sources));
            let (snapshot, top, people) = tokio::join!(observer.look(), top, people);
            let (top, people) = (json(&top.ok()), json(&people.ok()));
            frames.send_replace(Frame { fleet: json(&snapshot), top, people });
        }
        // Kafka's clients take their time to close, and block meanwhile.
        drop(tokio::task::spawn_blocking(move || drop(observer)));
    }

    /// False once nobody watches; whoever comes after that starts from nothing.
    fn is_watched(&self, frames: &watch::Sender<Frame>) -> bool {
        // Locked, so that nobody subscribes between the question and the end.
        let mut current = self.frames.lock().unwrap_or_else(PoisonError::into_inner);
        let watched = frames.receiver_count() > 0;
        if !watched {
            *current = Weak::new();
        }
        watched
    }
}

/// As JSON; what cannot be written, and nothing here cannot, is null.
fn json(value: &impl Serialize) -> Arc<str> {
    serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned()).into()
}
