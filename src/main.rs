//! The `payoutd` program: parse, run, print the chain of causes, exit code.

use std::process::ExitCode;

use clap::Parser;
use payoutd::cli::{Args, exit_code_of, run};
use tokio::runtime::Runtime;

fn main() -> ExitCode {
    let runtime = match Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("payoutd: the runtime does not start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let exit = match runtime.block_on(run(Args::parse())) {
        Ok(exit) => exit,
        Err(error) => {
            eprintln!("payoutd: {error:#}");
            exit_code_of(&error)
        }
    };
    payoutd::telemetry::flush();
    // Runs that outlived the daemon's drain time end with the process, as they are: to end the
    // runtime before would wait for them, or take their timers away from under them.
    std::mem::forget(runtime);
    exit.into()
}
