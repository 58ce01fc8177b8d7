//! Every integration test, in one binary: through gRPC and the command line, against real parts.

mod authz;
mod cli;
mod cli_json;
mod config;
mod errors;
mod faults;
mod forgery;
mod idempotency;
mod lifecycle;
mod listing;
mod policy_reload;
mod replay;
mod secrets;
mod sweep;
mod wire_names;
