//! How things look: for people in words and tables, for programs as JSON.

pub(crate) mod clean;
pub(crate) mod detail;
pub(crate) mod json;
pub(crate) mod progress;
pub(crate) mod reports;
#[cfg(test)]
pub(crate) mod samples;
pub(crate) mod table;
pub(crate) mod words;

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// What rendering depends on besides the data.
#[derive(Clone, Debug)]
pub(crate) struct View {
    /// The present.
    pub(crate) now: Timestamp,
    /// The reader's time zone.
    pub(crate) zone: TimeZone,
    /// Whether colours are wanted.
    pub(crate) colour: bool,
    /// Columns of the terminal; `None` when it is none.
    pub(crate) width: Option<u16>,
}

/// The few colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Colour {
    /// Access is there.
    Green,
    /// Somebody is waited for.
    Yellow,
    /// It was refused, or something is wrong.
    Red,
}

impl View {
    /// `text`, coloured if colours are wanted.
    pub(crate) fn paint(&self, text: &str, colour: Option<Colour>) -> String {
        let code = match colour {
            Some(Colour::Green) => 32,
            Some(Colour::Yellow) => 33,
            Some(Colour::Red) => 31,
            None => return text.to_owned(),
        };
        if self.colour {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }

    /// The same without colours.
    pub(crate) fn plain(&self) -> Self {
        Self {
            colour: false,
            ..self.clone()
        }
    }

    /// An instant in the reader's time; without the date when it is today.
    pub(crate) fn instant(&self, at: Timestamp) -> String {
        let at = at.to_zoned(self.zone.clone());
        let today = self.now.to_zoned(self.zone.clone()).date();
        let format = if at.date() == today {
            "%H:%M:%S"
        } else {
            "%Y-%m-%d %H:%M:%S"
        };
        at.strftime(format).to_string()
    }

    /// An instant in the reader's time with date, fraction and zone.
    pub(crate) fn exact(&self, at: Timestamp) -> String {
        at.to_zoned(self.zone.clone())
            .strftime("%Y-%m-%d %H:%M:%S%.3f %Z")
            .to_string()
    }

    /// Time from now until `at`; zero when it has passed.
    pub(crate) fn until(&self, at: Timestamp) -> Duration {
        at.duration_since(self.now).try_into().unwrap_or_default()
    }

    /// Time from `at` until now; zero when it is to come.
    pub(crate) fn since(&self, at: Timestamp) -> Duration {
        self.now.duration_since(at).try_into().unwrap_or_default()
    }
}
