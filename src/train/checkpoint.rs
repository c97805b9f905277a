//! Saved models and training states, as safetensors.
//!
//! A model holds one tensor a table (`entities`, `relations`, and the names of the dense parameters);
//! a state adds `NAME.first` and `NAME.second`, what the optimizer keeps (see
//! [`Optimizer::state`](crate::backend::Optimizer::state)). All are float32, row-major; rows of
//! `entities` and `relations` stand in the order of the run folder's `entities.tsv` and `relations.tsv`.
//! Entity rows that live in a file of their own ([`super::row_file`]) are left out. The file's metadata holds [`Meta`].

use super::manifest::{Entry, Summed};
use super::monitor::LossWatch;
use super::monitor::Monitor;
use crate::backend::{Backend, Number, Parameters};
use crate::error::{Error, Result};
use crate::graph::KnowledgeGraph;
use crate::model::{Model, Weights};
use crate::storage::atomic;
use crate::storage::mmap::Mapped;
use safetensors::tensor::{Metadata, TensorInfo, TensorView};
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::io::Write;
use std::path::Path;

/// What a file of tensors says about itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Meta {
    /// Steps done.
    pub step: u64,
    /// Name of the model.
    pub model: String,
    /// Fingerprint of the graph, in hexadecimal.
    pub graph: String,
    /// Version of smore that wrote it.
    pub version: String,
    /// What evaluations on valid have decided.
    #[serde(flatten)]
    pub monitor: Monitor,
    /// Whether an evaluation on valid is due at this step that was interrupted.
    #[serde(default)]
    pub valid_pending: bool,
    /// The losses so far.
    #[serde(default)]
    pub loss: Option<LossWatch>,
}

/// The key of [`Meta`] in a file's metadata.
const META: &str = "smore";

/// Numbers that are copied at once, so that no table is ever held twice.
const BLOCK: usize = 1 << 18;

/// Writes the tables, with moments where `state`; atomically. `note` is called with what the file is going to be before it is
/// in its place.
///
/// # Errors
///
/// What the disk and the device meet; [`Error::Training`] where a number is not finite: such a model is
/// of no use, and the file that was there stays.
pub fn save<B: Backend>(
    path: &Path,
    backend: &B,
    model: &dyn Model,
    weights: &Weights<B>,
    meta: &Meta,
    state: bool,
    note: impl FnOnce(Entry) -> Result<()>,
) -> Result<()> {
    let mut tensors: Vec<(String, [usize; 2], &B::Buffer)> = Vec::new();
    for (name, table) in weights.named(model).into_iter().filter(|(_, table)| !table.interleaved) {
        let shape = [table.rows, table.cols];
        if state {
            let parts = [("first", &table.first), ("second", &table.second)];
            for ((part, buffer), cols) in parts.into_iter().zip(table.state).filter(|(_, cols)| *cols > 0) {
                tensors.push((format!("{name}.{part}"), [table.rows, cols], buffer));
            }
        }
        tensors.push((name, shape, &table.values));
    }
    tensors.sort_by(|a, b| a.0.cmp(&b.0));
    let header = header(&tensors, meta);
    // The crate's own serialize_to_file renames a private, unsynced file over the one that it is given.
    atomic::write(path, |file| {
        let mut file = Summed::new(file);
        file.write_all(&(header.len() as u64).to_le_bytes()).map_err(Error::io(path))?;
        file.write_all(&header).map_err(Error::io(path))?;
        for (name, [rows, cols], buffer) in tensors {
            for first in (0..rows * cols).step_by(BLOCK) {
                let mut host = vec![B::Scalar::default(); BLOCK.min(rows * cols - first)];
                backend.download(buffer, first, &mut host)?;
                let numbers: Vec<f32> = host.into_iter().map(|x| B::Scalar::value(x) as f32).collect();
                if let Some(at) = numbers.iter().position(|x| !x.is_finite()) {
                    let (row, x) = ((first + at) / cols, numbers[at]);
                    return Err(Error::Training(format!(
                        "row {row} of {name} after step {} holds {x}",
                        meta.step
                    )));
                }
                let bytes: Vec<u8> = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
                file.write_all(&bytes).map_err(Error::io(path))?;
            }
        }
        note(file.entry())
    })
}

/// The JSON before the tensors, which follow each other in this order.
fn header<T>(tensors: &[(String, [usize; 2], T)], meta: &Meta) -> Vec<u8> {
    let mut end = 0;
    let infos = tensors.iter().map(|(name, shape, _)| {
        let start = end;
        end += 4 * shape[0] * shape[1];
        (name.clone(), TensorInfo { dtype: Dtype::F32, shape: shape.to_vec(), data_offsets: (start, end) })
    });
    let meta = serde_json::to_string(meta).expect("plain data");
    let metadata = Metadata::new(Some(HashMap::from([(META.to_string(), meta)])), infos.collect());
    let mut header = serde_json::to_vec(&metadata.expect("offsets in a row")).expect("plain data");
    // Readers may expect tensors to be aligned.
    header.resize(header.len().next_multiple_of(8), b' ');
    header
}

/// What the file at `path` says about itself, without reading its tensors.
pub fn read_meta(path: &Path) -> Result<Meta> {
    meta_of(path, Mapped::open(path)?.bytes())
}

fn broken(path: &Path, reason: impl std::fmt::Display) -> Error {
    Error::file(
        path,
        format!("is not a whole model file of smore ({reason}): train again, or use another run"),
    )
}

fn meta_of(path: &Path, bytes: &[u8]) -> Result<Meta> {
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| broken(path, e))?;
    let meta = header.metadata().as_ref().and_then(|m| m.get(META));
    let meta = meta.ok_or_else(|| broken(path, "it has no smore metadata"))?;
    serde_json::from_str(meta).map_err(|e| broken(path, e))
}

/// Checks, before anything is allocated, that a file holds the tensors that model and graph ask for, apart from the
/// optimizer's; without entity rows where these are `in_file`.
pub fn check_shapes(path: &Path, model: &dyn Model, graph: &KnowledgeGraph, in_file: bool) -> Result<()> {
    let bytes = Mapped::open(path)?;
    let meta = meta_of(path, bytes.bytes())?;
    check_model(path, &meta, model.spec().name)?;
    let tensors = SafeTensors::deserialize(bytes.bytes()).map_err(|e| broken(path, e))?;
    let (entities, relations) = (graph.num_entities(), graph.num_relations());
    let entities = (!in_file).then(|| ("entities".to_string(), [entities, model.spec().widths.entity]));
    let relations = ("relations".to_string(), [relations, model.spec().widths.relation]);
    let dense = model.spec().parameters.iter().map(|p| (p.name.clone(), [p.rows, p.cols]));
    let mut wanted = entities.into_iter().chain([relations]).chain(dense);
    wanted.try_for_each(|(name, shape)| tensor(path, &tensors, &name, shape).map(drop))
}

fn check_model(path: &Path, meta: &Meta, model: &str) -> Result<()> {
    match meta.model == model {
        true => Ok(()),
        false => Err(Error::file(path, format!("holds a {} model, not {model}", meta.model))),
    }
}

/// A tensor of this shape.
fn tensor<'t>(
    path: &Path,
    tensors: &SafeTensors<'t>,
    name: &str,
    shape: [usize; 2],
) -> Result<TensorView<'t>> {
    let tensor = tensors.tensor(name).map_err(|e| broken(path, e))?;
    if tensor.shape() == shape && tensor.dtype() == Dtype::F32 {
        return Ok(tensor);
    }
    Err(Error::file(
        path,
        format!(
            "tensor {name} is {:?} {:?}, but configuration and graph ask for F32 {shape:?}: the files of this run \
             folder do not belong together",
            tensor.dtype(),
            tensor.shape()
        ),
    ))
}

/// Fills the tables from a file, with moments where `state`.
///
/// Errors where a tensor is missing, has another shape than the model and graph ask for, or a number is not finite.
pub fn load<B: Backend>(
    path: &Path,
    backend: &B,
    model: &dyn Model,
    weights: &mut Weights<B>,
    state: bool,
) -> Result<Meta> {
    let bytes = Mapped::open(path)?;
    let meta = meta_of(path, bytes.bytes())?;
    let tensors = SafeTensors::deserialize(bytes.bytes()).map_err(|e| broken(path, e))?;
    check_model(path, &meta, model.spec().name)?;
    let fill = |name: &str, shape: [usize; 2], buffer: &mut B::Buffer| -> Result<()> {
        let tensor = tensor(path, &tensors, name, shape)?;
        for (block, bytes) in tensor.data().chunks(4 * BLOCK).enumerate() {
            let number = |x: &[u8; 4]| f32::from_le_bytes(*x);
            if let Some(at) = bytes.as_chunks::<4>().0.iter().position(|x| !number(x).is_finite()) {
                let (row, x) = ((block * BLOCK + at) / shape[1], number(&bytes.as_chunks::<4>().0[at]));
                return Err(broken(path, format!("row {row} of {name} holds {x}")));
            }
            let scalars: Vec<B::Scalar> = bytes
                .as_chunks::<4>()
                .0
                .iter()
                .map(|&x| B::Scalar::of(f64::from(f32::from_le_bytes(x))))
                .collect();
            backend.upload(&scalars, buffer, block * BLOCK)?;
        }
        Ok(())
    };
    for (name, table) in weights.named_mut(model).into_iter().filter(|(_, table)| !table.interleaved) {
        let Parameters { rows, cols, values, first, second, state: kept, .. } = table;
        fill(&name, [*rows, *cols], values)?;
        if state {
            let parts = [("first", first), ("second", second)];
            for ((part, buffer), &mut cols) in parts.into_iter().zip(kept).filter(|(_, cols)| **cols > 0) {
                fill(&format!("{name}.{part}"), [*rows, cols], buffer)?;
            }
        }
    }
    Ok(meta)
}
