//! The ports: what the workflow asks the worker to do. Names are wire format; bodies live in the worker.
#![expect(
    missing_docs,
    reason = "the macros make constants of the documented methods"
)]

use hallpass_types::{Grant, ProofOfEnd, SealedCredentials};
use temporalio_common::ActivityError;
use temporalio_macros::activity_definitions;

use crate::wire::{
    Admission, AdmitInput, EndInput, IssueInput, MoveFenceInput, NotifyInput, ProvisionInput,
    SweepInput, SweepReport, WeighInput, Weighing, WriteCutsInput, WriteCutsOutput,
};

pub use ports::{Admit, EndAccess, Issue, MoveFence, Notify, Provision, Sweep, Weigh, WriteCuts};

/// Activities of an access request.
#[derive(Debug)]
pub struct Ports;

#[activity_definitions]
#[expect(
    clippy::unimplemented,
    reason = "declarations: the worker has the bodies"
)]
impl Ports {
    /// Verifies the signed request, checks the requester, asks the request gate.
    #[activity(name = "hallpass.admit")]
    pub fn admit(_: AdmitInput) -> Result<Admission, ActivityError> {
        unimplemented!()
    }

    /// Counts decisions as of now and asks the activate gate.
    #[activity(name = "hallpass.weigh")]
    pub fn weigh(_: WeighInput) -> Result<Weighing, ActivityError> {
        unimplemented!()
    }

    /// Makes what the grant opens. Undone by `hallpass.end_access`.
    #[activity(name = "hallpass.provision")]
    pub fn provision(_: ProvisionInput) -> Result<Grant, ActivityError> {
        unimplemented!()
    }

    /// Writes a later end into a created role.
    #[activity(name = "hallpass.move_fence")]
    pub fn move_fence(_: MoveFenceInput) -> Result<(), ActivityError> {
        unimplemented!()
    }

    /// Assumes the role and seals the session to the requester's key.
    #[activity(name = "hallpass.issue")]
    pub fn issue(_: IssueInput) -> Result<SealedCredentials, ActivityError> {
        unimplemented!()
    }

    /// Tells people something. Nothing waits for it, and nothing depends on it.
    #[activity(name = "hallpass.notify")]
    pub fn notify(_: NotifyInput) -> Result<(), ActivityError> {
        unimplemented!()
    }

    /// Cuts, deletes and proves. Safe to run any number of times, also when nothing was made.
    #[activity(name = "hallpass.end_access")]
    pub fn end_access(_: EndInput) -> Result<ProofOfEnd, ActivityError> {
        unimplemented!()
    }

    /// Adds cuts to a shared role, lifts those that are over, reads back what stands.
    #[activity(name = "hallpass.write_cuts")]
    pub fn write_cuts(_: WriteCutsInput) -> Result<WriteCutsOutput, ActivityError> {
        unimplemented!()
    }

    /// Finds what AWS holds of ours, joins it with the histories, ends what is over.
    #[activity(name = "hallpass.sweep")]
    pub fn sweep(_: SweepInput) -> Result<SweepReport, ActivityError> {
        unimplemented!()
    }
}
