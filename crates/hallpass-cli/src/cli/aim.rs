//! Which request a command is about: its id, an entitlement with values, or a choice on a terminal.

use clap::Args;

use super::{Target, parse_parameter};

/// Any request by its id, or one of the caller's.
#[derive(Clone, Debug, Args)]
pub(crate) struct Aim {
    /// Which request: `ar-…`, or an entitlement, which means your access to it [default on a
    /// terminal: choose from a list]
    pub(crate) target: Option<Target>,
    #[command(flatten)]
    pub(crate) values: Values,
}

/// As [`Aim`], for commands that never ask.
#[derive(Clone, Debug, Args)]
pub(crate) struct FirmAim {
    /// Which request: `ar-…`, or an entitlement, which means your access to it
    pub(crate) target: Target,
    #[command(flatten)]
    pub(crate) values: Values,
}

impl From<FirmAim> for Aim {
    fn from(aim: FirmAim) -> Self {
        Self {
            target: Some(aim.target),
            values: aim.values,
        }
    }
}

/// Values by which access to one entitlement is told from other access to it.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Values {
    /// With an entitlement: the access that has this value for a parameter; may be given several
    /// times
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = parse_parameter)]
    pub(crate) parameters: Vec<(String, String)>,
}
