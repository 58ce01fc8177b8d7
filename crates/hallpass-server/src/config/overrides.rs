//! What the environment and the command line lay over the file, key by key.

use std::ffi::OsString;
use std::fmt;

use toml::{Table, Value};

use super::ConfigError;

/// Variables that begin so name a key: `HALLPASS__LISTEN__ADDRESS` is `listen.address`.
const PREFIX: &str = "HALLPASS__";

/// A command line is seen by everybody on the machine.
const SECRETS: [&str; 2] = ["aws.credentials", "aws.credentials.secret_access_key"];

/// One key and its value, from outside the file.
#[derive(Clone, PartialEq)]
pub(crate) struct Override {
    /// Where it comes from, for instance `HALLPASS__LISTEN__ADDRESS` or `--set`.
    origin: String,
    /// The tables that hold the key.
    owners: Vec<String>,
    key: String,
    value: Value,
}

/// Values may be secrets.
impl fmt::Debug for Override {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The key, and where its value comes from.
impl fmt::Display for Override {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let owners = self.owners.iter().map(String::as_str);
        let path: Vec<_> = owners.chain([self.key.as_str()]).collect();
        write!(f, "{} ({})", path.join("."), self.origin)
    }
}

impl Override {
    /// What `--set KEY=VALUE` says.
    ///
    /// # Errors
    /// When it is not that, or puts a secret where everybody sees it.
    pub(crate) fn parse(text: &str) -> Result<Self, ConfigError> {
        const FORM: &str = "write KEY=VALUE, for instance listen.address=0.0.0.0:8443";
        let wrong = |key: &str, problem: &str, cure: &str| ConfigError::Wrong {
            key: format!("--set {key}"),
            problem: problem.to_owned(),
            cure: cure.to_owned(),
        };
        let (key, text) = text
            .split_once('=')
            .ok_or_else(|| wrong("…", "has no value", FORM))?;
        let key = key.trim();
        if SECRETS.contains(&key) {
            let problem = "would be seen by everybody on this machine";
            return Err(wrong(
                key,
                problem,
                "put it into the file or the environment",
            ));
        }
        let found = Self::new("--set".to_owned(), key.split('.'), text);
        found.ok_or_else(|| wrong(key, "is no key", FORM))
    }

    fn new<'a>(origin: String, path: impl Iterator<Item = &'a str>, text: &str) -> Option<Self> {
        let mut owners: Vec<_> = path.map(str::to_owned).collect();
        let key = owners.pop()?;
        let is_whole = !key.is_empty() && owners.iter().all(|owner| !owner.is_empty());
        is_whole.then(|| Self {
            origin,
            owners,
            key,
            value: value(text),
        })
    }

    /// What the environment says, in the order of its names.
    pub(crate) fn of_environment(
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Vec<Self> {
        let mut found: Vec<_> = variables
            .into_iter()
            .filter_map(Self::of_variable)
            .collect();
        found.sort_by(|a, b| a.origin.cmp(&b.origin));
        found
    }

    fn of_variable((name, text): (OsString, OsString)) -> Option<Self> {
        let (origin, text) = (name.into_string().ok()?, text.into_string().ok()?);
        let key = origin.strip_prefix(PREFIX)?.to_lowercase();
        Self::new(origin, key.split("__"), &text)
    }

    /// Puts it into the file's table; tables on the way are made.
    pub(super) fn apply(&self, table: &mut Table) -> Result<(), ConfigError> {
        let mut table = table;
        for (depth, owner) in self.owners.iter().enumerate() {
            let entry = table.entry(owner.clone());
            let below = entry.or_insert_with(|| Table::new().into());
            table = below.as_table_mut().ok_or_else(|| ConfigError::Wrong {
                key: self.owners[..=depth].join("."),
                problem: format!("is no table, so {} cannot be laid over it", self.origin),
                cure: "give the whole key a value instead".to_owned(),
            })?;
        }
        table.insert(self.key.clone(), self.value.clone());
        Ok(())
    }
}

/// A TOML value, or else the text itself.
fn value(text: &str) -> Value {
    let parsed = toml::from_str::<Table>(&format!("v = {text}"));
    let mut parsed = parsed.unwrap_or_default();
    match (parsed.remove("v"), parsed.is_empty()) {
        (Some(value), true) => value,
        _ => Value::from(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn laid(over: &str, by: &[Override]) -> Table {
        let mut table = over.parse().unwrap();
        by.iter().for_each(|o| o.apply(&mut table).unwrap());
        table
    }

    fn set(text: &str) -> Override {
        Override::parse(text).unwrap()
    }

    #[test]
    fn values_are_toml_or_else_text() {
        let by = [
            set("listen.address=0.0.0.0:8443"),
            set("listen.reflection=true"),
            set("limits.burst=7"),
            set("deployment=\"2026\""),
            set("issuers=[{ issuer = \"https://a\" }]"),
            set("link_template=a = b"),
            set("policy.directory=x\n[listen]"),
        ];
        let table = laid("[listen]\naddress = \"127.0.0.1:1\"", &by);
        assert_eq!(table["listen"]["address"].as_str(), Some("0.0.0.0:8443"));
        assert_eq!(table["listen"]["reflection"].as_bool(), Some(true));
        assert_eq!(table["limits"]["burst"].as_integer(), Some(7));
        assert_eq!(table["deployment"].as_str(), Some("2026"));
        assert_eq!(table["issuers"][0]["issuer"].as_str(), Some("https://a"));
        assert_eq!(table["link_template"].as_str(), Some("a = b"));
        assert_eq!(table["policy"]["directory"].as_str(), Some("x\n[listen]"));
    }

    #[test]
    fn variables_name_keys_by_two_underscores() {
        let variables = [
            ("HALLPASS__TEMPORAL__NAMESPACE", "n"),
            ("HALLPASS__DEPLOYMENT", "d"),
            ("HALLPASS_SERVICE_HOST", "kubernetes"),
            ("HALLPASS__", "nothing"),
            ("HALLPASS__LISTEN____X", "nothing"),
        ];
        let variables = variables.map(|(name, text)| (name.into(), text.into()));
        let found = Override::of_environment(variables);
        let shown: Vec<_> = found.iter().map(Override::to_string).collect();
        let expected = [
            "deployment (HALLPASS__DEPLOYMENT)",
            "temporal.namespace (HALLPASS__TEMPORAL__NAMESPACE)",
        ];
        assert_eq!(shown, expected);
        assert_eq!(
            laid("", &found)["temporal"]["namespace"].as_str(),
            Some("n")
        );
        assert!(
            !format!("{found:?}").contains("\"n\""),
            "values may be secrets"
        );
    }

    #[test]
    fn what_cannot_be_laid_over_is_refused() {
        for wrong in ["listen.address", "=x", "a..b=x", ".a=x", "a.=x"] {
            assert!(Override::parse(wrong).is_err(), "{wrong}");
        }
        let secret = "aws.credentials.secret_access_key=hunter2hunter2";
        let said = Override::parse(secret).unwrap_err().to_string();
        assert!(
            !said.contains("hunter2") && said.contains("seen by everybody"),
            "{said}"
        );
        let mut table: Table = "listen = 1".parse().unwrap();
        let said = set("listen.address=x").apply(&mut table).unwrap_err();
        assert!(said.to_string().contains("`listen` is no table"), "{said}");
    }

    proptest! {
        #[test]
        fn any_text_is_laid_over_as_one_value(text in "\\PC{0,40}", more in "[\\n\\[\\]={}\"a-z ]{0,20}") {
            let text = format!("{text}{more}");
            let table = laid("", &[set(&format!("a.b={text}"))]);
            prop_assert_eq!(table.len(), 1);
            prop_assert_eq!(table["a"].as_table().unwrap().len(), 1);
        }
    }
}
