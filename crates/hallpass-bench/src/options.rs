//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// Measure hallpass beside the bare Temporal server.
#[derive(Parser)]
#[command(name = "cargo xtask bench", bin_name = "cargo xtask bench")]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) part: Part,
}

/// What ends come on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Ends {
    /// All at once, and as they were asked for.
    Calm,
    /// Others who go on asking.
    Storm,
    /// AWS away.
    Outage,
    /// The service killed; and its restart.
    Restart,
}

#[derive(Subcommand)]
pub(crate) enum Part {
    /// Counts that do not depend on the machine, with bounds.
    Short,
    /// A bare workflow with as many activities, in turn with ours.
    Floor {
        /// Operations of each kind.
        #[arg(long, default_value_t = 200)]
        count: usize,
    },
    /// Ask to credentials, approval to credentials, revoke to refused.
    Grant {
        /// Operations of each kind.
        #[arg(long, default_value_t = 200)]
        count: usize,
    },
    /// End to refused and end to proved; the same with the service dead.
    Lag {
        /// How many grants end.
        #[arg(long, default_value_t = 1_000)]
        count: usize,
        /// How long they are open, in seconds: enough to open all of them.
        #[arg(long, default_value_t = 180)]
        open_for: i64,
        /// Only this; may be given several times.
        #[arg(long)]
        only: Vec<Ends>,
    },
    /// Grants that stay open: their CPU and memory, and looks at them.
    Parked {
        /// How many are open at the end.
        #[arg(long, default_value_t = 3_000)]
        count: usize,
    },
    /// OpenBao, issuing and dropping leases.
    Peer {
        /// Its command.
        #[arg(long, value_name = "FILE")]
        openbao: PathBuf,
        /// How many leases.
        #[arg(long, default_value_t = 1_000)]
        count: usize,
        /// How long each lasts, in seconds.
        #[arg(long, default_value_t = 60)]
        open_for: u64,
    },
    /// A steady rate through gRPC, then more than a caller may.
    Load(crate::load::Load),
    /// Starts, sizes, idle memory.
    Cold,
    /// Histories into an archive, out of it, and into a bundle.
    Archive {
        /// How many.
        #[arg(long, default_value_t = 10_000)]
        count: u32,
    },
    /// A bundle verified, beside the bare replayer over the same histories.
    Verify {
        /// How many histories are in it.
        #[arg(long, default_value_t = 10_000)]
        count: u32,
    },
    /// Bundles of the recorded histories with changed bytes: how many are not detected.
    Mutations {
        /// Change one byte in so many.
        #[arg(long, default_value_t = 1)]
        step: usize,
    },
    /// The worker of the bare workflow.
    #[command(hide = true)]
    FloorWorker {
        /// Temporal's address.
        temporal: String,
    },
}
