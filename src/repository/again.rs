//! Reading an object again before calling it damaged: its bytes may have been changed on the way only.

use super::{Repository, failed};
use crate::error::Result;
use crate::store::{Object, ObjectKey, StoreError};

/// How often an object is read before what is wrong with it is believed.
pub(super) const READS: u32 = 3;

/// What an object was found to be.
pub(super) enum Judged<T, E> {
    /// There is none.
    Missing,
    /// It is as it should be.
    Good(T),
    /// It is not, each time it was read.
    Bad(E),
}

impl Repository {
    /// Reads an object and judges it, off the async threads; what is bad is read again.
    pub(super) async fn get_judged<T, E>(
        &self,
        key: &ObjectKey,
        judge: impl Fn(Object) -> std::result::Result<T, E> + Clone + Send + 'static,
    ) -> Result<Judged<T, E>>
    where
        T: Send + 'static,
        E: Send + 'static,
    {
        let mut reads = 0;
        loop {
            reads += 1;
            let object = match self.store().get(key, None).await {
                Ok(object) => object,
                Err(StoreError::NotFound(_)) => return Ok(Judged::Missing),
                Err(error) => return Err(failed(format!("reading {key}"))(error)),
            };
            let judge = judge.clone();
            match self.off_async(move || judge(object)).await? {
                Ok(good) => return Ok(Judged::Good(good)),
                Err(bad) if reads >= READS => return Ok(Judged::Bad(bad)),
                Err(_) => {}
            }
        }
    }
}
