//! What is seen from outside, held against what is written about it: logs, metrics, the dashboard
//! and the alert rules. The program is the real one.

mod alerts;
mod events;
mod logs;
mod metrics;
mod pages;
mod program;
mod systemd;
mod traces;
