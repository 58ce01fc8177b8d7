//! The SMT solver behind proofs, and what is asked of it.

use std::path::PathBuf;

use cedar_policy::{PolicySet, RequestEnv, Schema};
use cedar_policy_symcc::err::Error;
use cedar_policy_symcc::solver::LocalSolver;
use cedar_policy_symcc::{CedarSymCompiler, CompiledPolicy, CompiledPolicySet, Env};
use hallpass_standins::{Cvc5, Progress, Tools};
use tokio::process::Command;
use tokio::runtime::Runtime;

use crate::errors::ToolError;
use crate::report::Screen;

/// Time for one answer.
const PATIENCE_MILLISECONDS: u32 = 60_000;

/// A cvc5 of one's own, instead of the pinned one.
const OWN: &str = "CVC5";

/// A running solver.
pub(crate) struct Prover {
    runtime: Runtime,
    compiler: CedarSymCompiler<LocalSolver>,
}

/// How to start one.
enum Program {
    Own(PathBuf),
    Pinned(Cvc5),
}

impl Prover {
    /// Starts the solver that `CVC5` names, or else the pinned one, which is installed if need be.
    pub(crate) fn start(screen: &Screen) -> Result<Self, ToolError> {
        let program = match own() {
            Some(path) => Program::Own(path),
            None => {
                let dir = Tools::default_dir().map_err(ToolError::Install)?;
                let told = Told(screen);
                Program::Pinned(Cvc5::locate_or_install(&dir, &told).map_err(ToolError::Install)?)
            }
        };
        Self::with(&program)
    }

    /// Starts a solver where one is installed.
    pub(crate) fn start_if_installed() -> Result<Option<Self>, ToolError> {
        let pinned = || Cvc5::locate(&Tools::default_dir().ok()?).map(Program::Pinned);
        let program = own().map(Program::Own).or_else(pinned);
        program.as_ref().map(Self::with).transpose()
    }

    fn with(program: &Program) -> Result<Self, ToolError> {
        let mut command = match program {
            Program::Own(path) => {
                let mut command = Command::new(path);
                command.args([
                    "--lang",
                    "smt",
                    &format!("--tlimit-per={PATIENCE_MILLISECONDS}"),
                ]);
                command
            }
            Program::Pinned(cvc5) => {
                let (python, arguments) = cvc5.command(PATIENCE_MILLISECONDS);
                let mut command = Command::new(python);
                command.args(arguments);
                command
            }
        };
        command.kill_on_drop(true);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(ToolError::Start)?;
        let _entered = runtime.enter();
        let failed = |e: Error| ToolError::Solver(Box::new(e));
        let solver = LocalSolver::from_command(&mut command).map_err(|e| failed(e.into()))?;
        let compiler = CedarSymCompiler::new(solver).map_err(failed)?;
        drop(_entered);
        Ok(Self { runtime, compiler })
    }

    /// A request of this kind that `narrow` allows and `wide` does not; `None` proves that there is
    /// none.
    pub(crate) fn beyond(
        &mut self,
        narrow: &PolicySet,
        wide: &PolicySet,
        kind: &RequestEnv,
        schema: &Schema,
    ) -> Result<Option<Env>, Box<Error>> {
        let narrow = CompiledPolicySet::compile(narrow, kind, schema)?;
        let wide = CompiledPolicySet::compile(wide, kind, schema)?;
        let answer = self
            .compiler
            .check_implies_with_counterexample_opt(&narrow, &wide);
        Ok(self.runtime.block_on(answer)?)
    }

    /// A request of this kind on which the policy errs; `None` proves that there is none.
    pub(crate) fn error_of(
        &mut self,
        policy: &cedar_policy::Policy,
        kind: &RequestEnv,
        schema: &Schema,
    ) -> Result<Option<Env>, Box<Error>> {
        let policy = CompiledPolicy::compile(policy, kind, schema)?;
        let answer = self
            .compiler
            .check_never_errors_with_counterexample_opt(&policy);
        Ok(self.runtime.block_on(answer)?)
    }
}

fn own() -> Option<PathBuf> {
    let path = std::env::var_os(OWN).filter(|path| !path.is_empty())?;
    Some(PathBuf::from(path))
}

/// Tells people what an installation is doing.
struct Told<'a>(&'a Screen);

impl Progress for Told<'_> {
    fn step(&self, name: &str) {
        self.0.say(&format!("{name} …"));
    }

    fn done(&self) {}
}
