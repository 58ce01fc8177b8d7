//! `configure`: AWS profiles that have `credential-process` for their credentials.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use hallpass_proto::v1;
use serde::Serialize;

use super::choices::Choices;
use super::{Context, entitlements};
use crate::aws_config::{self, ConfigError, ConfigFile, Profile};
use crate::cli::ConfigureArgs;
use crate::config;
use crate::connect::display;
use crate::errors::CliError;
use crate::exit::Exit;
use crate::output::clean::clean;
use crate::output::words;

/// What it prints for programs.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Configured {
    file: String,
    written: bool,
    profiles: Vec<ProfileObject>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ProfileObject {
    profile: String,
    entitlement: String,
    parameters: BTreeMap<String, String>,
}

/// Writes profiles, or takes them out.
///
/// # Errors
/// [`CliError::AwsConfig`], [`CliError::File`]: then nothing was written.
pub(super) async fn run(cx: &Context, args: ConfigureArgs) -> Result<Exit, CliError> {
    let path = file()?;
    let unusable = |source| CliError::File {
        path: path.clone(),
        source,
    };
    let unfit = |source| CliError::AwsConfig {
        path: path.clone(),
        source,
    };
    let before = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(unusable(error)),
    };
    let mut file = ConfigFile::parse(&before).map_err(unfit)?;
    if args.remove {
        remove(&mut file, &args);
    } else {
        add(cx, &mut file, &args, unfit).await?;
    }
    let after = file.render();
    let is_changed = after != before;
    if is_changed && !args.dry_run {
        write(&path, &after).map_err(unusable)?;
    }
    show(cx, &path, &file, &after, is_changed, args.dry_run)
}

fn remove(file: &mut ConfigFile, args: &ConfigureArgs) {
    let goes = |profile: &Profile| {
        args.entitlements.is_empty()
            || (args.entitlements.iter()).any(|e| e.as_str() == profile.entitlement)
    };
    file.profiles.retain(|_, profile| !goes(profile));
}

async fn add(
    cx: &Context,
    file: &mut ConfigFile,
    args: &ConfigureArgs,
    unfit: impl Fn(ConfigError) -> CliError,
) -> Result<(), CliError> {
    for (option, is_given) in [
        ("--profile names the profile", args.profile.is_some()),
        ("--param tells the access", !args.parameters.is_empty()),
    ] {
        if is_given && args.entitlements.len() != 1 {
            let words = format!("{option} of one entitlement: say which");
            return Err(CliError::Usage(words));
        }
    }
    let values = Choices::of(&args.parameters)?.parameters;
    let session = cx.session().await?;
    let all = entitlements::all(&session, true).await?;
    let mine: Vec<&v1::Entitlement> = if args.entitlements.is_empty() {
        all.iter()
            .filter(|e| e.allowed_duration.is_some())
            .collect()
    } else {
        let find = |e| entitlements::named(&all, e);
        args.entitlements
            .iter()
            .map(find)
            .collect::<Result<_, _>>()?
    };
    for entitlement in mine {
        let name = words::entitlement(&entitlement.name);
        for parameter in values.keys() {
            if entitlement.parameters.iter().all(|p| p.name != *parameter) {
                let words = format!("--param {parameter} is no parameter of {name}");
                return Err(CliError::Usage(words));
            }
        }
        let command = aws_config::quote(&command(cx, &name, &values)?).map_err(&unfit)?;
        let parts = [&name].into_iter().chain(values.values());
        let usual = parts.cloned().collect::<Vec<_>>().join("-");
        let profile = Profile {
            entitlement: name,
            parameters: values.clone(),
            command,
            region: clean(&entitlement.region),
        };
        let called = args.profile.as_deref().unwrap_or(&usual);
        file.set(called, profile).map_err(&unfit)?;
    }
    Ok(())
}

/// What AWS tools shall run: the same binary, server and login, wherever they run it.
fn command(
    cx: &Context,
    entitlement: &str,
    values: &BTreeMap<String, String>,
) -> Result<Vec<String>, CliError> {
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let absolute = |path: &Path| {
        std::path::absolute(path).map_err(|source| CliError::File {
            path: path.to_owned(),
            source,
        })
    };
    let exe = std::env::current_exe().map_err(|source| CliError::File {
        path: PathBuf::from("hallpass"),
        source,
    })?;
    let mut words = vec![text(&exe), "--server".to_owned(), display(&cx.server)];
    if let Some(ca) = cx.global.ca.as_deref().or(cx.config.ca.as_deref()) {
        words.extend(["--ca".to_owned(), text(&absolute(ca)?)]);
    }
    if cx.global.plaintext {
        words.push("--plaintext".to_owned());
    }
    if let Some(dev) = cx.dev_login()? {
        let issuer = dev.issuer.to_string();
        words.extend([
            "--as".to_owned(),
            dev.name,
            "--dev-issuer".to_owned(),
            issuer,
        ]);
    }
    words.extend(["credential-process".to_owned(), entitlement.to_owned()]);
    for (name, value) in values {
        words.extend(["--param".to_owned(), format!("{name}={value}")]);
    }
    Ok(words)
}

/// `AWS_CONFIG_FILE`, or `~/.aws/config`; where a link leads, so that the link stays.
fn file() -> Result<PathBuf, CliError> {
    let path = match std::env::var_os("AWS_CONFIG_FILE").filter(|path| !path.is_empty()) {
        Some(path) => PathBuf::from(path),
        None => config::absolute("HOME")
            .ok_or(CliError::NoHome)?
            .join(".aws/config"),
    };
    Ok(fs::canonicalize(&path).unwrap_or(path))
}

/// Puts the file in place whole, with the rights it had.
fn write(path: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent().filter(|f| !f.as_os_str().is_empty()) {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
    }
    let mode = fs::metadata(path).map_or(0o600, |about| about.permissions().mode() & 0o777);
    let fresh = path.with_added_extension(format!("hallpass-{}", std::process::id()));
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&fresh)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .and_then(|()| fs::set_permissions(&fresh, fs::Permissions::from_mode(mode)))
        .and_then(|()| fs::rename(&fresh, path));
    if written.is_err() {
        // The error of the write is the one to tell.
        let _ = fs::remove_file(&fresh);
    }
    written
}

fn show(
    cx: &Context,
    path: &Path,
    file: &ConfigFile,
    text: &str,
    is_changed: bool,
    is_dry_run: bool,
) -> Result<Exit, CliError> {
    let object = Configured {
        file: path.to_string_lossy().into_owned(),
        written: is_changed && !is_dry_run,
        profiles: (file.profiles.iter())
            .map(|(profile, p)| ProfileObject {
                profile: profile.clone(),
                entitlement: p.entitlement.clone(),
                parameters: p.parameters.clone(),
            })
            .collect(),
    };
    let human = || {
        if is_dry_run {
            return text.to_owned();
        }
        file.profiles
            .keys()
            .map(|name| format!("{name}\n"))
            .collect()
    };
    cx.terminal.show(&object, human)?;
    let path = path.display();
    cx.terminal.say(&match (is_changed, is_dry_run) {
        (true, false) => format!("wrote {path}"),
        (true, true) => format!("{path} would be so; nothing was written"),
        (false, _) => format!("{path} is so already"),
    });
    Ok(Exit::Ok)
}
