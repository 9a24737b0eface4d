//! Leave: whether bytes that move money may leave at this moment. A rail asks once it waits for
//! nothing else any more (its turn, a token, a look at an account): a halt meanwhile keeps them.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use super::Problem;

/// What keeps the bytes, if anything does.
type Held = Pin<Box<dyn Future<Output = Option<Problem>> + Send>>;

/// See the module.
#[derive(Clone, Default)]
pub struct Leave(Option<Arc<dyn Fn() -> Held + Send + Sync>>);

impl Leave {
    /// Leave that is asked of `held` each time; it answers what keeps the bytes, or nothing.
    pub fn asked<F>(held: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Option<Problem>> + Send + 'static,
    {
        Self(Some(Arc::new(move || Box::pin(held()))))
    }

    /// What keeps the bytes from leaving at this moment.
    pub async fn held(&self) -> Option<Problem> {
        match &self.0 {
            None => None,
            Some(held) => held().await,
        }
    }
}

impl fmt::Debug for Leave {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Leave(asked)" } else { "Leave(given)" })
    }
}
