//! The text format of Prometheus, version 0.0.4: families of samples, each with its help and type.

use std::fmt::{Display, Write};

/// Media type of a page.
pub(super) const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What the samples of a family are.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// Goes up only, until the process starts anew.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts in classes; see [`Page::histogram`].
    Histogram,
}

/// Labels of a sample: names are words of this program, values may be anything.
pub(super) type Labels<'a> = &'a [(&'a str, &'a str)];

/// One page.
#[derive(Default)]
pub(super) struct Page(String);

impl Page {
    /// Begins a family; its samples follow at once. `help` is one line without backslashes.
    pub(super) fn family(&mut self, name: &str, kind: Kind, help: &str) -> Family<'_> {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        self.line(format_args!("# HELP {name} {help}"));
        self.line(format_args!("# TYPE {name} {kind}"));
        Family { page: self, name: name.to_owned() }
    }

    /// A gauge with one sample and no labels.
    pub(super) fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(name, Kind::Gauge, help).sample(&[], value);
    }

    /// The whole text.
    pub(super) fn finish(self) -> String {
        self.0
    }

    fn line(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        let _ = self.0.write_fmt(text);
        self.0.push('\n');
    }
}

/// A family that is being written.
pub(super) struct Family<'a> {
    page: &'a mut Page,
    name: String,
}

impl Family<'_> {
    /// One sample.
    pub(super) fn sample(&mut self, labels: Labels<'_>, value: impl Display) {
        let (name, labels) = (&self.name, shown(labels));
        self.page.line(format_args!("{name}{labels} {value}"));
    }

    /// The samples of one histogram: `counts` has one class for each of `bounds`, in seconds, and one above.
    pub(super) fn histogram(&mut self, labels: Labels<'_>, bounds: &[f64], counts: &[u64], sum: f64) {
        let mut below = 0u64;
        let infinity = std::iter::once("+Inf".to_owned());
        for (bound, count) in bounds.iter().map(f64::to_string).chain(infinity).zip(counts) {
            below = below.saturating_add(*count);
            let mut with_bound = labels.to_vec();
            with_bound.push(("le", bound.as_str()));
            self.part("_bucket", &with_bound, below);
        }
        self.part("_sum", labels, sum);
        self.part("_count", labels, below);
    }

    fn part(&mut self, part: &str, labels: Labels<'_>, value: impl Display) {
        let (name, labels) = (&self.name, shown(labels));
        self.page.line(format_args!("{name}{part}{labels} {value}"));
    }
}

fn shown(labels: Labels<'_>) -> String {
    if labels.is_empty() {
        return String::new();
    }
    let escaped = |v: &str| v.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let pairs: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
    format!("{{{}}}", pairs.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_what_the_format_says() {
        let mut page = Page::default();
        page.gauge("a", "One.", 7);
        let mut peers = page.family("b_total", Kind::Counter, "Two.");
        peers.sample(&[("agency", "customs"), ("node", "1")], 1);
        peers.sample(&[("agency", "a\"\\\nb")], 2);
        let mut took = page.family("c_seconds", Kind::Histogram, "Three.");
        took.histogram(&[("journal", "audit")], &[0.5, 1.0], &[3, 0, 1], 2.25);
        let expected = "# HELP a One.\n# TYPE a gauge\na 7\n\
            # HELP b_total Two.\n# TYPE b_total counter\nb_total{agency=\"customs\",node=\"1\"} 1\n\
            b_total{agency=\"a\\\"\\\\\\nb\"} 2\n\
            # HELP c_seconds Three.\n# TYPE c_seconds histogram\n\
            c_seconds_bucket{journal=\"audit\",le=\"0.5\"} 3\nc_seconds_bucket{journal=\"audit\",le=\"1\"} 3\n\
            c_seconds_bucket{journal=\"audit\",le=\"+Inf\"} 4\nc_seconds_sum{journal=\"audit\"} 2.25\n\
            c_seconds_count{journal=\"audit\"} 4\n";
        assert_eq!(page.finish(), expected);
    }
}
