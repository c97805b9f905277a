//! Training queries with verified negatives, one at a time.

use crate::error::Result;
use crate::graph::{KnowledgeGraph, Split};
use crate::ids::EntityId;
use crate::query::{Mix, Query, Structure, parse_structures};
use crate::sampler::{self, Batch, SamplerOptions};

/// Draws training queries from a graph by bidirectional rejection sampling (Ren et al. 2022).
///
/// Batches depend on the seed and their number alone, whatever the order in which they are drawn.
///
/// ```
/// use smore::{Dataset, Sampler};
/// # let cache = tempfile::tempdir().unwrap();
/// let graph = Dataset::new("umls").cache_folder(cache.path()).graph()?;
/// let mut sampler = Sampler::new(&graph, "1p:1,2i:1", 8)?.negatives(16).seed(7);
/// for drawn in sampler.batch(0)? {
///     assert!(!drawn.negatives.contains(&drawn.answer));
/// }
/// # Ok::<(), smore::Error>(())
/// ```
pub struct Sampler<'g> {
    graph: &'g KnowledgeGraph,
    mix: Mix,
    options: SamplerOptions,
    /// Made when the first batch is drawn.
    drawing: Option<sampler::Sampler<'g>>,
}

/// A query that was drawn.
#[derive(Clone, Debug)]
pub struct Drawn {
    /// The query.
    pub query: Query,
    /// One of its answers in the training graph.
    pub answer: EntityId,
    /// Entities of the batch's pool that are no answers of it in the training graph.
    pub negatives: Vec<EntityId>,
}

impl<'g> Sampler<'g> {
    /// Of structures with their weights, `1p:2,2i:1`; a batch has `queries` of them.
    ///
    /// # Errors
    ///
    /// Where a structure cannot be read, or the batch has not room for each.
    pub fn new(graph: &'g KnowledgeGraph, structures: &str, queries: usize) -> Result<Self> {
        let weighted: Vec<(Structure, f64)> = parse_structures(structures)?;
        let mix = Mix::new(&weighted, queries)?;
        Ok(Sampler { graph, mix, options: SamplerOptions::default(), drawing: None })
    }

    /// Entities of the pool from which the negatives of a batch come.
    pub fn negatives(mut self, negatives: usize) -> Self {
        (self.options.negatives, self.drawing) = (negatives, None);
        self
    }

    /// What decides the batches.
    pub fn seed(mut self, seed: u64) -> Self {
        (self.options.seed, self.drawing) = (seed, None);
        self
    }

    /// Batch `number`.
    ///
    /// # Errors
    ///
    /// [`Error::Sampling`](crate::Error::Sampling) names a structure that this graph does not let draw, and why.
    pub fn batch(&mut self, number: u64) -> Result<Vec<Drawn>> {
        let drawing = match &mut self.drawing {
            Some(drawing) => drawing,
            none => {
                let graph = self.graph.split(Split::Train);
                none.insert(sampler::Sampler::new(graph, &self.mix, self.options.clone())?)
            }
        };
        let mut batch = Batch::default();
        drawing.fill(number, &mut batch)?;
        let (mut anchors, mut relations) = (&batch.anchors[..], &batch.relations[..]);
        let structures = self.mix.parts.iter().flat_map(|(s, count)| std::iter::repeat_n(s, *count));
        let drawn = structures.enumerate().map(|(q, structure)| {
            let (a, r) = structure.flatten();
            let (of_query, along);
            (of_query, anchors) = anchors.split_at(a.len());
            (along, relations) = relations.split_at(r.len());
            let pool = batch.pool(q).iter().enumerate();
            Drawn {
                query: structure.fill(of_query, along).expect("as many as the structure has"),
                answer: batch.positives[q],
                negatives: pool.filter(|(n, _)| !batch.is_masked(q, *n)).map(|(_, &entity)| entity).collect(),
            }
        });
        Ok(drawn.collect())
    }
}
