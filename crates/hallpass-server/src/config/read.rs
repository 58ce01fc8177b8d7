//! From a file, and what goes before it, to a configuration.

use std::path::Path;

use hallpass_types::AwsAccountId;

use super::{Config, ConfigError, Override, explain};

impl Config {
    /// Reads a file, with what the environment and the command line lay over it, as the workers of
    /// `account` see it if it is given.
    pub(crate) fn load(
        path: &Path,
        overrides: &[Override],
        account: Option<AwsAccountId>,
    ) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: path.to_owned(),
            source,
        })?;
        let mut config = match overrides {
            [] => Self::parse(path, &text)?,
            overrides => Self::parse_overlaid(path, &text, overrides)?,
        };
        config.overlaid = overrides.to_vec();
        config.check()?;
        if let Some(account) = account {
            config.serve_only(account)?;
        }
        config.check_files()?;
        Ok(config)
    }

    fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        toml::from_str(text).map_err(|error| unreadable(path, text, &error))
    }

    fn parse_overlaid(
        path: &Path,
        text: &str,
        overrides: &[Override],
    ) -> Result<Self, ConfigError> {
        let table = toml::from_str::<toml::Table>(text);
        let mut table = table.map_err(|error| unreadable(path, text, &error))?;
        for over in overrides {
            over.apply(&mut table)?;
        }
        // Lines of what comes out are nobody's.
        let text = table.to_string();
        toml::from_str(&text).map_err(|error| {
            let explain::Explained { problem, cure, .. } = explain::explain(&text, &error);
            ConfigError::Overlaid {
                path: path.to_owned(),
                problem,
                cure,
            }
        })
    }

    /// Says what went before the file: whoever reads that must learn what it does not say.
    pub(crate) fn tell_overlaid(&self) {
        for over in &self.overlaid {
            tracing::info!(key = %over, "goes before the file");
        }
    }
}

fn unreadable(path: &Path, text: &str, error: &toml::de::Error) -> ConfigError {
    let found = explain::explain(text, error);
    ConfigError::Parse {
        path: path.to_owned(),
        line: found.line,
        problem: found.problem,
        cure: found.cure,
    }
}
