//! What is wrong in a configuration file, by line and key. It never quotes a line: a line may hold
//! a secret.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

const SEE_DEFAULT: &str = "`hallpassd print-config` shows every key with an example";

/// Forms that types alone do not tell.
const FORMS: [(&str, &str); 8] = [
    (
        "listen.address",
        "write ADDRESS:PORT, for instance 127.0.0.1:8443",
    ),
    (
        "temporal.address",
        "write http://HOST:7233, or https:// for TLS",
    ),
    (
        "_public_keys",
        "write them as `hallpassd new-signing-key` printed them",
    ),
    (
        "provisioner_role_arn",
        "write arn:aws:iam::ACCOUNT:role/NAME",
    ),
    (
        "aws.accounts",
        "write one table for each account: [aws.accounts.111122223333]",
    ),
    (
        "temporal.api_key",
        "write { env = \"NAME\" } or { file = \"PATH\" }",
    ),
    (
        "temporal.encryption.keys",
        "write NAME = { file = \"PATH\" } or { kms = \"ARN\" } for each key",
    ),
    (
        "secret_access_key",
        "write { env = \"NAME\" } and put the key into that environment variable",
    ),
];

/// An error in a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Explained {
    /// From 1.
    pub(super) line: usize,
    pub(super) problem: String,
    pub(super) cure: String,
}

/// Where an error is: the path of the key, and the extent of key and value.
struct Place {
    path: String,
    key: Range<usize>,
    value: Range<usize>,
    is_table: bool,
}

/// Says in words what the parser found in `text`.
pub(super) fn explain(text: &str, error: &toml::de::Error) -> Explained {
    let span = error.span().unwrap_or(0..0);
    let message = error.message();
    let line_of = |offset: usize| {
        let before = text.as_bytes().get(..offset).unwrap_or_default();
        before.iter().filter(|b| **b == b'\n').count() + 1
    };
    let Ok(document) = DeTable::parse(text) else {
        return Explained {
            line: line_of(span.start),
            problem: message.lines().collect::<Vec<_>>().join(", "),
            cure: "write it as TOML wants it".to_owned(),
        };
    };
    let mut places = Vec::new();
    collect(document.get_ref(), "", &mut places);
    if let Some((name, known)) = quoted(message, "unknown field ") {
        let owner = owner_of(&places, &span);
        let path = join(&owner, &name);
        let key = places.iter().find(|p| p.path == path).map(|p| &p.key);
        return Explained {
            line: line_of(key.unwrap_or(&span).start),
            problem: format!("unknown key `{path}`"),
            cure: choice(&name, &known),
        };
    }
    if let Some((name, _)) = quoted(message, "missing field ") {
        let owner = table_at(&places, &span);
        return Explained {
            line: line_of(if owner.is_empty() { 0 } else { span.start }),
            problem: format!("the key `{}` is missing", join(&owner, &name)),
            cure: format!("add it; {SEE_DEFAULT}"),
        };
    }
    let place = deepest(&places, &span);
    let path = place.map_or("the file", |p| p.path.as_str());
    let line = line_of(place.map_or(span.start, |p| p.key.start));
    if let Some((name, known)) = quoted(message, "unknown variant ")
        && !holds_secret(path)
    {
        return Explained {
            line,
            problem: format!("`{path}` cannot be \"{name}\""),
            cure: choice(&name, &known),
        };
    }
    let value = place
        .filter(|p| !p.is_table && !holds_secret(path))
        .and_then(|p| text.get(p.value.clone()))
        .filter(|value| value.len() <= 80 && !value.contains('\n'));
    let problem = match value {
        Some(value) => format!("`{path}` is {value}: {message}"),
        None if holds_secret(path) => format!("`{path}` is not as it must be"),
        None => format!("`{path}`: {message}"),
    };
    let form = FORMS.iter().find(|(key, _)| path.contains(key));
    Explained {
        line,
        problem,
        cure: form.map_or(SEE_DEFAULT, |(_, cure)| *cure).to_owned(),
    }
}

fn holds_secret(path: &str) -> bool {
    let kept_elsewhere = ["secret", "api_key", "temporal.encryption"];
    ["aws.credentials", "directory.token"].contains(&path)
        || kept_elsewhere.iter().any(|part| path.contains(part))
}

fn join(owner: &str, name: &str) -> String {
    if owner.is_empty() {
        name.to_owned()
    } else {
        format!("{owner}.{name}")
    }
}

fn collect(table: &DeTable<'_>, owner: &str, places: &mut Vec<Place>) {
    for (key, value) in table {
        let path = join(owner, key.get_ref());
        collect_value(value, path, key.span(), places);
    }
}

fn collect_value(
    value: &Spanned<DeValue<'_>>,
    path: String,
    key: Range<usize>,
    places: &mut Vec<Place>,
) {
    match value.get_ref() {
        DeValue::Table(table) => collect(table, &path, places),
        DeValue::Array(items) => {
            for (n, item) in items.iter().enumerate() {
                collect_value(item, format!("{path}[{n}]"), item.span(), places);
            }
        }
        _ => {}
    }
    places.push(Place {
        path,
        key,
        value: value.span(),
        is_table: value.get_ref().is_table(),
    });
}

/// The innermost place that has the error in its key or its value.
fn deepest<'a>(places: &'a [Place], span: &Range<usize>) -> Option<&'a Place> {
    let has = |p: &&Place| p.key.contains(&span.start) || p.value.contains(&span.start);
    places.iter().filter(has).max_by_key(|p| p.path.len())
}

/// The table that the parser complains about; the whole file when it is none of them.
fn table_at(places: &[Place], span: &Range<usize>) -> String {
    let is_it = |p: &&Place| p.is_table && p.value == *span;
    let found = places.iter().find(is_it);
    found.map_or_else(String::new, |p| p.path.clone())
}

/// The table that has the key at `span`, or the table at `span` itself.
fn owner_of(places: &[Place], span: &Range<usize>) -> String {
    let by_key = places.iter().find(|p| p.key == *span);
    match by_key.and_then(|p| p.path.rsplit_once('.')) {
        Some((owner, _)) => owner.to_owned(),
        None if by_key.is_some() => String::new(),
        None => table_at(places, span),
    }
}

/// The name after `prefix`, and the names that would have been right.
fn quoted(message: &str, prefix: &str) -> Option<(String, Vec<String>)> {
    let mut names = message.strip_prefix(prefix)?.split('`').skip(1).step_by(2);
    let name = names.next()?.to_owned();
    Some((name, names.map(str::to_owned).collect()))
}

fn choice(name: &str, known: &[String]) -> String {
    let near = |k: &&String| strsim::damerau_levenshtein(name, k) <= 1 + k.len() / 4;
    let nearest = known
        .iter()
        .filter(near)
        .min_by_key(|k| strsim::damerau_levenshtein(name, k));
    match (nearest, known) {
        (Some(nearest), _) => format!("did you mean `{nearest}`?"),
        (None, []) => "remove it".to_owned(),
        (None, known) => format!("known here: {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Config, DEFAULT};
    use super::*;
    use proptest::prelude::*;

    fn of(text: &str) -> Explained {
        explain(text, &toml::from_str::<Config>(text).unwrap_err())
    }

    #[test]
    fn a_misspelt_key_is_named_with_its_line_and_the_nearest() {
        let text = DEFAULT.replace("calls_per_minute", "calls_per_minuet");
        let found = of(&text);
        assert_eq!(found.problem, "unknown key `limits.calls_per_minuet`");
        assert_eq!(found.cure, "did you mean `calls_per_minute`?");
        let line = text.lines().nth(found.line - 1).unwrap();
        assert_eq!(line, "calls_per_minuet = 600");
    }

    #[test]
    fn a_misspelt_secret_is_not_quoted() {
        let inline = "source = \"static\"\naccess_key_id = \"AKIAEXAMPLE\"\n";
        for wrong in [
            "secret_acess_key = \"hunter2hunter2\"",
            "secret_access_key = { envv = \"hunter2hunter2\" }",
            "secret_access_key = \"hunter2hunter2",
        ] {
            let new = format!("{inline}{wrong}");
            let found = of(&DEFAULT.replace("source = \"default_chain\"", &new));
            assert!(!format!("{found:?}").contains("hunter2"), "{found:?}");
        }
        let found = of(&DEFAULT
            .replace("[aws.credentials]", "")
            .replace("source = \"default_chain\"", "credentials = \"hunter2\""));
        assert!(!format!("{found:?}").contains("hunter2"), "{found:?}");
    }

    proptest! {
        #[test]
        fn a_broken_file_is_explained_without_panic(at in 0usize..1_500, junk in "\\PC{1,12}") {
            let at = DEFAULT.floor_char_boundary(at.min(DEFAULT.len()));
            let text = format!("{}{junk}{}", &DEFAULT[..at], &DEFAULT[at..]);
            if let Err(error) = toml::from_str::<Config>(&text) {
                let found = explain(&text, &error);
                prop_assert!((1..=text.lines().count() + 1).contains(&found.line));
                prop_assert!(!found.problem.is_empty() && !found.cure.is_empty());
            }
        }
    }
}
