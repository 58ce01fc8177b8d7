//! Rules for Rust files: sizes, the opening line, and what may not be written at all.

use std::path::Path;

use proc_macro2::{Delimiter, Ident, Span, TokenStream, TokenTree};
use syn::visit::{self, Visit};

use super::Finding;

const MOST_LINES: usize = 400;
const MOST_LINES_OF_LIB: usize = 80;
const MOST_LINES_OF_MAIN: usize = 100;
const MOST_LINES_OF_FUNCTION: usize = 70;
/// A workflow's `run` is read from top to bottom and may be longer.
const MOST_LINES_OF_RUN: usize = 120;

const FORBIDDEN_MACROS: [&str; 2] = ["todo", "unimplemented"];

/// Declares activities that the worker implements: the macro wants bodies that never run.
const DECLARATIONS: &str = "workflows/src/activities.rs";

/// Checks one Rust file.
pub(crate) fn check(file: &str, content: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !content.starts_with("//!") {
        findings.push(Finding::new(file, 1, "the file does not open with `//!`"));
    }
    let parsed = match syn::parse_file(content) {
        Ok(parsed) => parsed,
        Err(error) => {
            let line = error.span().start().line;
            findings.push(Finding::new(
                file,
                line,
                format!("cannot be parsed: {error}"),
            ));
            return findings;
        }
    };
    findings.extend(long_file(file, content, &parsed));
    let mut functions = Functions {
        file,
        findings: Vec::new(),
    };
    functions.visit_file(&parsed);
    findings.extend(functions.findings);
    if let Ok(tokens) = content.parse() {
        forbidden_tokens(file, tokens, &mut findings);
    }
    findings
}

/// Tests may hold long tables, of attacks for one.
fn is_test(file: &str) -> bool {
    Path::new(file).iter().any(|part| part == "tests")
}

fn long_file(file: &str, content: &str, parsed: &syn::File) -> Option<Finding> {
    let path = Path::new(file);
    let before_tests = parsed
        .items
        .iter()
        .find_map(test_module_line)
        .map(|line| line - 1);
    let lines = before_tests.unwrap_or_else(|| content.lines().count());
    let most = match path.file_name()?.to_str()? {
        _ if is_test(file) => return None,
        "lib.rs" => MOST_LINES_OF_LIB,
        "main.rs" => MOST_LINES_OF_MAIN,
        _ => MOST_LINES,
    };
    (lines > most).then(|| {
        Finding::new(
            file,
            most + 1,
            format!("{lines} lines before tests, at most {most}"),
        )
    })
}

/// The first line of an inline module that only tests see.
fn test_module_line(item: &syn::Item) -> Option<usize> {
    let syn::Item::Mod(module) = item else {
        return None;
    };
    let is_test = |attribute: &&syn::Attribute| {
        attribute.path().is_ident("cfg")
            && attribute
                .parse_args::<syn::Path>()
                .is_ok_and(|path| path.is_ident("test"))
    };
    let attribute = module.attrs.iter().find(is_test)?;
    module
        .content
        .as_ref()
        .map(|_| attribute.pound_token.span.start().line)
}

struct Functions<'a> {
    file: &'a str,
    findings: Vec<Finding>,
}

impl Functions<'_> {
    fn measure(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let first = signature.fn_token.span.start().line;
        let lines = block.brace_token.span.close().end().line - first + 1;
        let is_run = signature.ident == "run" && self.file.starts_with("workflows/");
        let most = if is_run {
            MOST_LINES_OF_RUN
        } else {
            MOST_LINES_OF_FUNCTION
        };
        if lines > most && !is_test(self.file) {
            let message = format!("`{}` has {lines} lines, at most {most}", signature.ident);
            self.findings.push(Finding::new(self.file, first, message));
        }
    }
}

impl<'ast> Visit<'ast> for Functions<'_> {
    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.measure(&function.sig, &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.measure(&function.sig, &function.block);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast syn::TraitItemFn) {
        if let Some(block) = &function.default {
            self.measure(&function.sig, block);
        }
        visit::visit_trait_item_fn(self, function);
    }
}

/// Looks at tokens, so that macro bodies count and strings and comments do not.
fn forbidden_tokens(file: &str, tokens: TokenStream, findings: &mut Vec<Finding>) {
    let mut find = |span: Span, message: String| {
        findings.push(Finding::new(file, span.start().line, message));
    };
    let tokens: Vec<_> = tokens.into_iter().collect();
    let mut groups = Vec::new();
    for (index, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Ident(name)
                if file != DECLARATIONS && is_forbidden_macro(name, tokens.get(index + 1)) =>
            {
                find(name.span(), format!("`{name}!` is not finished work"));
            }
            TokenTree::Group(group) => {
                let attribute =
                    group.delimiter() == Delimiter::Bracket && opens_attribute(&tokens[..index]);
                if attribute && let Some(message) = forbidden_attribute(group.stream()) {
                    find(group.span(), message);
                }
                groups.push(group.stream());
            }
            _ => {}
        }
    }
    for group in groups {
        forbidden_tokens(file, group, findings);
    }
}

fn is_forbidden_macro(name: &Ident, next: Option<&TokenTree>) -> bool {
    FORBIDDEN_MACROS.iter().any(|forbidden| name == forbidden)
        && matches!(next, Some(TokenTree::Punct(mark)) if mark.as_char() == '!')
}

/// Whether the tokens end in `#` or `#!`.
fn opens_attribute(before: &[TokenTree]) -> bool {
    let is =
        |token: &TokenTree, mark| matches!(token, TokenTree::Punct(it) if it.as_char() == mark);
    match before {
        [.., hash, bang] if is(bang, '!') => is(hash, '#'),
        [.., hash] => is(hash, '#'),
        [] => false,
    }
}

/// What is wrong with an attribute, also when `cfg_attr` wraps it.
fn forbidden_attribute(attribute: TokenStream) -> Option<String> {
    let wrapped = attribute.to_string().starts_with("cfg_attr");
    for token in attribute {
        match token {
            TokenTree::Ident(name) if name == "allow" => {
                return Some("use `#[expect(…, reason = …)]` instead of `allow`".to_owned());
            }
            TokenTree::Ident(name) if name == "ignore" => {
                return Some("a test that is ignored is no test".to_owned());
            }
            TokenTree::Group(group) if wrapped => {
                if let Some(message) = forbidden_attribute(group.stream()) {
                    return Some(message);
                }
            }
            _ => {}
        }
    }
    None
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

    fn file_of(lines: usize) -> String {
        format!("//! Doc.\n{}", "const _: () = ();\n".repeat(lines - 1))
    }

    fn function_of(name: &str, lines: usize) -> String {
        format!(
            "//! Doc.\nfn {name}() {{\n{}}}\n",
            "    work();\n".repeat(lines - 2)
        )
    }

    #[test]
    fn clean_source_passes() {
        let source = "//! Doc.\n#[expect(dead_code, reason = \"shown\")]\nfn a() { let todo = \"todo!\"; }\n";
        assert_eq!(messages("src/a.rs", source), [""; 0]);
    }

    #[test]
    fn files_open_with_their_doc() {
        let found = check("src/a.rs", "\n//! Doc.\n");
        assert_eq!(
            found,
            [Finding::new(
                "src/a.rs",
                1,
                "the file does not open with `//!`"
            )]
        );
    }

    #[test]
    fn what_cannot_be_parsed_is_found() {
        assert!(messages("src/a.rs", "//! Doc.\nfn (\n")[0].starts_with("cannot be parsed"));
    }

    #[test]
    fn long_files_are_found() {
        for (file, most) in [("src/a.rs", 400), ("src/lib.rs", 80), ("src/main.rs", 100)] {
            assert_eq!(messages(file, &file_of(most)), [""; 0], "{file}");
            let expected = format!("{} lines before tests, at most {most}", most + 1);
            assert_eq!(messages(file, &file_of(most + 1)), [expected], "{file}");
        }
        assert_eq!(messages("crates/a/tests/a.rs", &file_of(900)), [""; 0]);
    }

    #[test]
    fn tests_do_not_count_but_only_inline_modules_end_the_count() {
        let tests = "#[cfg(test)]\nmod tests {\n    use super::*;\n}\n";
        assert_eq!(messages("src/a.rs", &(file_of(400) + tests)), [""; 0]);
        let early = format!(
            "//! Doc.\n#[cfg(test)]\nuse a::b;\n{}",
            "const _: () = ();\n".repeat(400)
        );
        assert_eq!(
            messages("src/a.rs", &early),
            ["403 lines before tests, at most 400"]
        );
    }

    #[test]
    fn long_functions_are_found() {
        assert_eq!(messages("src/a.rs", &function_of("a", 70)), [""; 0]);
        let found = check("src/a.rs", &function_of("a", 71));
        assert_eq!(
            found,
            [Finding::new("src/a.rs", 2, "`a` has 71 lines, at most 70")]
        );
        let method = format!("//! Doc.\nimpl A {{ fn a() {{{}}} }}\n", "\n".repeat(71));
        assert_eq!(messages("src/a.rs", &method).len(), 1);
        assert_eq!(
            messages("crates/a/tests/a.rs", &function_of("a", 71)),
            [""; 0]
        );
        let provided = format!("//! Doc.\ntrait A {{ fn a() {{{}}} }}\n", "\n".repeat(71));
        assert_eq!(messages("src/a.rs", &provided).len(), 1);
    }

    #[test]
    fn only_a_workflow_may_run_longer() {
        assert_eq!(
            messages("workflows/src/a.rs", &function_of("run", 120)),
            [""; 0]
        );
        assert_eq!(
            messages("workflows/src/a.rs", &function_of("run", 121)).len(),
            1
        );
        assert_eq!(
            messages("workflows/src/a.rs", &function_of("walk", 71)).len(),
            1
        );
        assert_eq!(messages("src/a.rs", &function_of("run", 71)).len(), 1);
    }

    #[test]
    fn unfinished_work_is_found_also_in_macros() {
        for body in [
            "todo!()",
            "unimplemented!(\"x\")",
            "println!(\"{}\", todo!())",
        ] {
            let source = format!("//! Doc.\nfn a() {{ {body} }}\n");
            assert!(
                messages("src/a.rs", &source)[0].ends_with("is not finished work"),
                "{body}"
            );
            assert_eq!(messages(DECLARATIONS, &source), [""; 0], "{body}");
        }
    }

    #[test]
    fn forbidden_attributes_are_found_however_written() {
        for attribute in [
            "#[allow(dead_code)]",
            "#![allow(dead_code)]",
            "#[ allow (dead_code)]",
            "#[cfg_attr(unix, allow(dead_code))]",
            "#[test]\n#[ignore]",
            "#[ignore = \"slow\"]",
        ] {
            let source = format!("//! Doc.\n{attribute}\nfn a() {{}}\n");
            assert_eq!(messages("src/a.rs", &source).len(), 1, "{attribute}");
        }
        assert_eq!(
            messages("src/a.rs", "//! Doc.\n#[serde(ignore)]\nstruct A;\n"),
            [""; 0]
        );
        assert_eq!(
            messages(
                "src/a.rs",
                "//! `#[allow(x)]`\nconst A: [u8; 1] = [ignore];\n"
            ),
            [""; 0]
        );
    }
}
