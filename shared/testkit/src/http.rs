//! What tests ask the services over HTTP.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::Method;
use serde_json::Value;

use crate::fleet::{Fleet, Service};

/// A request that is not answered within this is lost.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// An HTTP answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Headers by their name in lower case; those that are no text are left out.
    pub headers: BTreeMap<String, String>,
    /// Body; null when it is no JSON.
    pub body: Value,
}

impl Answer {
    /// The body of a 200.
    ///
    /// **Panics** on any other status.
    pub fn ok(self) -> Value {
        assert_eq!(self.status, 200, "{}", self.body);
        self.body
    }

    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    pub(crate) async fn read(answer: reqwest::Response) -> reqwest::Result<Self> {
        let status = answer.status().as_u16();
        let headers = answer.headers().iter();
        let headers =
            headers.filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned())));
        let headers = headers.collect();
        let text = answer.text().await?;
        Ok(Self { status, headers, body: serde_json::from_str(&text).unwrap_or_default() })
    }
}

impl Fleet {
    /// Base URL of a running service.
    pub fn url(&self, service: Service) -> String {
        format!("http://127.0.0.1:{}", self.port((service, false)))
    }

    /// `GET` from a running service.
    pub async fn get(&self, service: Service, path: &str) -> Answer {
        self.request(service, "GET", path, &[], None).await
    }

    /// `GET` from a service that may not listen yet.
    pub async fn get_if_up(&self, service: Service, path: &str) -> Option<Answer> {
        let answer = self.http.get(format!("{}{path}", self.url(service))).send().await.ok()?;
        Answer::read(answer).await.ok()
    }

    /// `GET` of a text from a running service: status, content type and the text itself.
    pub async fn text(&self, service: Service, path: &str) -> (u16, String, String) {
        let url = format!("{}{path}", self.url(service));
        let answer = self.http.get(&url).timeout(ANSWER_WITHIN).send().await;
        let answer = answer.unwrap_or_else(|e| panic!("{url}: {e}"));
        let content_type = answer.headers().get("content-type").and_then(|value| value.to_str().ok());
        let (status, content_type) = (answer.status().as_u16(), content_type.unwrap_or_default().to_owned());
        (status, content_type, answer.text().await.unwrap_or_else(|e| panic!("{url}: {e}")))
    }

    /// `POST` of a JSON body.
    pub async fn post(&self, service: Service, path: &str, body: &Value) -> Answer {
        self.post_as(service, path, "application/json", body.to_string()).await
    }

    /// `POST` of lines.
    pub async fn post_lines(&self, service: Service, path: &str, lines: String) -> Answer {
        self.post_as(service, path, "application/x-ndjson", lines).await
    }

    /// `POST` of a body of any kind.
    pub async fn post_as(&self, service: Service, path: &str, content_type: &str, body: String) -> Answer {
        self.request(service, "POST", path, &[("content-type", content_type)], Some(body)).await
    }

    /// `PUT` of lines.
    pub async fn put_lines(&self, service: Service, path: &str, lines: String) -> Answer {
        self.request(service, "PUT", path, &[("content-type", "application/x-ndjson")], Some(lines)).await
    }

    /// Any request to a running service.
    pub async fn request(
        &self,
        service: Service,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<String>,
    ) -> Answer {
        let url = format!("{}{path}", self.url(service));
        let method = Method::from_bytes(method.as_bytes()).expect("a method of HTTP");
        let mut request = self.http.request(method, &url).timeout(ANSWER_WITHIN);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.body(body);
        }
        let answer = request.send().await.unwrap_or_else(|e| panic!("{url}: {e}"));
        Answer::read(answer).await.unwrap_or_else(|e| panic!("{url}: {e}"))
    }
}
