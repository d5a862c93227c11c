//! The services' REST, asked with the fleet's key.

use std::time::Duration;

use anyhow::Context as _;
use reqwest::{Body, Client, RequestBuilder};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use strata_service::Settings;
use strata_service::config::Secret;
use uuid::Uuid;

use crate::services::{CDM, DATA_SOURCE};

/// Pause before data-source is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// Asks the services.
#[derive(Debug, Clone)]
pub struct Api {
    http: Client,
    key: Option<Secret>,
}

/// Events that data-source is to generate: the body of `POST /push`.
#[derive(Debug, Clone, Serialize)]
pub struct Push {
    /// Name of the stream.
    pub stream: &'static str,
    /// How many.
    #[serde(rename = "N")]
    pub count: u64,
    /// Events a second; as fast as possible where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    /// The same events again for the same seed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Identity of a push that may be sent again: what a request that died had brought to Kafka already is not
    /// brought there as something else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<Uuid>,
}

/// What data-source says of a body of events.
#[derive(Debug, Serialize, Deserialize)]
pub struct Ingested {
    /// success, or rejected where none was good.
    pub status: String,
    /// Events that were taken.
    pub accepted: u64,
    /// Events that were not.
    pub rejected_count: u64,
    /// The first of them.
    pub rejected: Vec<Rejection>,
    /// What is wrong where none was good.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// An event that was not taken.
#[derive(Debug, Serialize, Deserialize)]
pub struct Rejection {
    /// Its line, or its place in the array, from 1.
    pub line: u64,
    /// Why.
    pub error: String,
}

impl Api {
    /// Connects when asked first.
    pub fn new(settings: &Settings) -> Self {
        Self { http: Client::new(), key: settings.api_key.clone() }
    }

    /// Has events generated, and returns when Kafka holds them.
    ///
    /// A push with an `id` outlasts an outage of data-source and of what it needs: it is sent again until it is
    /// taken, and `told` hears every new reason to wait. **Errors**: data-source refuses it, or without an `id`
    /// cannot take it now.
    pub async fn push(&self, push: &Push, told: impl Fn(&str)) -> anyhow::Result<()> {
        let url = format!("{}/push", DATA_SOURCE.url()?);
        let mut reason = String::new();
        while let Some(why) = self.try_push(&url, push).await? {
            anyhow::ensure!(push.id.is_some(), why);
            if reason != why {
                told(&why);
                reason = why;
            }
            tokio::time::sleep(ASK_AGAIN).await;
        }
        Ok(())
    }

    /// Sends a push once; returns why the same may succeed later, where it does not now.
    async fn try_push(&self, url: &str, push: &Push) -> anyhow::Result<Option<String>> {
        let answer = match self.with_key(self.http.post(url)).json(push).send().await {
            Ok(answer) => answer,
            Err(e) => return Ok(Some(format!("data-source does not answer at {url}: {e}"))),
        };
        let status = answer.status();
        if status.is_success() {
            return Ok(None);
        }
        let said = format!("data-source answered {status}: {}", answer.text().await.unwrap_or_default());
        anyhow::ensure!(status.is_server_error() || status == 429, said);
        Ok(Some(said))
    }

    /// Sends a body of events, of any length, as it comes.
    ///
    /// **Errors**: data-source does not take it to its end, or cannot use it as a whole.
    pub async fn ingest(&self, stream: &str, media_type: &str, body: Body) -> anyhow::Result<Ingested> {
        let url = format!("{}/ingest/{stream}", DATA_SOURCE.url()?);
        let request = self.with_key(self.http.post(&url)).header("content-type", media_type).body(body);
        let answer = request.send().await.with_context(|| {
            format!(
                "data-source at {url} did not take all of it; what it took is not lost, send the file again"
            )
        })?;
        let (status, text) = (answer.status(), answer.text().await?);
        let said = || format!("data-source answered {status}: {text}");
        // 422 says that no line was good, and which were not.
        anyhow::ensure!(status == 200 || status == 422, said());
        serde_json::from_str(&text).with_context(said)
    }

    /// What cdm answers at a path, from the root on.
    pub async fn cdm<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        let url = format!("{}{path}", CDM.url()?);
        let answer = self.with_key(self.http.get(&url)).send().await;
        let answer = answer.with_context(|| format!("cdm does not answer at {url}"))?;
        Ok(answer.error_for_status()?.json().await?)
    }

    /// Adds the key that whatever changes state or tells of a person wants, where one is set.
    fn with_key(&self, request: RequestBuilder) -> RequestBuilder {
        match &self.key {
            Some(key) => request.header("APIKEY", key.expose()),
            None => request,
        }
    }
}
