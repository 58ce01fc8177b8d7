//! Progress of installations: a spinner for people, plain lines for logs.

use std::io::IsTerminal;
use std::time::Duration;

use hallpass_standins::Progress;
use indicatif::ProgressBar;

/// The progress display that suits where standard error goes.
pub(crate) fn for_terminal() -> Box<dyn Progress> {
    if std::io::stderr().is_terminal() {
        let bar = ProgressBar::new_spinner();
        bar.enable_steady_tick(Duration::from_millis(100));
        Box::new(Spinner(bar))
    } else {
        Box::new(Lines)
    }
}

struct Lines;

impl Progress for Lines {
    fn step(&self, name: &str) {
        println!("{name}");
    }

    fn done(&self) {}
}

struct Spinner(ProgressBar);

impl Progress for Spinner {
    fn step(&self, name: &str) {
        self.0.set_message(name.to_owned());
    }

    fn done(&self) {
        self.0.finish_and_clear();
    }
}
