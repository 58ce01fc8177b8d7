//! A proxy between the service and an AWS emulator that breaks what a plan says, and counts calls.
//!
//! It passes the signed `Host` header on as it came, so the emulator goes on verifying signatures.
//! May not know gRPC, Temporal, the AWS SDKs or anything else of hallpass: it reads what is on the
//! wire. Only for tests and measurements.
//!
//! ```no_run
//! # async fn run() -> std::io::Result<()> {
//! use hallpass_faults::{Fault, FaultProxy, Rule, Target};
//!
//! let proxy = FaultProxy::start("127.0.0.1:4566".parse().expect("an address")).await?;
//! // The third CreateRole is executed, and nobody hears of it.
//! proxy.add(Rule::new(Target::action("CreateRole"), Fault::LoseReply).after(2));
//! println!("point the service at {}", proxy.endpoint());
//! # Ok(()) }
//! ```

mod answers;
mod call;
mod late;
mod plan;
mod proxy;

pub use call::Call;
pub use late::{Lag, Reads};
pub use plan::{Fault, Hold, Rule, Target};
pub use proxy::{FaultProxy, Recorded};
