//! payoutd: an engine that pays affiliates on schedule, and the daemon, CLI and sandbox around it.

pub mod access;
pub mod cli;
pub mod clock;
pub mod config;
pub mod daemon;
pub mod domain;
pub mod engine;
pub mod formats;
pub mod http;
pub mod import;
pub mod jobs;
pub mod notify;
pub mod providers;
pub mod sandbox;
pub mod store;
pub mod telemetry;
pub mod vault;
