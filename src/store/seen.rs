//! What is seen from outside: where a run's trace is, and how things stand at this moment, for
//! monitoring. Reads go over what is open, never over history.

use super::dialect::sql;
use super::{RunLease, StoreError, Tx};

const RUN_TRACE: &str = "UPDATE job_runs SET trace_id = $3 WHERE run_id = $1 AND lease_token = $2";

impl Tx {
    /// Keeps the id of a run's trace; of a run that somebody else has by now, not.
    pub async fn run_trace(&mut self, lease: &RunLease, trace_id: &str) -> Result<(), StoreError> {
        let update = sql(RUN_TRACE).bind(&lease.run_id).bind(lease.token.as_str());
        update.bind(trace_id).run(self).await?;
        Ok(())
    }
}
