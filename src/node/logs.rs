//! The node's log: lines on standard error, for people or as JSON.
//!
//! What the level opens is Hufu's own; other crates stay at `info` and above, because some of them would write whole
//! messages below it. `tests/tidy.rs` reads every statement that logs: none names a title, purpose, text or person.

use crate::config::{LogForm, LogLevel};
use crate::domain::fault::Fault;
use std::ffi::OsStr;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Environment variable with a level that comes before the configuration's.
pub(super) const LEVEL_VARIABLE: &str = "HUFU_LOG";

/// Starts to log; `over` is the value of [`LEVEL_VARIABLE`].
pub(super) fn start(form: LogForm, level: LogLevel, over: Option<&OsStr>) -> Result<(), Fault> {
    let filter = filter(level_of(level, over)?);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false);
    let registry = tracing_subscriber::registry();
    let started = match form {
        LogForm::Text => registry.with(lines.with_filter(filter)).try_init(),
        LogForm::Json => registry.with(lines.json().flatten_event(true).with_filter(filter)).try_init(),
    };
    started.map_err(|e| Fault::internal("LOG", e.to_string()))
}

fn filter(level: LevelFilter) -> Targets {
    Targets::new().with_default(level.min(LevelFilter::INFO)).with_target("hufu", level)
}

fn level_of(configured: LogLevel, over: Option<&OsStr>) -> Result<LevelFilter, Fault> {
    let words = [
        ("error", LogLevel::Error, LevelFilter::ERROR),
        ("warn", LogLevel::Warn, LevelFilter::WARN),
        ("info", LogLevel::Info, LevelFilter::INFO),
        ("debug", LogLevel::Debug, LevelFilter::DEBUG),
        ("trace", LogLevel::Trace, LevelFilter::TRACE),
    ];
    let found = match over.filter(|word| !word.is_empty()) {
        Some(word) => words.iter().find(|(name, ..)| word == *name),
        None => words.iter().find(|(_, level, _)| *level == configured),
    };
    found.map(|(.., filter)| *filter).ok_or_else(|| {
        let why = format!("`{LEVEL_VARIABLE}` is none of error, warn, info, debug, trace");
        Fault::usage("BAD_CONFIG", why)
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test")]
mod tests {
    use super::*;
    use tracing::Level;

    #[test]
    fn the_environment_comes_first_and_other_crates_stay_quiet() {
        let of = |configured, over: &str| level_of(configured, Some(OsStr::new(over)));
        assert_eq!(level_of(LogLevel::Warn, None).unwrap(), LevelFilter::WARN);
        assert_eq!(of(LogLevel::Warn, "").unwrap(), LevelFilter::WARN);
        assert_eq!(of(LogLevel::Warn, "debug").unwrap(), LevelFilter::DEBUG);
        assert_eq!(of(LogLevel::Warn, "hufu=debug").unwrap_err().reason, "BAD_CONFIG");
        let open = filter(LevelFilter::TRACE);
        assert!(open.would_enable("hufu::service::publish", &Level::TRACE));
        assert!(open.would_enable("h2::codec", &Level::INFO) && !open.would_enable("h2::codec", &Level::DEBUG));
        assert!(!filter(LevelFilter::ERROR).would_enable("h2::codec", &Level::WARN));
    }
}
