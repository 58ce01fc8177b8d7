//! Problems shown in the text that has them.

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use hallpass_policy::Place;

use crate::pack::Files;
use crate::report::Screen;

/// One thing to show.
pub(crate) struct Shown<'a> {
    pub(crate) is_error: bool,
    pub(crate) name: Option<&'a str>,
    pub(crate) file: &'a str,
    pub(crate) place: Option<Place>,
    pub(crate) what: &'a str,
    pub(crate) help: Option<&'a str>,
}

/// The problem with the line that has it, as compilers show it.
pub(crate) fn render(shown: &Shown<'_>, files: &Files, screen: &Screen) -> String {
    let level = if shown.is_error {
        Level::ERROR
    } else {
        Level::WARNING
    };
    let mut title = level.primary_title(shown.what);
    if let Some(name) = shown.name {
        title = title.id(name);
    }
    let text = files
        .get(shown.file)
        .and_then(|b| std::str::from_utf8(b).ok());
    let mut group = match (text, shown.place) {
        (Some(text), Some(place)) => {
            let mark = AnnotationKind::Primary.span(place.start..place.end);
            let snippet = Snippet::source(text).path(shown.file).annotation(mark);
            title.element(snippet)
        }
        _ => title.element(annotate_snippets::Origin::path(shown.file)),
    };
    if let Some(help) = shown.help {
        group = group.element(Level::HELP.message(help));
    }
    let renderer = match screen.colour {
        true => Renderer::styled(),
        false => Renderer::plain(),
    };
    let report: &[Group<'_>] = &[group];
    renderer.render(report) + "\n\n"
}
