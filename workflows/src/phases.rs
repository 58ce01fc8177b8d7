//! Whoever follows a request through its phases. It is told and never asked, so that no command of
//! a workflow can depend on it.

use hallpass_types::machine::State;
use jiff::Timestamp;
use temporalio_workflow::WorkflowContextKey;

/// Is told of what becomes of one request.
pub trait Follower {
    /// Something happened at `now`, by the workflow's clock, and the request is in this state. When it
    /// is replayed, it was told before, perhaps to another process.
    fn happened(&self, state: &State, now: Timestamp, is_replayed: bool);
}

/// What a workflow finds its follower by, if it has one: an interceptor of the worker sets it.
#[derive(Debug)]
pub struct Following;

impl WorkflowContextKey for Following {
    type Value = Box<dyn Follower>;
}
