//! A TOML table read field by field, so that one pass reports everything that is wrong with it.

use std::collections::BTreeSet;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::bundle::{ENTITLEMENTS, Problem, line_of, problem};

/// One table under reading. Each getter notes what is wrong and answers `None`.
pub(crate) struct Fields<'t, 'p> {
    text: &'t str,
    table: &'t DeTable<'t>,
    line: usize,
    what: String,
    known: BTreeSet<&'static str>,
    problems: &'p mut Vec<Problem>,
}

impl<'t, 'p> Fields<'t, 'p> {
    /// Starts to read `table`, which begins at byte `start` and is called `what` in problems.
    pub(crate) fn new(
        text: &'t str,
        table: &'t DeTable<'t>,
        start: usize,
        what: String,
        problems: &'p mut Vec<Problem>,
    ) -> Self {
        Self {
            text,
            table,
            line: line_of(text, start),
            what,
            known: BTreeSet::new(),
            problems,
        }
    }

    /// Calls the table something else in problems, now that its name is known.
    pub(crate) fn rename(&mut self, what: String) {
        self.what = what;
    }

    /// A nested table, if there is one.
    pub(crate) fn table(&mut self, key: &'static str) -> Option<Fields<'t, '_>> {
        let value = self.value(key)?;
        let Some(table) = value.get_ref().as_table() else {
            self.wrong(key, value, "must be a table");
            return None;
        };
        let what = format!("{} {key}", self.what);
        Some(Fields::new(
            self.text,
            table,
            value.span().start,
            what,
            self.problems,
        ))
    }

    /// A text that must be there, read by `parse`.
    pub(crate) fn required<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        if self.value(key).is_none() {
            self.report(None, format!("{key} is missing"));
        }
        self.optional(key, parse).flatten()
    }

    /// A text that may be there: `None` when it is wrong, `Some(None)` when it is absent.
    pub(crate) fn optional<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<Option<T>> {
        let Some(value) = self.value(key) else {
            return Some(None);
        };
        let Some(text) = value.get_ref().as_str() else {
            self.wrong(key, value, "must be a text");
            return None;
        };
        match parse(text) {
            Ok(parsed) => Some(Some(parsed)),
            Err(why) => {
                self.wrong(key, value, &why);
                None
            }
        }
    }

    /// A whole number within bounds, if there is one.
    pub(crate) fn integer(
        &mut self,
        key: &'static str,
        bounds: std::ops::RangeInclusive<u32>,
    ) -> Option<u32> {
        let value = self.value(key)?;
        let number = value.get_ref().as_integer().and_then(|n| {
            let number = u32::from_str_radix(n.as_str(), n.radix()).ok()?;
            bounds.contains(&number).then_some(number)
        });
        if number.is_none() {
            let why = format!(
                "must be a number from {} to {}",
                bounds.start(),
                bounds.end()
            );
            self.wrong(key, value, &why);
        }
        number
    }

    /// A list of texts that must be there.
    pub(crate) fn texts(&mut self, key: &'static str) -> Option<Vec<String>> {
        let Some(value) = self.value(key) else {
            self.report(None, format!("{key} is missing"));
            return None;
        };
        let texts = value.get_ref().as_array().and_then(|items| {
            let texts = items
                .iter()
                .map(|i| i.get_ref().as_str().map(str::to_owned));
            texts.collect::<Option<Vec<_>>>()
        });
        if texts.is_none() {
            self.wrong(key, value, "must be a list of texts");
        }
        texts
    }

    /// All pairs of a table whose values are texts.
    pub(crate) fn pairs(&mut self) -> Vec<(String, String)> {
        let mut pairs = Vec::new();
        for (key, value) in self.table {
            match value.get_ref().as_str() {
                Some(text) => pairs.push((key.get_ref().to_string(), text.to_owned())),
                None => self.wrong(key.get_ref(), value, "must be a text"),
            }
        }
        pairs
    }

    /// Whether the key is there at all.
    pub(crate) fn has(&mut self, key: &'static str) -> bool {
        self.value(key).is_some()
    }

    /// Notes a problem at the table, or at the value of `key`.
    pub(crate) fn report(&mut self, key: Option<&str>, why: String) {
        let value = key.and_then(|key| self.table.get(key));
        let line = value.map_or(self.line, |v| line_of(self.text, v.span().start));
        let what = format!("{}: {why}", self.what);
        self.problems.push(problem(ENTITLEMENTS, Some(line), what));
    }

    /// Ends the reading: keys that nobody asked for are problems.
    pub(crate) fn finish(mut self) {
        for key in self.table.keys() {
            if !self.known.contains(key.get_ref().as_ref()) {
                self.report(
                    Some(key.get_ref()),
                    format!("unknown key {}", key.get_ref()),
                );
            }
        }
    }

    fn value(&mut self, key: &'static str) -> Option<&'t Spanned<DeValue<'t>>> {
        self.known.insert(key);
        self.table.get(key)
    }

    fn wrong(&mut self, key: &str, value: &Spanned<DeValue<'_>>, why: &str) {
        let line = line_of(self.text, value.span().start);
        let what = format!("{}: {key} {why}", self.what);
        self.problems.push(problem(ENTITLEMENTS, Some(line), what));
    }
}
