//! The tables of a run: all in memory, or with the entity rows in a file of the run folder.

use super::row_file::{self, RowFile, RowLayout};
use crate::backend::{Backend, Optimizer, Parameters};
use crate::config::{Config, TableKind};
use crate::error::Result;
use crate::graph::KnowledgeGraph;
use crate::model::weights::{ROWS_PER_STREAM, start_entities};
use crate::model::{Model, Weights};
use crate::pipeline::Pipeline;
use crate::progress::Watch;
use crate::sampler::Batch;
use crate::storage::mmap::Numbers;
use std::path::Path;

/// Tables, and where entity rows are in a file, that file.
pub type Tables<B> = (Weights<B>, Option<RowFile>);

/// What the file of a run's entity rows must be.
pub fn layout(model: &dyn Model, graph: &KnowledgeGraph, config: &Config) -> RowLayout {
    RowLayout {
        rows: graph.num_entities(),
        cols: model.spec().widths.entity,
        graph: graph.fingerprint(),
        seed: config.training.seed,
    }
}

/// Random tables to start a run with. With [`TableKind::File`] the file `path` is made, which is one pass of writing
/// over it; both kinds have the same numbers. The watcher can stop that.
pub fn start<B: Backend>(
    backend: &B,
    model: &dyn Model,
    graph: &KnowledgeGraph,
    config: &Config,
    path: &Path,
    watch: &Watch,
) -> Result<Tables<B>> {
    let seed = config.training.seed;
    let (mut weights, file) = match config.training.table {
        TableKind::Memory => (
            Weights::zeros(
                backend,
                model,
                graph.num_entities(),
                graph.num_relations(),
                Some(config.training.optimizer),
            )?,
            None,
        ),
        TableKind::File => {
            let (rows, kind) = (graph.num_entities(), config.model.start);
            let fill = |first: usize, values: &mut [f32]| {
                watch.check()?;
                start_entities(model, kind, seed, rows, first, values);
                Ok(())
            };
            let (file, numbers) = RowFile::create(path, layout(model, graph, config), ROWS_PER_STREAM, fill)?;
            (beside(backend, model, graph, numbers, Some(config.training.optimizer))?, Some(file))
        }
    };
    weights.start_as(backend, model, config.model.start, seed)?;
    Ok((weights, file))
}

/// Tables to be filled from a checkpoint, `trained` further or only read; with [`TableKind::File`] the entity rows of
/// the file `path`, as they are.
pub fn open<B: Backend>(
    backend: &B,
    model: &dyn Model,
    graph: &KnowledgeGraph,
    config: &Config,
    path: &Path,
    trained: bool,
) -> Result<Tables<B>> {
    let optimizer = trained.then_some(config.training.optimizer);
    match config.training.table {
        TableKind::Memory => {
            let (entities, relations) = (graph.num_entities(), graph.num_relations());
            Ok((Weights::zeros(backend, model, entities, relations, optimizer)?, None))
        }
        TableKind::File => {
            let (file, numbers) = RowFile::open(path, layout(model, graph, config), trained)?;
            Ok((beside(backend, model, graph, numbers, optimizer)?, Some(file)))
        }
    }
}

fn beside<B: Backend>(
    backend: &B,
    model: &dyn Model,
    graph: &KnowledgeGraph,
    numbers: Numbers,
    trained: Option<Optimizer>,
) -> Result<Weights<B>> {
    let entities = Parameters {
        rows: graph.num_entities(),
        cols: model.spec().widths.entity,
        values: backend.map(numbers)?,
        first: backend.zeros(0)?,
        second: backend.zeros(0)?,
        state: trained.map_or([0; 2], |optimizer| optimizer.state(model.spec().widths.entity)),
        interleaved: true,
    };
    Weights::beside(backend, model, entities, graph.num_relations(), trained)
}

/// Where a run's entity rows are, below its folder.
pub fn path(folder: &Path) -> std::path::PathBuf {
    folder.join(row_file::NAME)
}

/// Batches, one ahead of the step: while a step is done, the system reads the rows of the next one from the file.
#[derive(Debug, Default)]
pub struct Ahead(Option<Batch>);

impl Ahead {
    /// The next batch of `pipeline`. With a file, and where there will be `more`, the rows of the one after it are
    /// asked for.
    pub fn next(&mut self, pipeline: &mut Pipeline, file: Option<&RowFile>, more: bool) -> Result<Batch> {
        let batch = match self.0.take() {
            Some(batch) => batch,
            None => pipeline.next()?,
        };
        if let Some(file) = file.filter(|_| more) {
            let next = pipeline.next()?;
            file.prefetch(&next.entity_groups.ids);
            self.0 = Some(next);
        }
        Ok(batch)
    }
}
