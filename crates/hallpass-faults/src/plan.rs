//! Which calls go wrong, and how: decided by counting, so that a run can be repeated.

use std::fmt;
use std::sync::Arc;

use tokio::sync::watch;

use crate::call::Call;

/// What happens to a call.
#[derive(Clone, Debug)]
pub enum Fault {
    /// AWS asks for a slower pace; not executed.
    Throttled,
    /// AWS fails; not executed.
    ServerError,
    /// AWS answers this error; not executed.
    Error {
        /// HTTP status.
        status: u16,
        /// AWS error code.
        code: &'static str,
    },
    /// No answer ever; not executed.
    Hang,
    /// The connection breaks; not executed.
    Reset,
    /// Executed, and the connection breaks before the answer.
    LoseReply,
    /// Executed, and the answer is kept until it is released.
    Hold(Hold),
}

/// Which calls are meant.
#[derive(Clone, Debug, Default)]
pub struct Target {
    name: Option<String>,
    about: Option<String>,
}

impl Target {
    /// Every call.
    #[must_use]
    pub fn any() -> Self {
        Self::default()
    }

    /// The calls of an action, for instance `CreateRole`, or with its service, `s3:GET`.
    #[must_use]
    pub fn action(name: &str) -> Self {
        Self {
            name: Some(name.to_owned()),
            about: None,
        }
    }

    /// Only those of which a parameter, or the session that signs them, contains `text`.
    #[must_use]
    pub fn about(mut self, text: &str) -> Self {
        self.about = Some(text.to_owned());
        self
    }

    /// Whether a call is meant.
    #[must_use]
    pub fn takes(&self, call: &Call) -> bool {
        let named = |name: &String| *name == call.action || *name == call.name();
        self.name.as_ref().is_none_or(named)
            && self.about.as_ref().is_none_or(|text| call.is_about(text))
    }
}

/// A fault, and the calls that it befalls.
#[derive(Clone, Debug)]
pub struct Rule {
    target: Target,
    fault: Fault,
    skip: u32,
    left: u32,
}

impl Rule {
    /// Befalls the next call that is meant, and no other.
    #[must_use]
    pub fn new(target: Target, fault: Fault) -> Self {
        Self {
            target,
            fault,
            skip: 0,
            left: 1,
        }
    }

    /// Lets so many calls pass first.
    #[must_use]
    pub fn after(mut self, skip: u32) -> Self {
        self.skip = skip;
        self
    }

    /// Befalls so many calls, one after the other.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.left = times;
        self
    }

    /// Befalls every call from then on.
    #[must_use]
    pub fn always(self) -> Self {
        self.times(u32::MAX)
    }

    fn strikes(&mut self, call: &Call) -> bool {
        if self.left == 0 || !self.target.takes(call) {
            return false;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        if self.left != u32::MAX {
            self.left -= 1;
        }
        true
    }
}

/// The rules in force.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) rules: Vec<Rule>,
}

impl Plan {
    /// The fault of this call, by the first rule that strikes. Every rule counts every call.
    pub(crate) fn decide(&mut self, call: &Call) -> Option<Fault> {
        let mut fault = None;
        for rule in &mut self.rules {
            if rule.strikes(call) && fault.is_none() {
                fault = Some(rule.fault.clone());
            }
        }
        self.rules.retain(|rule| rule.left > 0);
        fault
    }
}

/// A held answer: tells when the call has been executed, and lets it go when told to.
#[derive(Clone)]
pub struct Hold {
    executed: Arc<watch::Sender<bool>>,
    released: Arc<watch::Sender<bool>>,
}

impl Hold {
    /// A hold for one call.
    #[must_use]
    pub fn new() -> Self {
        Self {
            executed: Arc::new(watch::Sender::new(false)),
            released: Arc::new(watch::Sender::new(false)),
        }
    }

    /// Returns when AWS has executed the call.
    pub async fn executed(&self) {
        // An error means that the sender is gone, and it is here.
        let _ = self.executed.subscribe().wait_for(|done| *done).await;
    }

    /// Lets the answer go.
    pub fn release(&self) {
        self.released.send_replace(true);
    }

    pub(crate) async fn keep(&self) {
        self.executed.send_replace(true);
        let _ = self.released.subscribe().wait_for(|done| *done).await;
    }
}

impl Default for Hold {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hold")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(action: &str, role: &str) -> Call {
        let body = format!("Action={action}&RoleName={role}");
        let signed = "Credential=A/1/r/iam/aws4_request";
        Call::read("POST", "/", Some(signed), body.as_bytes())
    }

    #[test]
    fn rules_strike_by_action_about_and_count() {
        let rule = Rule::new(Target::action("CreateRole").about("x7"), Fault::Reset);
        let mut plan = Plan {
            rules: vec![rule.after(1).times(2)],
        };
        let mut struck = |action, role| plan.decide(&call(action, role)).is_some();
        assert!(!struck("CreateRole", "other"));
        assert!(!struck("GetRole", "x7"));
        assert!(!struck("CreateRole", "x7"), "one passes first");
        assert!(struck("CreateRole", "x7"));
        assert!(struck("CreateRole", "x7"));
        assert!(!struck("CreateRole", "x7"), "two were meant");
        assert!(plan.rules.is_empty());
    }

    #[test]
    fn the_first_rule_wins_and_the_others_still_count() {
        let service = Rule::new(Target::action("iam:GetRole"), Fault::Hang).always();
        let second = Rule::new(Target::any(), Fault::Reset).after(1);
        let mut plan = Plan {
            rules: vec![service, second],
        };
        for _ in 0..2 {
            let fault = plan.decide(&call("GetRole", "r"));
            assert!(matches!(fault, Some(Fault::Hang)), "{fault:?}");
        }
        assert!(
            plan.decide(&call("CreateRole", "r")).is_none(),
            "spent meanwhile"
        );
    }
}
