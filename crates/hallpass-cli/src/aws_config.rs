//! Profiles in the AWS configuration file, between markers; text in, text out.

use std::collections::BTreeMap;

const BEGIN: &str =
    "# BEGIN hallpass: written by `hallpass configure`, which replaces all up to END";
const BEGIN_START: &str = "# BEGIN hallpass";
/// At the end of the first marker: what stands before had no end of line, and gets that back.
const UNENDED: &str = " (the line above had no end)";
const END: &str = "# END hallpass";

/// One profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Profile {
    /// What is asked for.
    pub(crate) entitlement: String,
    /// Values that tell it from other access to the entitlement.
    pub(crate) parameters: BTreeMap<String, String>,
    /// The command that gives credentials, quoted for a shell.
    pub(crate) command: String,
    /// Region to use by default; none when empty.
    pub(crate) region: String,
}

/// Why the file is left alone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("the markers of hallpass are not in pairs: line {line}")]
    Markers { line: usize },
    #[error("it has a profile {name} that hallpass did not write")]
    Taken { name: String },
    #[error("{name:?} cannot be a profile's name")]
    Name { name: String },
    #[error("{word:?} cannot be quoted for a shell")]
    Word { word: String },
}

/// The file in three parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConfigFile {
    before: String,
    after: String,
    has_block: bool,
    /// Ours, by name.
    pub(crate) profiles: BTreeMap<String, Profile>,
}

impl ConfigFile {
    /// Reads a file; what is not between our markers is kept as it is.
    ///
    /// # Errors
    /// [`ConfigError::Markers`].
    pub(crate) fn parse(text: &str) -> Result<Self, ConfigError> {
        let mut file = Self {
            before: String::new(),
            after: String::new(),
            has_block: false,
            profiles: BTreeMap::new(),
        };
        let (mut is_inside, mut was_unended, mut block) = (false, false, String::new());
        for (index, line) in text.split_inclusive('\n').enumerate() {
            let line_number = index.saturating_add(1);
            let word = line.trim();
            let markers = ConfigError::Markers { line: line_number };
            if word.starts_with(BEGIN_START) {
                if is_inside || file.has_block {
                    return Err(markers);
                }
                (is_inside, file.has_block) = (true, true);
                was_unended = word.ends_with(UNENDED);
            } else if word == END {
                if !is_inside {
                    return Err(markers);
                }
                is_inside = false;
            } else if is_inside {
                block.push_str(line);
            } else if file.has_block {
                file.after.push_str(line);
            } else {
                file.before.push_str(line);
            }
        }
        if is_inside {
            let line = text.lines().count();
            return Err(ConfigError::Markers { line });
        }
        // What was written behind our block needs the end that we gave.
        if was_unended && file.after.is_empty() && file.before.ends_with('\n') {
            file.before.pop();
        }
        file.profiles = profiles(&block);
        Ok(file)
    }

    /// Adds a profile, or replaces ours of that name.
    ///
    /// # Errors
    /// [`ConfigError::Taken`], [`ConfigError::Name`].
    pub(crate) fn set(&mut self, name: &str, profile: Profile) -> Result<(), ConfigError> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-@/+".contains(c);
        if name.is_empty() || !name.chars().all(is_plain) {
            return Err(ConfigError::Name {
                name: name.to_owned(),
            });
        }
        let others = [&self.before, &self.after];
        if others
            .into_iter()
            .flat_map(|text| sections(text))
            .any(|other| other == name)
        {
            return Err(ConfigError::Taken {
                name: name.to_owned(),
            });
        }
        self.profiles.insert(name.to_owned(), profile);
        Ok(())
    }

    /// The file's text.
    pub(crate) fn render(&self) -> String {
        let mut text = self.before.clone();
        if !self.profiles.is_empty() {
            let is_unended = !text.is_empty() && !text.ends_with('\n');
            let (end, told) = if is_unended {
                ("\n", UNENDED)
            } else {
                ("", "")
            };
            text.push_str(&format!("{end}{BEGIN}{told}\n"));
            for (name, profile) in &self.profiles {
                let section = if name == "default" {
                    "default".to_owned()
                } else {
                    format!("profile {name}")
                };
                let values = profile.parameters.iter();
                let values: String = values.map(|(n, v)| format!(" {n}={v}")).collect();
                let entitlement = &profile.entitlement;
                text.push_str(&format!("[{section}]\n# {entitlement}{values}\n"));
                text.push_str(&format!("credential_process = {}\n", profile.command));
                if !profile.region.is_empty() {
                    text.push_str(&format!("region = {}\n", profile.region));
                }
            }
            text.push_str(END);
            text.push('\n');
        }
        text.push_str(&self.after);
        text
    }
}

/// The profiles of our block.
fn profiles(block: &str) -> BTreeMap<String, Profile> {
    let mut all: BTreeMap<String, Profile> = BTreeMap::new();
    let mut current = None;
    for line in block.lines().map(str::trim) {
        if let Some(name) = section(line) {
            let empty = Profile {
                entitlement: String::new(),
                parameters: BTreeMap::new(),
                command: String::new(),
                region: String::new(),
            };
            current = Some(all.entry(name.to_owned()).or_insert(empty));
        } else if let Some(profile) = current.as_mut() {
            let value = |key: &str| {
                let (name, value) = line.split_once('=')?;
                (name.trim() == key).then(|| value.trim().to_owned())
            };
            if let Some(what) = line.strip_prefix("# ") {
                let mut words = what.split(' ');
                profile.entitlement = words.next().unwrap_or_default().to_owned();
                let values = words.filter_map(|word| word.split_once('='));
                profile.parameters = values.map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
            } else if let Some(command) = value("credential_process") {
                profile.command = command;
            } else if let Some(region) = value("region") {
                profile.region = region;
            }
        }
    }
    all
}

/// The names of the profiles in `text`.
fn sections(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| section(line.trim()))
}

/// A profile's name, when the line begins its section.
fn section(line: &str) -> Option<&str> {
    let (inside, _) = line.strip_prefix('[')?.split_once(']')?;
    let inside = inside.trim();
    let name = match inside.split_once(char::is_whitespace) {
        Some(("profile", name)) => name.trim(),
        None => inside,
        Some(_) => return None,
    };
    let quoted = name.strip_prefix('"').and_then(|n| n.strip_suffix('"'));
    Some(quoted.unwrap_or(name))
}

/// Words as one line that a POSIX shell and Python's `shlex` split alike.
///
/// # Errors
/// [`ConfigError::Word`] for a word that would need more than double quotes.
pub(crate) fn quote(words: &[String]) -> Result<String, ConfigError> {
    let quoted: Result<Vec<String>, ConfigError> = words
        .iter()
        .map(|word| {
            let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-:@%+=,".contains(c);
            let is_quotable = |c: char| !c.is_control() && !"\"\\$`!".contains(c);
            if !word.is_empty() && word.chars().all(is_plain) {
                Ok(word.clone())
            } else if word.chars().all(is_quotable) {
                Ok(format!("\"{word}\""))
            } else {
                Err(ConfigError::Word { word: word.clone() })
            }
        })
        .collect();
    quoted.map(|words| words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const THEIRS: &str =
        "# mine\n[default]\nregion=eu-west-1\n\n[profile work]\nsso_session = x\r\n";

    fn profile(entitlement: &str) -> Profile {
        Profile {
            entitlement: entitlement.to_owned(),
            parameters: BTreeMap::new(),
            command: format!("/bin/hallpass credential-process {entitlement}"),
            region: "eu-central-1".to_owned(),
        }
    }

    #[test]
    fn profiles_are_added_replaced_and_taken_out_between_the_markers() {
        let mut file = ConfigFile::parse(THEIRS).unwrap();
        file.set("prod", profile("prod")).unwrap();
        let once = file.render();
        insta::assert_snapshot!(once.replace('\r', "␍"), @r"
        # mine
        [default]
        region=eu-west-1

        [profile work]
        sso_session = x␍
        # BEGIN hallpass: written by `hallpass configure`, which replaces all up to END
        [profile prod]
        # prod
        credential_process = /bin/hallpass credential-process prod
        region = eu-central-1
        # END hallpass
        ");
        let added = format!("{once}[profile later]\nregion = x");
        let mut file = ConfigFile::parse(&added).unwrap();
        assert_eq!(file.render(), added);
        file.set("dev", profile("dev")).unwrap();
        file.set("prod", profile("prod-2")).unwrap();
        let more = file.render();
        assert!(
            more.contains("[profile dev]") && more.contains("process prod-2\n"),
            "{more}"
        );
        assert!(more.starts_with(THEIRS) && more.ends_with("[profile later]\nregion = x"));
        file.profiles.clear();
        assert_eq!(
            file.render(),
            format!("{THEIRS}[profile later]\nregion = x")
        );
    }

    #[test]
    fn what_was_written_behind_a_line_that_had_no_end_stays_a_line_of_its_own() {
        let mut file = ConfigFile::parse("[profile work]\nrole_arn = y").unwrap();
        file.set("p", profile("p")).unwrap();
        let later = format!("{}[profile later]\n", file.render());
        let mut file = ConfigFile::parse(&later).unwrap();
        file.profiles.clear();
        let both = "[profile work]\nrole_arn = y\n[profile later]\n";
        assert_eq!(file.render(), both);
    }

    #[test]
    fn values_are_kept_with_their_profile() {
        let mut file = ConfigFile::parse("").unwrap();
        let values = [("folder", "a/b"), ("stage", "x=y")];
        let values = values.map(|(n, v)| (n.to_owned(), v.to_owned()));
        let with = Profile {
            parameters: values.into(),
            ..profile("orders")
        };
        file.set("orders-a/b", with).unwrap();
        let text = file.render();
        assert!(text.contains("\n# orders folder=a/b stage=x=y\n"), "{text}");
        assert_eq!(ConfigFile::parse(&text).unwrap().profiles, file.profiles);
    }

    #[test]
    fn a_profile_of_somebody_else_is_never_replaced() {
        for name in ["default", "work", "quoted one"] {
            let text = format!("{THEIRS}[profile \"quoted one\"]\n");
            let mut file = ConfigFile::parse(&text).unwrap();
            assert!(file.set(name, profile("x")).is_err(), "{name}");
            assert_eq!(file.render(), text);
        }
        let mut file = ConfigFile::parse("").unwrap();
        for name in ["", "a]b", "a b", "a\nb", "é"] {
            let name = name.to_owned();
            assert_eq!(
                file.set(&name, profile("x")),
                Err(ConfigError::Name { name })
            );
        }
        file.set("default", profile("x")).unwrap();
        assert!(file.render().contains("\n[default]\n"));
    }

    #[test]
    fn markers_without_a_partner_stop_everything() {
        for text in [
            "# BEGIN hallpass\n",
            "# END hallpass\n",
            "# BEGIN hallpass\n# BEGIN hallpass\n# END hallpass\n",
            "# BEGIN hallpass\n# END hallpass\n# BEGIN hallpass\n# END hallpass\n",
        ] {
            let parsed = ConfigFile::parse(text);
            assert!(
                matches!(parsed, Err(ConfigError::Markers { .. })),
                "{text:?}"
            );
        }
    }

    #[test]
    fn words_are_quoted_for_a_shell_or_refused() {
        let quoted = |word: &str| quote(&["hallpass".to_owned(), word.to_owned()]);
        assert_eq!(quoted("a/b").as_deref(), Ok("hallpass a/b"));
        assert_eq!(quoted("a b'c").as_deref(), Ok("hallpass \"a b'c\""));
        assert_eq!(quoted("").as_deref(), Ok("hallpass \"\""));
        for word in ["a\"b", "$HOME", "`id`", "a\\b", "a\nb", "a!b"] {
            assert!(quoted(word).is_err(), "{word}");
        }
    }

    proptest! {
        #[test]
        fn what_is_not_ours_survives(
            before in "([a-z\\[\\] =#]{0,12}\r?\n){0,4}",
            after in "([a-z\\[\\] =#]{0,12}\n){0,4}[a-z]{0,5}",
        ) {
            let bare = format!("{before}{after}");
            if let Ok(file) = ConfigFile::parse(&bare) {
                prop_assert_eq!(file.render(), bare);
            }
            let text = format!("{before}{BEGIN}\n{END}\n{after}");
            if let Ok(mut file) = ConfigFile::parse(&text) && file.set("p", profile("p")).is_ok() {
                let again = file.render();
                prop_assert!(again.starts_with(&before) && again.ends_with(&after));
                let back = ConfigFile::parse(&again).unwrap();
                prop_assert_eq!(back.render(), again);
                prop_assert_eq!(back.profiles, file.profiles);
            }
        }

        #[test]
        fn what_was_added_and_taken_out_leaves_every_byte(
            theirs in "(([a-z\\[\\] =#]{0,12}|\\[profile [a-z]{1,3}\\])\r?\n){0,4}[a-z =#]{0,12}",
        ) {
            let mut file = ConfigFile::parse(&theirs).unwrap();
            if file.set("ours", profile("x")).is_ok() {
                let mut again = ConfigFile::parse(&file.render()).unwrap();
                again.set("more", profile("y")).unwrap();
                let mut last = ConfigFile::parse(&again.render()).unwrap();
                prop_assert_eq!(last.profiles.len(), 2);
                last.profiles.clear();
                prop_assert_eq!(last.render(), theirs);
            }
        }

        #[test]
        fn a_shell_splits_the_words_again(word in "[ -~]{0,20}") {
            if let Ok(line) = quote(&["printf".to_owned(), "%s".to_owned(), word.clone()]) {
                let out = std::process::Command::new("sh").args(["-c", &line]).output().unwrap();
                prop_assert_eq!(String::from_utf8(out.stdout).unwrap(), word);
            }
        }
    }
}
