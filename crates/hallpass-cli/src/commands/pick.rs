//! Choosing from a list on a terminal, by typing parts of the words.

use dialoguer::FuzzySelect;
use dialoguer::console::Term;
use dialoguer::theme::{ColorfulTheme, SimpleTheme, Theme};
use hallpass_proto::v1;
use hallpass_types::{AccessRequestId, EntitlementId};

use super::Context;
use crate::durations;
use crate::errors::CliError;
use crate::hints;
use crate::output::clean::{clean, short};
use crate::output::{detail, words};

const TITLE_CHARACTERS: usize = 40;
const REASON_CHARACTERS: usize = 40;
const ROWS: usize = 12;

/// Lets the caller choose one of what may be asked for; `None` when they choose nothing. Only when
/// questions can be asked.
///
/// # Errors
/// [`CliError::Usage`] when there is nothing to choose from, [`CliError::Stdin`].
pub(super) fn entitlement(
    cx: &Context,
    list: &[&v1::Entitlement],
) -> Result<Option<EntitlementId>, CliError> {
    let mine: Vec<(EntitlementId, String)> = list
        .iter()
        .filter(|e| e.allowed_duration.is_some())
        .filter_map(|e| Some((EntitlementId::parse_name(&e.name).ok()?, row(e))))
        .collect();
    if mine.is_empty() {
        let words = "there is nothing that you may ask for now";
        return Err(CliError::Usage(words.to_owned()));
    }
    let rows: Vec<&str> = mine.iter().map(|(_, row)| row.as_str()).collect();
    let chosen = choose(cx, "What for? Type to narrow, Esc to leave", &rows)?;
    Ok(chosen.and_then(|index| mine.into_iter().nth(index).map(|(id, _)| id)))
}

/// Lets the caller choose one of their requests. Only when questions can be asked.
///
/// # Errors
/// [`CliError::Usage`] when there is nothing to choose from, [`CliError::NothingChosen`],
/// [`CliError::Stdin`].
pub(super) fn request(
    cx: &Context,
    list: &[&v1::AccessRequest],
) -> Result<AccessRequestId, CliError> {
    let view = cx.terminal.view();
    let mine: Vec<(AccessRequestId, String)> = list
        .iter()
        .filter_map(|r| {
            let id = AccessRequestId::parse_name(&r.name).ok()?;
            let what = words::with_values(r);
            let reason = short(&r.reason, REASON_CHARACTERS);
            let state = detail::state_line(&view.plain(), r);
            let row = format!("{what}  {state}  {id}  {reason}");
            Some((id, row))
        })
        .collect();
    if mine.is_empty() {
        let list = hints::typed("hallpass ls");
        let words = format!("you have no such request; `{list}` shows all of yours");
        return Err(CliError::Usage(words));
    }
    let rows: Vec<&str> = mine.iter().map(|(_, row)| row.as_str()).collect();
    let chosen = choose(cx, "Which? Type to narrow, Esc to leave", &rows)?;
    let chosen = chosen.and_then(|index| mine.into_iter().nth(index));
    chosen.map(|(id, _)| id).ok_or(CliError::NothingChosen)
}

fn choose(cx: &Context, question: &str, rows: &[&str]) -> Result<Option<usize>, CliError> {
    let colourful = ColorfulTheme::default();
    let theme: &dyn Theme = if cx.terminal.view().colour {
        &colourful
    } else {
        &SimpleTheme
    };
    FuzzySelect::with_theme(theme)
        .with_prompt(question)
        .items(rows)
        .default(0)
        .max_length(ROWS)
        .interact_on_opt(&Term::stderr())
        .map_err(|error| CliError::Stdin {
            source: error.into(),
        })
}

fn row(e: &v1::Entitlement) -> String {
    let allowed =
        words::span(e.allowed_duration.as_ref()).map_or_else(String::new, durations::words);
    format!(
        "{}  {}  {} {}, risk {}, up to {allowed}",
        words::entitlement(&e.name),
        short(&e.title, TITLE_CHARACTERS),
        clean(&e.account_name),
        clean(&e.environment),
        words::risk(e.risk),
    )
}
