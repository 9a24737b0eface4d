//! The `payoutd` program: parse, run, print the chain of causes, exit code.

use std::process::ExitCode;

use clap::Parser;
use payoutd::cli::{Args, exit_code_of, run};

#[tokio::main]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(exit) => exit.into(),
        Err(error) => {
            eprintln!("payoutd: {error:#}");
            exit_code_of(&error).into()
        }
    }
}
