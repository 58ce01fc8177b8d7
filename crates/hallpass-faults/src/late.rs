//! IAM is eventually consistent: writes that are answered at once and take effect later.

use std::time::Duration;

use tokio::time::Instant;

use crate::call::Call;

/// How late IAM's writes take effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lag {
    /// How long after its answer a write takes effect. Below 15 minutes, or its signature expires.
    pub by: Duration,
    /// What IAM's own reads show meanwhile.
    pub reads: Reads,
}

/// What IAM's reads show while a write has not taken effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// What was before.
    Old,
    /// What was written, though AWS still decides by what was before: the treacherous case.
    Written,
}

/// What a call meets that comes while writes are under way.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum View<'a> {
    /// The emulator as it is.
    AsIs,
    /// IAM does not know the entity.
    Unknown,
    /// STS does not know the role, and says what it says then.
    Refused,
    /// The document of this write.
    Document(&'a Call),
}

/// Writes that were answered and have not taken effect.
#[derive(Debug, Default)]
pub(crate) struct UnderWay {
    writes: Vec<(Instant, Call, Reads)>,
}

impl UnderWay {
    pub(crate) fn add(&mut self, until: Instant, call: Call, reads: Reads) {
        self.writes.push((until, call, reads));
    }

    /// Forgets what has taken effect.
    pub(crate) fn settle(&mut self, now: Instant) {
        self.writes.retain(|(until, ..)| now < *until);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    pub(crate) fn view(&self, call: &Call) -> View<'_> {
        if call.service == "sts" {
            let role = call.parameter("RoleArn").rsplit('/').next().unwrap_or("");
            let hidden = |w: &Call| w.action == "CreateRole" && w.parameter("RoleName") == role;
            return match self.writes.iter().any(|(_, w, _)| hidden(w)) {
                true => View::Refused,
                false => View::AsIs,
            };
        }
        if call.service != "iam" {
            return View::AsIs;
        }
        let role = call.parameter("RoleName");
        let of_role = self
            .writes
            .iter()
            .filter(|(_, w, _)| !role.is_empty() && w.parameter("RoleName") == role);
        // The last write decides.
        let mut view = View::AsIs;
        for (_, write, reads) in of_role {
            match (write.action.as_str(), reads) {
                ("CreateRole", Reads::Old) if call.action != "CreateRole" => view = View::Unknown,
                ("DeleteRole", Reads::Written) => view = View::Unknown,
                ("PutRolePolicy", Reads::Written) if reads_policy(call, write) => {
                    view = View::Document(write);
                }
                ("DeleteRolePolicy", Reads::Written) if reads_policy(call, write) => {
                    view = View::Unknown;
                }
                _ => {}
            }
        }
        view
    }
}

fn reads_policy(call: &Call, write: &Call) -> bool {
    call.action == "GetRolePolicy" && call.parameter("PolicyName") == write.parameter("PolicyName")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn iam(form: &str) -> Call {
        let signed = "Credential=A/1/r/iam/aws4_request";
        Call::read("POST", "/", Some(signed), form.as_bytes())
    }

    fn sts(role: &str) -> Call {
        let form = format!("Action=AssumeRole&RoleArn=arn:aws:iam::1:role/hallpass/{role}");
        let signed = "Credential=A/1/r/sts/aws4_request";
        Call::read("POST", "/", Some(signed), form.as_bytes())
    }

    fn after(reads: Reads, writes: &[&str]) -> UnderWay {
        let mut under_way = UnderWay::default();
        for write in writes {
            under_way.add(Instant::now() + Duration::from_secs(60), iam(write), reads);
        }
        under_way
    }

    const PUT: &str = "Action=PutRolePolicy&RoleName=r&PolicyName=p&PolicyDocument={}";
    const READ: &str = "Action=GetRolePolicy&RoleName=r&PolicyName=p";
    const DROP: &str = "Action=DeleteRolePolicy&RoleName=r&PolicyName=p";

    #[tokio::test]
    async fn old_reads_show_what_was_and_written_reads_what_will_be() {
        let (old, written) = (after(Reads::Old, &[PUT]), after(Reads::Written, &[PUT]));
        assert_eq!(old.view(&iam(READ)), View::AsIs);
        assert!(matches!(written.view(&iam(READ)), View::Document(_)));
        let other = iam("Action=GetRolePolicy&RoleName=r&PolicyName=q");
        assert_eq!(written.view(&other), View::AsIs);
        let dropped = after(Reads::Written, &[PUT, DROP]);
        assert_eq!(dropped.view(&iam(READ)), View::Unknown);
        let again = after(Reads::Written, &[DROP, PUT]);
        assert!(matches!(again.view(&iam(READ)), View::Document(_)));
    }

    #[tokio::test]
    async fn a_deleted_role_is_gone_for_iam_and_not_yet_for_sts() {
        let deleted = after(Reads::Written, &["Action=DeleteRole&RoleName=r"]);
        let get = iam("Action=GetRole&RoleName=r");
        assert_eq!(deleted.view(&get), View::Unknown);
        assert_eq!(deleted.view(&sts("r")), View::AsIs);
        let old = after(Reads::Old, &["Action=DeleteRole&RoleName=r"]);
        assert_eq!(old.view(&get), View::AsIs);
    }

    #[tokio::test]
    async fn a_new_role_is_refused_by_sts_until_it_shows() {
        let mut made = after(Reads::Old, &["Action=CreateRole&RoleName=r"]);
        assert_eq!(made.view(&sts("r")), View::Refused);
        assert_eq!(made.view(&sts("other")), View::AsIs);
        assert_eq!(made.view(&iam(PUT)), View::Unknown);
        let again = iam("Action=CreateRole&RoleName=r");
        assert_eq!(
            made.view(&again),
            View::AsIs,
            "the emulator knows that it exists"
        );
        made.settle(Instant::now() + Duration::from_secs(61));
        assert!(made.is_empty());
        assert_eq!(made.view(&sts("r")), View::AsIs);
    }
}
