//! Filtered ranks. Kernels: `kernels/rank.cu`, and those of [`score`].
//!
//! Scores of some queries with a chunk of entities stay in a scratch matrix that fits the second-level cache, are
//! counted there and overwritten by those of the next chunk.

use super::memory::{Allocation, Buffer, Index, mat, mat_mut};
use super::{Cuda, Mat, MatMut, View, score};
use crate::backend::{Backend, RankCount, RankTask, Scoring};
use crate::error::Result;
use crate::program::ops::rows::Gather;
use crate::program::ops::score::Scores;

/// Scores in the scratch matrix (32 MiB), unless a single query has more roots than that.
const SCRATCH: usize = 8 << 20;
/// Roots of a chunk of queries: many tiles for the entities that are read.
const ROOTS: usize = 1024;
/// Entities of a chunk come in multiples of this, a tile.
const ENTITIES: usize = 128;
/// Targets of a block that counts: the twin of `TARGETS` in `kernels/rank.cu`.
const TARGETS: usize = 4;
/// The twin of `BEATEN_BY_ALL` in `kernels/rank.cu`.
const BEATEN_BY_ALL: u32 = u32::MAX;

/// The queries of a task that have targets, in the lists that the kernels read.
#[derive(Default)]
struct Lists {
    /// Their roots as rows of the task's queries; from here on, a root is a position in this list.
    rows: Vec<u32>,
    /// Bounds of each query's roots.
    roots: Vec<u32>,
    /// Begin and end of each query's filter.
    filters: Vec<u32>,
    /// First root, first and last target of at most [`TARGETS`] targets of a query.
    groups: Vec<u32>,
    /// Bounds of each query's groups.
    group_bounds: Vec<usize>,
    /// Root and entity of the pairs whose scores are the thresholds: every target with every root of its query.
    pairs: [Vec<u32>; 2],
    /// Bounds of each target's pairs.
    pair_bounds: Vec<u32>,
}

impl Lists {
    fn new(task: &RankTask<Cuda>) -> Lists {
        let mut lists =
            Lists { roots: vec![0], group_bounds: vec![0], pair_bounds: vec![0], ..Lists::default() };
        for q in 0..task.root_offsets.len() - 1 {
            let range = |offsets: &[u32]| offsets[q]..offsets[q + 1];
            let (targets, roots) = (range(task.target_offsets), range(task.root_offsets));
            if targets.is_empty() {
                continue;
            }
            assert!(!roots.is_empty(), "query {q} has targets and no roots");
            let first = lists.rows.len() as u32;
            lists.rows.extend(roots);
            let last = lists.rows.len() as u32;
            lists.roots.push(last);
            lists.filters.extend([task.filter_offsets[q], task.filter_offsets[q + 1]]);
            for begin in targets.clone().step_by(TARGETS) {
                lists.groups.extend([first, begin, targets.end.min(begin + TARGETS as u32)]);
            }
            lists.group_bounds.push(lists.groups.len() / 3);
            for target in targets {
                lists.pairs[0].extend(first..last);
                lists.pairs[1].extend((first..last).map(|_| task.targets[target as usize]));
                lists.pair_bounds.push(lists.pairs[0].len() as u32);
            }
        }
        lists
    }

    /// Queries from `first` on whose scores are computed together.
    fn chunk(&self, first: usize) -> std::ops::Range<usize> {
        let fits = |&&end: &&u32| (end - self.roots[first]) as usize <= ROOTS;
        let more = self.roots[first + 2..].iter().take_while(fits).count();
        first..first + 1 + more
    }
}

/// See [`Backend::rank`].
pub fn rank(cuda: &Cuda, kind: Scoring, task: RankTask<Cuda>, entities: View) -> Result<Vec<RankCount>> {
    assert_eq!(task.queries.cols, kind.query_width(entities.cols));
    assert!(task.targets.iter().chain(task.filter).all(|&e| (e as usize) < entities.rows));
    let lists = Lists::new(&task);
    let num_roots = lists.rows.len();
    if num_roots == 0 {
        return Ok(Vec::new());
    }
    let index = |list: &[u32]| Index::new(&cuda.driver, list);
    let (roots, filters, filter) = (index(&lists.roots)?, index(&lists.filters)?, index(task.filter)?);
    let (groups, targets, pair_bounds) =
        (index(&lists.groups)?, index(task.targets)?, index(&lists.pair_bounds)?);
    let counts = Allocation::new(&cuda.driver, task.targets.len() * size_of::<[u32; 2]>())?;
    cuda.driver.zero(counts.address(), counts.bytes())?;

    let width = task.queries.cols;
    let mut queries = Buffer::new(&cuda.driver, num_roots * width)?;
    let (rows, out) = (index(&lists.rows)?, MatMut::new(&mut queries, num_roots, width));
    cuda.run(Gather { table: task.queries, rows: &rows, out });
    let queries = Mat::new(&queries, num_roots, width);

    let num_pairs = lists.pairs[0].len();
    let mut thresholds = Buffer::new(&cuda.driver, num_pairs)?;
    let [pair_roots, pair_entities] = &lists.pairs;
    score::listed_scores(
        cuda,
        kind,
        (queries, &index(pair_roots)?),
        (entities, &index(pair_entities)?),
        MatMut::new(&mut thresholds, 1, num_pairs),
    );
    let thresholds = mat(Mat::new(&thresholds, 1, num_pairs));

    let mut scratch = Buffer::new(&cuda.driver, 0)?;
    let mut first = 0;
    while first + 1 < lists.roots.len() {
        let chunk = lists.chunk(first);
        let (first_root, last_root) = (lists.roots[chunk.start] as usize, lists.roots[chunk.end] as usize);
        let (first_group, last_group) = (lists.group_bounds[chunk.start], lists.group_bounds[chunk.end]);
        let rows = last_root - first_root;
        let span = (SCRATCH / rows).max(1).next_multiple_of(ENTITIES).min(entities.rows.next_multiple_of(4));
        if scratch.len() < rows * span {
            scratch = Buffer::new(&cuda.driver, rows * span)?;
        }
        for begin in (0..entities.rows).step_by(span) {
            let some = entities.rows(begin, span.min(entities.rows - begin));
            let mut scores = MatMut { buffer: &mut scratch, offset: 0, rows, cols: some.rows, stride: span };
            let queries = queries.rows(first_root, rows);
            cuda.run(Scores { kind, exact: true, queries, entities: some, out: scores.again() });
            let (scores, begin) = (mat_mut(&mut scores), begin as u32);
            let at = chunk.start as u64;
            let (roots_here, filters_here) = (roots.address() + 4 * at, filters.address() + 8 * at);
            cuda.launch(
                "rank_settle",
                [chunk.len(), 1, 1],
                256,
                &[&scores, &roots_here, &filters_here, &filter.address(), &begin],
            );
            cuda.launch(
                "rank_count",
                [last_group - first_group, 1, 1],
                256,
                &[
                    &scores,
                    &(first_root as u32),
                    &(groups.address() + 12 * first_group as u64),
                    &targets.address(),
                    &pair_bounds.address(),
                    &thresholds,
                    &begin,
                    &counts.address(),
                ],
            );
        }
        first = chunk.end;
    }

    cuda.check()?;
    let mut host = vec![[0u32; 2]; task.targets.len()];
    cuda.driver.download(counts.address(), bytemuck::cast_slice_mut(&mut host))?;
    let mut ranks = Vec::with_capacity(host.len());
    for q in 0..task.target_offsets.len() - 1 {
        let range = |offsets: &[u32]| offsets[q] as usize..offsets[q + 1] as usize;
        let filter = &task.filter[range(task.filter_offsets)];
        for t in range(task.target_offsets) {
            let [better, equal] = host[t];
            let better = if better == BEATEN_BY_ALL {
                let itself = u32::from(!filter.contains(&task.targets[t]));
                entities.rows as u32 - filter.len() as u32 - itself
            } else {
                better
            };
            ranks.push(RankCount { better, equal });
        }
    }
    Ok(ranks)
}
