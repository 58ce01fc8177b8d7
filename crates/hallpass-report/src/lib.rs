//! Reports for auditors: what sessions did according to CloudTrail, and a period in figures.
//!
//! This crate may not know: files, network, clocks, gRPC, Temporal or the AWS SDK. It computes from
//! what it is given.

mod activity;
mod cloudtrail;
mod lanes;
mod plot;
mod review;

pub use activity::{
    Activity, Deed, Explanation, Outcome, RequestFacts, SessionFacts, activity, concerns,
};
pub use cloudtrail::{Assumed, Caller, Event, RecordError, parse_file, parse_record};
pub use lanes::{Lanes, page, picture};
pub use plot::plot;
pub use review::{
    Approver, EntitlementUse, Fate, Lags, Period, Review, ReviewInput, ReviewRequest, review,
};
