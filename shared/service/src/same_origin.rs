//! Requests that change state and come from another web page are refused.
//!
//! A browser sends them for any page that its user opens, to localhost too, and a page needs no answer to do
//! harm. Callers that are no browser send neither of the two headers and pass.

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use crate::api_error::ApiError;

/// Set by browsers alone: scripts of a page cannot change it.
const FETCH_SITE: &str = "sec-fetch-site";

/// Middleware: answers 403 to what another web page asks for, except reading.
pub(crate) async fn require(request: Request, next: Next) -> Response {
    if request.method().is_safe() || is_own(request.headers()) {
        return next.run(request).await;
    }
    let message = "requests that change state are not taken from other web pages; send them from a page of this \
                   service, or from a program";
    ApiError::new(StatusCode::FORBIDDEN, message).into_response()
}

/// Whether a page of this service sends the request, or no page at all.
///
/// **Source**: Fetch Metadata Request Headers (W3C), `Sec-Fetch-Site`; RFC 6454, `Origin`, for browsers
/// without the first.
fn is_own(headers: &HeaderMap) -> bool {
    if headers.contains_key(FETCH_SITE) {
        return headers.get_all(FETCH_SITE).iter().all(|site| site == "same-origin" || site == "none");
    }
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    headers.get_all(header::ORIGIN).iter().all(|origin| is_of(origin, host))
}

/// Whether an origin is the host that the request was sent to; `null` is of no host.
fn is_of(origin: &HeaderValue, host: &str) -> bool {
    let Some((scheme, authority)) = origin.to_str().ok().and_then(|text| text.split_once("://")) else {
        return false;
    };
    // Browsers leave the port of the scheme out, other callers need not.
    let port = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => return false,
    };
    let bare = |text: &str| text.strip_suffix(port).unwrap_or(text).to_ascii_lowercase();
    !host.is_empty() && bare(authority) == bare(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Headers as a browser or another caller sends them.
    fn sent(headers: &[(&'static str, &'static str)]) -> HeaderMap {
        headers
            .iter()
            .map(|&(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn pages_of_the_service_and_programs_pass_and_other_pages_do_not() {
        let host = ("host", "localhost:5011");
        for own in [
            &[][..],
            &[host],
            &[host, ("origin", "http://localhost:5011")],
            &[host, ("origin", "http://LOCALHOST:5011")],
            &[("host", "strata.example"), ("origin", "https://strata.example")],
            &[("host", "strata.example:443"), ("origin", "https://strata.example")],
            &[("host", "[::1]:5011"), ("origin", "http://[::1]:5011")],
            &[host, ("sec-fetch-site", "same-origin"), ("origin", "http://localhost:5011")],
            // Behind a proxy that names another host, the browser still knows.
            &[("host", "cdm:5014"), ("sec-fetch-site", "same-origin"), ("origin", "https://strata.example")],
            &[host, ("sec-fetch-site", "none")],
        ] {
            assert!(is_own(&sent(own)), "{own:?}");
        }
        for other in [
            &[host, ("origin", "http://evil.example")][..],
            &[host, ("origin", "null")],
            &[host, ("origin", "")],
            &[host, ("origin", "http://localhost:5014")],
            &[host, ("origin", "http://localhost:5011.evil.example")],
            &[host, ("origin", "file://")],
            &[("origin", "http://")],
            &[host, ("sec-fetch-site", "cross-site")],
            &[host, ("sec-fetch-site", "same-site"), ("origin", "http://localhost:5014")],
            &[host, ("sec-fetch-site", "something new")],
        ] {
            assert!(!is_own(&sent(other)), "{other:?}");
        }
    }

    #[test]
    fn one_of_several_origins_that_is_another_is_enough_to_refuse() {
        let mut headers = sent(&[("host", "localhost:5011"), ("origin", "http://localhost:5011")]);
        headers.append(header::ORIGIN, HeaderValue::from_static("http://evil.example"));
        assert!(!is_own(&headers));
    }
}
