//! A TOML table read field by field, so that one pass reports everything that is wrong with it.

use std::collections::BTreeSet;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::bundle::{ENTITLEMENTS, Place, Problem, problem};

/// One table under reading. Each getter notes what is wrong and answers `None`.
pub(crate) struct Fields<'t, 'p> {
    text: &'t str,
    table: &'t DeTable<'t>,
    place: Place,
    what: String,
    known: BTreeSet<&'static str>,
    problems: &'p mut Vec<Problem>,
}

impl<'t, 'p> Fields<'t, 'p> {
    /// Starts to read `table`, which is at `range` and is called `what` in problems.
    pub(crate) fn new(
        text: &'t str,
        table: &'t DeTable<'t>,
        range: Range<usize>,
        what: String,
        problems: &'p mut Vec<Problem>,
    ) -> Self {
        Self {
            text,
            table,
            place: Place::of(text, range),
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
            value.span(),
            what,
            self.problems,
        ))
    }

    /// Whether a key is there, without asking for it.
    pub(crate) fn holds(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// A nested table for a second look: what is wrong with it was said at the first.
    pub(crate) fn table_if_there(&mut self, key: &str) -> Option<Fields<'t, '_>> {
        let value = self.table.get(key)?;
        let table = value.get_ref().as_table()?;
        let what = self.what.clone();
        Some(Fields::new(
            self.text,
            table,
            value.span(),
            what,
            self.problems,
        ))
    }

    /// Every table of a list of them, with its place in the list; empty when there is none.
    pub(crate) fn tables<T>(
        &mut self,
        key: &'static str,
        mut read: impl FnMut(usize, Fields<'t, '_>) -> Option<T>,
    ) -> Option<Vec<T>> {
        let Some(value) = self.value(key) else {
            return Some(Vec::new());
        };
        let Some(items) = value.get_ref().as_array() else {
            self.wrong(key, value, "must be a list of tables");
            return None;
        };
        let mut all = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let Some(table) = item.get_ref().as_table() else {
                self.wrong(key, item, "must be a list of tables");
                continue;
            };
            let what = format!("{} {key} {}", self.what, index + 1);
            let fields = Fields::new(self.text, table, item.span(), what, self.problems);
            all.push(read(index, fields));
        }
        all.into_iter().collect()
    }

    /// Where the value of `key` is, or else the table.
    pub(crate) fn place(&self, key: &str) -> Place {
        let value = self.table.get(key);
        value.map_or(self.place, |v| Place::of(self.text, v.span()))
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
        let place = value.map_or(self.place, |v| Place::of(self.text, v.span()));
        let what = format!("{}: {why}", self.what);
        self.problems.push(problem(ENTITLEMENTS, Some(place), what));
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
        let place = Place::of(self.text, value.span());
        let what = format!("{}: {key} {why}", self.what);
        self.problems.push(problem(ENTITLEMENTS, Some(place), what));
    }
}
