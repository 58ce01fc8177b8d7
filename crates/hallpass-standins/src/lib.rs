//! What stands in for the world on loopback: pinned tools and the processes they run.
//!
//! May not know gRPC, the AWS SDKs, the Temporal client, tokens or policy: a stand-in is a program
//! with an address, and whether it is ready is asked over plain TCP or HTTP.
//!
//! ```no_run
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use hallpass_standins::{Ministack, MinistackOptions, Tools};
//!
//! let tools = Tools::locate_or_install(&Tools::default_dir()?, &())?;
//! let aws = Ministack::start(&tools, MinistackOptions::new("logs".as_ref())).await?;
//! println!("AWS answers at {}", aws.endpoint());
//! # Ok(()) }
//! ```

mod aws_clients;
mod cvc5;
mod install;
mod ministack;
mod moto;
mod openid;
mod probe;
mod process;
mod temporal;
mod tools;
mod watchdog;

pub use aws_clients::AwsClients;
pub use cvc5::Cvc5;
pub use install::{InstallDir, InstallError};
pub use ministack::{Ministack, MinistackOptions, ROOT_ACCESS_KEY_ID, ROOT_SECRET_ACCESS_KEY};
pub use moto::{Moto, MotoTool};
pub use openid::{OpenIdError, OpenIdOptions, OpenIdProvider, OpenIdTool};
pub use probe::Readiness;
pub use process::{Process, ProcessError, Program, free_port};
pub use temporal::{DYNAMIC_CONFIG, SearchAttributeType, TemporalOptions, TemporalServer};
pub use tools::{Progress, TOOLS_DIR_VARIABLE, Tools, ToolsError};
