//! Every integration test, in one binary: through gRPC and the command line, against real parts.

mod audit;
mod authz;
mod aws_clients;
mod cli;
mod cli_aws;
mod cli_json;
mod config;
mod errors;
mod exactly_once;
mod faults;
mod faults_aws;
mod faults_late;
mod forgery;
mod idempotency;
mod lifecycle;
mod listing;
mod policy_reload;
mod recipes;
mod replay;
mod secrets;
mod sweep;
mod wire_names;
