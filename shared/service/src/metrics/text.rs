//! The few lines of Prometheus' text format that the recorder does not write.
//!
//! **Source**: Prometheus documentation, exposition formats, text format 0.0.4.

use std::fmt::Display;

/// Begins a metric: what it means and what it is.
pub fn family(text: &mut String, name: &str, kind: &str, help: &str) {
    text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
}

/// One sample; label values are names of topics and streams, which hold nothing to be escaped.
pub fn sample(text: &mut String, name: &str, labels: &[(&str, &dyn Display)], value: f64) {
    let mut separator = '{';
    text.push_str(name);
    for (label, of) in labels {
        text.push_str(&format!("{separator}{label}=\"{of}\""));
        separator = ',';
    }
    if !labels.is_empty() {
        text.push('}');
    }
    text.push_str(&format!(" {value}\n"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_is_written_as_prometheus_reads_it() {
        let mut text = String::new();
        family(&mut text, "lag", "gauge", "How far behind");
        sample(&mut text, "lag", &[("topic", &"a.dlq"), ("partition", &3)], 1.5);
        sample(&mut text, "sum", &[], 7.0);
        assert_eq!(
            text,
            "# HELP lag How far behind\n# TYPE lag gauge\nlag{topic=\"a.dlq\",partition=\"3\"} 1.5\nsum 7\n"
        );
    }
}
