//! The manual pages, from the same words as the help.

use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;
use clap::CommandFactory as _;

use super::Cli;

/// Prints the page of `hallpassd`, or writes it and one for each command into `folder`.
pub(crate) fn write(folder: Option<&Path>) -> anyhow::Result<()> {
    match folder {
        Some(folder) => {
            let failed = || format!("cannot write into {}", folder.display());
            std::fs::create_dir_all(folder).with_context(failed)?;
            clap_mangen::generate_to(Cli::command(), folder).with_context(failed)?;
            println!("{}", folder.join("hallpassd.1").display());
        }
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(Cli::command()).render(&mut page)?;
            std::io::stdout().write_all(&page)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_that_says_what_its_help_says() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("man1");
        write(Some(&folder)).unwrap();
        let page = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
        let mut root = Cli::command();
        root.build();
        let mut seen = 0;
        for command in root.get_subcommands().filter(|c| c.get_name() != "help") {
            let name = command.get_name();
            let text = page(&format!("hallpassd-{name}.1"));
            assert!(
                text.starts_with(".ie") || text.contains(".TH"),
                "{name}: {text}"
            );
            let about = command.get_about().unwrap().to_string();
            let first = about.split_whitespace().next().unwrap();
            assert!(text.contains(first), "{name}: {text}");
            seen += 1;
        }
        assert!(seen > 5 && page("hallpassd.1").contains("provably ends"));
        let serve = page("hallpassd-serve.1");
        assert!(
            serve.contains(r"\-\-role") && serve.contains(r"\-\-ready\-file"),
            "{serve}"
        );
    }
}
