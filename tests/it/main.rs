//! Every integration test, in one binary: through gRPC and the command line, against real parts.

mod authz;
mod cli;
mod cli_json;
mod config;
mod crash;
mod emulator;
mod errors;
mod faults;
mod faults_aws;
mod faults_late;
mod forgery;
mod idempotency;
mod lifecycle;
mod listing;
mod replay;
mod secrets;
mod sweep;
mod wire_names;
