//! What a request chooses beside its duration: values for parameters, and a start.

use std::collections::BTreeMap;

use hallpass_proto::v1;
use hallpass_proto::v1::access_request::State;
use jiff::Timestamp;

use crate::errors::CliError;
use crate::output::words;

/// What was chosen on the command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Choices {
    /// Values by name.
    pub(super) parameters: BTreeMap<String, String>,
    /// When access is to open; at once where absent.
    pub(super) start: Option<Timestamp>,
}

impl Choices {
    /// Values without a start.
    ///
    /// # Errors
    /// [`CliError::Usage`] when a name is given twice.
    pub(super) fn of(given: &[(String, String)]) -> Result<Self, CliError> {
        let mut parameters = BTreeMap::new();
        for (name, value) in given {
            if parameters.insert(name.clone(), value.clone()).is_some() {
                return Err(CliError::Usage(format!("--param {name} is given twice")));
            }
        }
        Ok(Self {
            parameters,
            start: None,
        })
    }

    /// Whether `request` is for what is chosen here, so that asking again need not make another.
    pub(super) fn fit(&self, list: &[v1::Entitlement], request: &v1::AccessRequest) -> bool {
        let has: BTreeMap<_, _> = request.parameters.clone().into_iter().collect();
        self.with_defaults(list, &request.entitlement) == has && self.fits_start(request)
    }

    /// Whether `request` names what is chosen here, whatever else it names.
    pub(super) fn named_by(&self, request: &v1::AccessRequest) -> bool {
        self.fits_values(&request.parameters.clone().into_iter().collect())
    }

    /// Whether these values are among `values`.
    pub(super) fn fits_values(&self, values: &BTreeMap<String, String>) -> bool {
        let mut chosen = self.parameters.iter();
        chosen.all(|(name, value)| values.get(name) == Some(value))
    }

    fn fits_start(&self, request: &v1::AccessRequest) -> bool {
        let starts = words::instant(request.start_time.as_ref());
        match (self.start, request.state()) {
            (None, State::Active | State::Provisioning) => true,
            (Some(_), State::Active | State::Provisioning) => false,
            (start, _) => start == starts,
        }
    }

    fn with_defaults(&self, list: &[v1::Entitlement], name: &str) -> BTreeMap<String, String> {
        let known = list.iter().find(|e| e.name == name);
        let defaults = known.into_iter().flat_map(|e| &e.parameters);
        let defaults = defaults.filter(|p| !p.default_value.is_empty());
        let mut all: BTreeMap<_, _> = defaults
            .map(|p| (p.name.clone(), p.default_value.clone()))
            .collect();
        all.extend(self.parameters.clone());
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::samples;

    #[test]
    fn a_value_given_twice_is_a_mistake() {
        let one = |value: &str| ("prefix".to_owned(), value.to_owned());
        let two = Choices::of(&[one("a"), one("b")]).unwrap_err();
        assert!(two.to_string().contains("--param prefix is given twice"));
        assert_eq!(Choices::of(&[one("a")]).unwrap().parameters["prefix"], "a");
    }

    fn list() -> [v1::Entitlement; 1] {
        [samples::entitlement()]
    }

    fn chosen(prefix: Option<&str>, start: Option<i64>) -> Choices {
        let given = prefix.map(|p| ("prefix".to_owned(), p.to_owned()));
        Choices {
            parameters: given.into_iter().collect(),
            start: start.and_then(|s| words::instant(Some(&samples::at(s)))),
        }
    }

    #[test]
    fn what_is_there_is_the_same_only_with_the_same_values() {
        let active = samples::active();
        assert_eq!(active.parameters["prefix"], "orders");
        for (prefix, fits) in [(Some("orders"), true), (Some("payroll"), false)] {
            assert_eq!(
                chosen(prefix, None).fit(&list(), &active),
                fits,
                "{prefix:?}"
            );
        }
        let mut usual = active;
        usual
            .parameters
            .insert("prefix".to_owned(), "none".to_owned());
        assert!(chosen(None, None).fit(&list(), &usual), "the default");
        assert!(!chosen(Some("orders"), None).fit(&list(), &usual));
        assert!(chosen(None, None).named_by(&usual));
        assert!(!chosen(Some("orders"), None).named_by(&usual));
    }

    #[test]
    fn a_start_is_another_request_unless_it_waits_for_that_start() {
        let scheduled = samples::scheduled();
        let orders = Some("orders");
        assert!(chosen(orders, Some(7_200)).fit(&list(), &scheduled));
        assert!(!chosen(orders, Some(7_201)).fit(&list(), &scheduled));
        assert!(!chosen(orders, None).fit(&list(), &scheduled));
        let mut open = scheduled;
        open.state = State::Active.into();
        assert!(chosen(orders, None).fit(&list(), &open), "it is there");
        assert!(!chosen(orders, Some(7_200)).fit(&list(), &open));
    }
}
