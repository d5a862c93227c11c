//! From a click as the site sends it to what the vault keeps of it. Pure.

use strata_events::Reject;

use super::{CleanedClick, Click};

/// Takes the spaces around texts away, writes scheme and host in lower case, and the time in UTC.
///
/// **Errors**: those of the time; a decoded click has none.
pub fn clean(click: &Click) -> Result<CleanedClick, Reject> {
    let trimmed = |text: &str| text.trim().to_owned();
    Ok(CleanedClick {
        user_id: trimmed(&click.user_id),
        timestamp: click.time()?,
        url: clean_url(&click.url),
        country: trimmed(&click.country),
        city: trimmed(&click.city),
        browser: trimmed(&click.browser),
        os: trimmed(&click.os),
        device: trimmed(&click.device),
    })
}

/// Scheme and host do not tell upper case from lower; what follows does.
fn clean_url(url: &str) -> String {
    let url = url.trim();
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (host, path) = rest.split_at(end);
    format!("{}://{}{path}", scheme.to_lowercase(), host.to_lowercase())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use strata_events::Contract as _;

    use super::*;
    use crate::click::golden::{CLEANED, RAW, RAW_ARRAY};

    fn changed(field: &str, value: &str) -> Result<Click, Reject> {
        let mut click: Value = serde_json::from_str(RAW).expect("JSON");
        click[field] = json!(value);
        Click::decode(click.to_string().as_bytes())
    }

    #[test]
    fn both_forms_of_the_golden_click_become_the_golden_cleaned_click() {
        for raw in [RAW, RAW_ARRAY] {
            let cleaned = clean(&Click::decode(raw.as_bytes()).expect("a click")).expect("a time");
            let cleaned = serde_json::to_value(cleaned).expect("JSON");
            assert_eq!(cleaned, serde_json::from_str::<Value>(CLEANED).expect("JSON"));
        }
    }

    #[test]
    fn urls_keep_the_case_of_what_follows_the_host() {
        for (url, expected) in [
            (" HTTP://Shop.Example/Soups?A=B ", "http://shop.example/Soups?A=B"),
            ("https://SHOP.example", "https://shop.example"),
            ("HTTPS://SHOP.example?Q", "https://shop.example?Q"),
            ("/Soups", "/Soups"),
        ] {
            assert_eq!(clean_url(url), expected);
        }
    }

    #[test]
    fn times_are_utc_where_they_name_no_zone() {
        for (text, expected) in [
            ("2025-02-22T09:43:14", "2025-02-22T09:43:14+00:00"),
            ("2025-02-22T09:43:14.5", "2025-02-22T09:43:14.500+00:00"),
            ("2025-02-22T09:43:14+03:00", "2025-02-22T06:43:14+00:00"),
            ("2025-02-22T09:43:14Z", "2025-02-22T09:43:14+00:00"),
        ] {
            let click = changed("timestamp", text).expect("a click");
            assert_eq!(clean(&click).expect("a time").timestamp.to_rfc3339(), expected, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_refused() {
        for (code, field, value) in [
            ("invalid_structure", "timestamp", "yesterday"),
            ("date_out_of_range", "timestamp", "1970-01-01T00:00:00"),
            ("invalid_text", "url", " "),
            ("invalid_text", "country", ""),
            ("invalid_text", "city", "a\0b"),
            ("invalid_text", "user_id", ""),
        ] {
            assert_eq!(changed(field, value).expect_err(field).code, code, "{field}");
        }
        for array in ["[]", r#"["a","b","c","d","e","f","g"]"#, r#"["1","2","3","4","5","6","7","8","9"]"#] {
            assert_eq!(Click::decode(array.as_bytes()).expect_err(array).code, "invalid_structure");
        }
    }
}
