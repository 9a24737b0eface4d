//! The real `payoutd`, as an operator meets it: processes, files, exit codes, two databases and
//! a sandbox on loopback.
//!
//! Each test has a working directory and a database of its own ([`place::Place`]); whatever it
//! starts is ended by its id when it is done ([`process::Process`]).

/// Makes each function a test on SQLite and one on PostgreSQL.
macro_rules! on_both {
    ($($name:ident),+ $(,)?) => {
        mod on_sqlite {
            $(#[test] fn $name() { super::$name(crate::place::Place::on_sqlite()); })+
        }
        mod on_postgres {
            $(#[test] fn $name() { super::$name(crate::place::Place::on_postgres()); })+
        }
    };
}

mod api_keys;
mod canaries;
mod crash;
mod cycle;
mod daemon;
mod demo;
mod halts;
mod imports;
mod keys;
mod ledger;
mod notify;
mod orders;
mod place;
mod plans;
mod process;
mod rail;
mod settings;
mod statements;
mod totals;
mod verbs;
mod webhooks;
