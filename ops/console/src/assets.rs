//! The files of the page, embedded.

use axum::Router;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

/// What the page may do: only what comes from here, nothing inline.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; img-src 'self'; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";
const WOFF2: &str = "font/woff2";

/// A file by its path.
macro_rules! asset {
    ($path:literal, $file:literal, $kind:expr) => {
        ($path, $kind, include_bytes!(concat!("../assets/", $file)))
    };
}

/// Path, content type and content of every file.
const ASSETS: &[(&str, &str, &[u8])] = &[
    asset!("/", "index.html", HTML),
    asset!("/dashboard/icon.svg", "icon.svg", SVG),
    asset!("/dashboard/style.css", "style.css", CSS),
    asset!("/dashboard/flow.css", "flow.css", CSS),
    asset!("/dashboard/app.js", "app.js", JS),
    asset!("/dashboard/charts.js", "charts.js", JS),
    asset!("/dashboard/flow.js", "flow.js", JS),
    asset!("/dashboard/format.js", "format.js", JS),
    asset!("/dashboard/instances.js", "instances.js", JS),
    asset!("/dashboard/api.js", "api.js", JS),
    asset!("/dashboard/lookup.js", "lookup.js", JS),
    asset!("/dashboard/particles.js", "particles.js", JS),
    asset!("/dashboard/push.js", "push.js", JS),
    asset!("/dashboard/tables.js", "tables.js", JS),
    asset!("/dashboard/vendor/lit-html.js", "vendor/lit-html/lit-html.js", JS),
    asset!("/dashboard/vendor/uPlot.js", "vendor/uplot/uPlot.iife.min.js", JS),
    asset!("/dashboard/vendor/uPlot.css", "vendor/uplot/uPlot.min.css", CSS),
    asset!("/dashboard/vendor/plex-latin.woff2", "vendor/plex/ibm-plex-sans-latin-wght-normal.woff2", WOFF2),
    asset!(
        "/dashboard/vendor/plex-cyrillic.woff2",
        "vendor/plex/ibm-plex-sans-cyrillic-wght-normal.woff2",
        WOFF2
    ),
];

/// A route a file.
pub fn routes() -> Router {
    ASSETS.iter().fold(Router::new(), |routes, &(path, kind, content)| {
        routes.route(path, get(move || async move { respond(kind, content) }))
    })
}

fn respond(kind: &'static str, content: &'static [u8]) -> Response {
    let headers: [(HeaderName, &str); 5] = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        // Fonts never change under their name; the rest belongs to the running binary.
        (header::CACHE_CONTROL, if kind == WOFF2 { "max-age=31536000, immutable" } else { "no-cache" }),
    ];
    (
        headers.map(|(name, value)| {
            (name, HeaderValue::from_str(value).unwrap_or(HeaderValue::from_static("")))
        }),
        content,
    )
        .into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_refer_to_files_that_there_are_and_to_nothing_outside() {
        for (path, kind, content) in
            ASSETS.iter().filter(|(path, kind, _)| *kind != WOFF2 && !path.contains("vendor"))
        {
            let text = std::str::from_utf8(content).expect("UTF-8");
            for outside in ["http://", "https://", "style=\"", "onclick", "eval("] {
                let svg_namespace = text.replace("http://www.w3.org/2000/svg", "");
                assert!(!svg_namespace.contains(outside), "{path} ({kind}) holds {outside}");
            }
            let quoted = text.split(['"', '\'']).filter(|part| part.starts_with("/dashboard/"));
            for reference in
                quoted.filter(|part| part.rsplit('/').next().is_some_and(|file| file.contains('.')))
            {
                assert!(ASSETS.iter().any(|(known, ..)| *known == reference), "{path} wants {reference}");
            }
        }
    }
}
