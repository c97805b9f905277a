//! Rows of truth values on demand: scored, calibrated and kept within a budget of memory.

use super::adjacency::{Adjacency, AnyRow};
use super::truth::{self, Candidates, OwnedRow, RowBuilder, Truth};
use crate::error::Result;
use crate::graph::{Csr, View};
use crate::ids::{EntityId, RelationId};
use crate::progress::Watch;
use rayon::prelude::*;
use rustc_hash::FxHashMap;
use serde::Serialize;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

/// What a row belongs to.
pub type Pair = (RelationId, EntityId);

/// Pairs that are scored before the watcher is asked whether to go on.
const AT_ONCE: usize = 256;

/// Scores single links: all that inference wants of a model.
pub trait LinkScorer: Sync {
    /// Number of entities.
    fn num_entities(&self) -> usize;

    /// Scores all entities as tails of each (relation, head), greater ones for more likely links, and hands them over in blocks of
    /// entities: the number of the pair, the first entity, a multiple of [`ALIGNMENT`](super::truth::ALIGNMENT), and the scores from there on. The blocks of a pair come
    /// in ascending order, those of different pairs from several threads. A score does not depend on what else is asked.
    fn score_tails(&self, pairs: &[Pair], block: &(dyn Fn(usize, usize, &[f32]) + Sync)) -> Result<()>;
}

/// Rows that were made before, within a budget of memory.
///
/// Two generations: when the young one has half of the budget, the old one is dropped and the young one becomes old. A row of the old
/// one that is wanted again is young again. So what was not wanted for a while goes, without a list of uses.
#[derive(Debug)]
pub struct RowCache {
    budget: usize,
    generations: Mutex<Generations>,
    /// Memory in which rows are made. Were it taken anew each time, rows would lie between its pieces and break up the heap.
    spaces: Mutex<Vec<Candidates>>,
    wanted: AtomicU64,
    made: AtomicU64,
}

/// What was done for rows so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RowStats {
    /// Rows that were asked for.
    pub wanted: u64,
    /// Those of them that had to be made.
    pub made: u64,
    /// Bytes of rows that are kept now.
    pub bytes: u64,
}

#[derive(Debug, Default)]
struct Generations {
    young: FxHashMap<Pair, Arc<OwnedRow>>,
    old: FxHashMap<Pair, Arc<OwnedRow>>,
    young_bytes: usize,
    old_bytes: usize,
}

/// Bytes that an entry of the map takes beside its row.
const ENTRY: usize = size_of::<(Pair, Arc<OwnedRow>)>() + 32;

impl RowCache {
    /// Of at most so many bytes.
    pub fn new(budget: usize) -> Self {
        RowCache {
            budget,
            generations: Mutex::default(),
            spaces: Mutex::default(),
            wanted: AtomicU64::new(0),
            made: AtomicU64::new(0),
        }
    }

    /// What was done so far.
    pub fn stats(&self) -> RowStats {
        let generations = self.generations.lock().expect("no panic while it is held");
        RowStats {
            wanted: self.wanted.load(Relaxed),
            made: self.made.load(Relaxed),
            bytes: (generations.young_bytes + generations.old_bytes) as u64,
        }
    }

    /// The rows that are there.
    fn find(&self, pairs: &[Pair]) -> Vec<Option<Arc<OwnedRow>>> {
        let mut generations = self.generations.lock().expect("no panic while it is held");
        let find = |pair: &Pair| {
            generations.young.get(pair).cloned().or_else(|| {
                let row = generations.old.remove(pair)?;
                generations.old_bytes -= row.bytes() + ENTRY;
                generations.insert(*pair, row.clone(), self.budget);
                Some(row)
            })
        };
        pairs.iter().map(find).collect()
    }

    fn insert(&self, pair: Pair, row: Arc<OwnedRow>) {
        let mut generations = self.generations.lock().expect("no panic while it is held");
        generations.insert(pair, row, self.budget);
    }
}

impl Generations {
    fn insert(&mut self, pair: Pair, row: Arc<OwnedRow>, budget: usize) {
        let bytes = row.bytes() + ENTRY;
        if self.young_bytes + bytes > budget / 2 {
            self.old = std::mem::take(&mut self.young);
            self.old_bytes = std::mem::take(&mut self.young_bytes);
        }
        self.young_bytes += bytes;
        self.young.insert(pair, row);
    }
}

/// The rows of a model over a graph.
pub struct Rows<'a> {
    /// The model.
    pub links: &'a dyn LinkScorer,
    /// The training graph, by which truth is calibrated.
    pub train: Csr<'a>,
    /// The links that are observed.
    pub evidence: View<'a>,
    /// How scores become truth values.
    pub truth: &'a Truth,
    /// Rows that were made before by the same model and the same truth, over the same evidence.
    pub cache: &'a RowCache,
    /// All rows, where they were made before.
    pub adjacency: Option<&'a Adjacency>,
    /// Who can stop it.
    pub watch: Watch<'a>,
}

impl Rows<'_> {
    /// The rows of pairs, each of which occurs once.
    ///
    /// # Errors
    ///
    /// Of the scorer; where a score is not a number; [`Error::Interrupted`](crate::Error::Interrupted) where the watcher stops it.
    pub fn get(&self, pairs: &[Pair]) -> Result<Vec<AnyRow<'_>>> {
        if let Some(adjacency) = self.adjacency {
            return Ok(pairs.iter().map(|&pair| AnyRow::Mapped(adjacency.row(pair))).collect());
        }
        let mut rows = self.cache.find(pairs);
        let missing: Vec<usize> = (0..pairs.len()).filter(|&i| rows[i].is_none()).collect();
        self.cache.wanted.fetch_add(pairs.len() as u64, Relaxed);
        self.cache.made.fetch_add(missing.len() as u64, Relaxed);
        for missing in missing.chunks(AT_ONCE) {
            let wanted: Vec<Pair> = missing.iter().map(|&i| pairs[i]).collect();
            for (&number, row) in missing.iter().zip(self.make(&wanted)?) {
                let row = Arc::new(row);
                self.cache.insert(pairs[number], row.clone());
                rows[number] = Some(row);
            }
        }
        Ok(rows.into_iter().map(|row| AnyRow::Made(row.expect("made above"))).collect())
    }

    /// The rows of pairs, made from scores whether they are kept or not.
    ///
    /// # Errors
    ///
    /// As [`Rows::get`].
    pub fn make(&self, pairs: &[Pair]) -> Result<Vec<OwnedRow>> {
        let mut rows = Vec::with_capacity(pairs.len());
        for pairs in pairs.chunks(AT_ONCE) {
            self.watch.check()?;
            let observed: Vec<Vec<EntityId>> = pairs.iter().map(|&pair| self.observed(pair)).collect();
            let built = self.build(pairs, &observed)?;
            rows.par_extend(built.into_par_iter().map(|row| self.finish(row)));
        }
        Ok(rows)
    }

    /// The scores of all tails of each pair; where it is marked, the logarithms of their truth, neither cut nor capped, and without
    /// evidence. Both have one order, but rounding may make different scores equally true.
    ///
    /// # Errors
    ///
    /// As [`Rows::get`].
    pub fn uncut(&self, pairs: &[(Pair, bool)]) -> Result<Vec<Vec<f32>>> {
        let mut all = Vec::with_capacity(pairs.len());
        for pairs in pairs.chunks(AT_ONCE) {
            self.watch.check()?;
            let scored: Vec<Pair> = pairs.iter().map(|(pair, _)| *pair).collect();
            let rows: Vec<_> = pairs.iter().map(|_| Mutex::new(Vec::new())).collect();
            self.links.score_tails(&scored, &|number, _, scores| {
                rows[number].lock().expect("no panic while it is held").extend_from_slice(scores);
            })?;
            let made = rows.into_par_iter().zip(pairs).map(|(row, &(pair, as_truth))| {
                let mut row: Vec<f32> = row.into_inner().expect("no panic while it was held");
                match as_truth {
                    false => truth::check_numbers(0, &row)?,
                    true => {
                        let mut builder = self.builder(pair, &[]);
                        builder.push(0, &row)?;
                        builder.ln_truth(&mut row);
                        self.finish(builder);
                    }
                }
                Ok(row)
            });
            all.extend(made.collect::<Result<Vec<_>>>()?);
        }
        Ok(all)
    }

    /// A row of a pair, to be made, in memory that is kept.
    fn builder<'r>(&'r self, (relation, head): Pair, observed: &'r [EntityId]) -> RowBuilder<'r> {
        let space = self.cache.spaces.lock().expect("no panic while it is held").pop();
        self.truth.row(self.train.tails(head, relation).len(), observed, space.unwrap_or_default())
    }

    /// Makes the rows of pairs from their scores, up to the last step.
    fn build<'r>(&'r self, pairs: &[Pair], observed: &'r [Vec<EntityId>]) -> Result<Vec<RowBuilder<'r>>> {
        let builders = pairs.iter().zip(observed).map(|(&pair, observed)| self.builder(pair, observed));
        let builders: Vec<_> = builders.map(|builder| Mutex::new((builder, Ok(())))).collect();
        self.links.score_tails(pairs, &|number, first, scores| {
            let (builder, result) = &mut *builders[number].lock().expect("no panic while it is held");
            if result.is_ok() {
                *result = builder.push(first, scores);
            }
        })?;
        let done = builders.into_iter().map(|builder| {
            let (builder, result) = builder.into_inner().expect("no panic while it was held");
            result.map(|()| builder)
        });
        done.collect()
    }

    /// The row of a builder, whose memory is kept.
    fn finish(&self, builder: RowBuilder) -> OwnedRow {
        let (row, space) = builder.finish();
        self.cache.spaces.lock().expect("no panic while it is held").push(space);
        row
    }

    fn observed(&self, (relation, head): Pair) -> Vec<EntityId> {
        let mut tails = Vec::new();
        self.evidence.extend_tails(head, relation, &mut tails);
        tails.sort_unstable();
        tails.dedup();
        tails
    }
}
