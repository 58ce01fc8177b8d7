//! Where notices go: is the key there, and does somebody answer? No notice is sent.

use std::time::Duration;

use url::Url;

use super::{Finding, words};
use crate::config::Config;
use crate::serve::http_client;
use crate::worker::notify;

const PATIENCE: Duration = Duration::from_secs(10);

pub(super) async fn look(config: &Config) -> Vec<Finding> {
    let Some(notify) = &config.notify else {
        return Vec::new();
    };
    let key = match notify::key(&notify.key_file) {
        Ok(_) => Finding::right("key of notices", notify.key_file.display().to_string()),
        Err(error) => {
            let cure = "make it: openssl rand -base64 32, mode 0600";
            Finding::wrong("key of notices", words(&error), cure)
        }
    };
    vec![key, answers(&notify.url).await]
}

/// The path may be a secret of the webhook's: it is neither shown nor told by an error.
fn shown(url: &Url) -> String {
    format!("notices to {}", url.origin().ascii_serialization())
}

/// Any answer will do: what a webhook says to a HEAD tells nothing of a notice.
async fn answers(url: &Url) -> Finding {
    let what = shown(url);
    let asked = async {
        let request = http_client()?.head(url.clone()).timeout(PATIENCE);
        request.send().await.map_err(reqwest::Error::without_url)
    };
    match asked.await {
        Ok(answer) => Finding::right(what, format!("answers ({})", answer.status().as_u16())),
        Err(error) => {
            let cure =
                "start the webhook, correct notify.url, or trust its certificate's authority";
            Finding::wrong(what, words(&error), cure)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_a_webhook_is_not_shown() {
        let url = "https://hooks.example.com/services/T0/secret?token=x"
            .parse()
            .unwrap();
        assert_eq!(shown(&url), "notices to https://hooks.example.com");
    }
}
