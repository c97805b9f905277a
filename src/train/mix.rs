//! Which structures of a mix a graph has.

use crate::config::{Config, Objective};
use crate::error::{Error, Result};
use crate::graph::{KnowledgeGraph, Split};
use crate::query::{Mix, Structure};
use crate::sampler::Batch;
use crate::sampler::{Sampler, SamplerOptions};

/// Queries that must be drawn of a structure for it to count as one that the graph has.
const TRIED: usize = 8;

/// The training mix without the structures that cannot be drawn on the graph, as text, and those structures. `None` where
/// all can, or none: then training says what is wrong.
pub fn drawable(config: &Config, graph: &KnowledgeGraph) -> Result<Option<(String, Vec<String>)>> {
    if config.training.objective != Objective::Queries || graph.split(Split::Train).num_edges() == 0 {
        return Ok(None);
    }
    // Weights of answers and negatives change nothing about what there is.
    let options = SamplerOptions {
        negatives: 1,
        answer_exponent: 0.0,
        negative_exponent: 0.0,
        ..config.sampler_options()
    };
    let can_be_drawn = |structure: &Structure| -> Result<bool> {
        let mix = Mix { parts: vec![(structure.clone(), TRIED)] };
        let mut sampler = Sampler::new(graph.split(Split::Train), &mix, options.clone())?;
        match sampler.fill(0, &mut Batch::default()) {
            Ok(()) => Ok(true),
            Err(Error::Sampling(_)) => Ok(false),
            Err(error) => Err(error),
        }
    };
    let (mut kept, mut left_out) = (Vec::new(), Vec::new());
    for (structure, weight) in config.training_mix()? {
        match can_be_drawn(&structure)? {
            true => kept.push(format!("{structure}:{weight}")),
            false => left_out.push(structure.to_string()),
        }
    }
    Ok((!kept.is_empty() && !left_out.is_empty()).then(|| (kept.join(","), left_out)))
}
