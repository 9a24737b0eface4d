//! Every story that needs a database, on SQLite and on PostgreSQL alike.
//!
//! `on_both!` tells each story twice. The harness it hands over has real databases, the real
//! PayPal rail, and a sandbox on loopback whose books are held against ours at the end.

#[macro_use]
mod harness;
#[expect(dead_code, reason = "shared with the tests of the rail, which use all of it")]
#[path = "../loopback/mod.rs"]
mod loopback;
#[path = "../loopback/spoil.rs"]
mod spoil;

mod accrual;
mod adjustments;
mod api;
mod api_limits;
mod api_partner;
mod api_requests;
mod api_staff;
mod approval;
mod audit;
mod breaks;
mod crash;
mod guards;
mod halts;
mod keys;
mod limits;
mod matrix;
mod methods;
mod model;
mod notify;
mod periods;
mod plans;
mod policies;
mod rails;
mod reads;
mod reconcile;
mod release;
mod replay;
mod request;
mod reversal;
mod runs;
mod schema;
mod seen;
mod staff;
mod submit;
mod told;
mod trust;
mod unreadable;
mod vault;
mod webhooks;
mod worlds;
