//! Rules for every text file that is tracked.

use std::path::Path;

use super::Finding;

/// Split, so that this file does not break its own rules.
const MARKERS: [&str; 2] = [concat!("FIX", "ME"), concat!("XX", "X")];
const MACHINE_PATHS: [&str; 2] = [concat!("/wo", "rk/"), concat!("/ro", "ot/")];

const EMPTY_NAMES: [&str; 6] = ["common", "helper", "helpers", "misc", "util", "utils"];

/// Checks one file's name and lines.
pub(crate) fn check(file: &str, content: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(message) = bad_name(file) {
        findings.push(Finding::new(file, 1, message));
    }
    for (index, line) in content.split('\n').enumerate() {
        let mut find = |message: String| findings.push(Finding::new(file, index + 1, message));
        if line.ends_with([' ', '\t', '\r']) && !is_recorded(file) {
            find("trailing white space".to_owned());
        }
        for path in MACHINE_PATHS.iter().filter(|path| holds_path(line, path)) {
            find(format!("a path of one machine: {path}"));
        }
        for marker in MARKERS.iter().filter(|marker| holds_word(line, marker)) {
            find(format!("a forgotten {marker}"));
        }
    }
    findings
}

fn bad_name(file: &str) -> Option<String> {
    let path = Path::new(file);
    if path.extension()? != "rs" {
        return None;
    }
    if path.file_name()? == "mod.rs" {
        return Some("name the file after its module instead of mod.rs".to_owned());
    }
    let names = path
        .iter()
        .filter_map(|part| Path::new(part).file_stem()?.to_str());
    let empty = names.into_iter().find(|name| EMPTY_NAMES.contains(name))?;
    Some(format!(
        "`{empty}` says nothing: name it after what it is about"
    ))
}

/// Output that was recorded keeps the blanks that the program printed.
fn is_recorded(file: &str) -> bool {
    file.starts_with("tests/golden/") || file.ends_with(".snap")
}

/// Whether an absolute path is named, rather than a part of a longer or a relative one.
fn holds_path(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|it| it.is_alphanumeric() || matches!(it, '_' | '-' | '.' | '}' | '*'))
    })
}

fn holds_word(line: &str, word: &str) -> bool {
    let part_of_word = |it: char| it.is_alphanumeric() || it == '_';
    line.match_indices(word).any(|(at, _)| {
        !line[..at].ends_with(part_of_word) && !line[at + word.len()..].starts_with(part_of_word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(file: &str, content: &str) -> Vec<String> {
        check(file, content)
            .into_iter()
            .map(|finding| finding.message)
            .collect()
    }

    #[test]
    fn clean_text_passes() {
        assert_eq!(messages("src/a.rs", "//! A.\n\nfn a() {}\n"), [""; 0]);
        assert_eq!(messages("README.md", "utils\n"), [""; 0]);
    }

    #[test]
    fn trailing_white_space_is_found_except_in_recorded_output() {
        for line in ["a ", "a\t", "a\r"] {
            assert_eq!(
                messages("a.md", &format!("{line}\n")),
                ["trailing white space"]
            );
        }
        assert_eq!(messages("tests/golden/list.txt", "a \n"), [""; 0]);
    }

    #[test]
    fn paths_of_one_machine_are_found() {
        for before in ["", "see ", "\"", "file://", "=", "("] {
            let line = format!("{before}{}x", MACHINE_PATHS[0]);
            assert_eq!(messages("a.md", &line).len(), 1, "{line}");
        }
        for before in [".", "a", "src", "${here}"] {
            let line = format!("{before}{}x", MACHINE_PATHS[0]);
            assert_eq!(messages("a.md", &line), [""; 0], "{line}");
        }
    }

    #[test]
    fn markers_are_found_as_words() {
        let found = check("a.toml", &format!("a = 1\n# {} later\n", MARKERS[0]));
        assert_eq!(
            found,
            [Finding::new(
                "a.toml",
                2,
                format!("a forgotten {}", MARKERS[0])
            )]
        );
        assert_eq!(messages("a.md", &format!("key {}X", MARKERS[1])), [""; 0]);
        assert_eq!(messages("a.md", &format!("key {},", MARKERS[1])).len(), 1);
    }

    #[test]
    fn names_that_say_nothing_are_found() {
        for file in [
            "src/mod.rs",
            "src/utils.rs",
            "src/helpers/a.rs",
            "tests/common.rs",
        ] {
            assert_eq!(messages(file, "").len(), 1, "{file}");
        }
        for file in ["src/model.rs", "docs/utils.md", "src/utilities_of_aws.rs"] {
            assert_eq!(messages(file, ""), [""; 0], "{file}");
        }
    }
}
