//! Filtered ranks. Kernels: `kernels/rank.cu`.

use super::{Cuda, View};
use crate::backend::{RankCount, RankTask, Scoring};
use crate::error::Result;

/// See [`Backend::rank`](crate::backend::Backend::rank).
pub fn rank(cuda: &Cuda, kind: Scoring, task: RankTask<Cuda>, entities: View) -> Result<Vec<RankCount>> {
    let _ = (cuda, kind, task, entities);
    todo!()
}
