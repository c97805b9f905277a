//! Saved models and training states, as safetensors.
//!
//! A model holds one tensor a table (`entities`, `relations`, and the names of the dense parameters);
//! a state adds `NAME.first` and `NAME.second`, Adam's moments. All are float32, row-major; rows of
//! `entities` and `relations` stand in the order of the run folder's `entities.tsv` and `relations.tsv`.
//! The file's metadata holds [`Meta`].

use crate::backend::{Backend, Parameters};
use crate::error::{Error, Result};
use crate::model::{Model, Weights};
use crate::storage::atomic;
use crate::storage::mmap::Mapped;
use safetensors::{Dtype, SafeTensors, View};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::HashMap;
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
    /// Best mean MRR on valid so far, where there has been an evaluation.
    pub best_valid_mrr: Option<f64>,
}

/// The key of [`Meta`] in a file's metadata.
const META: &str = "smore";

/// A buffer as a tensor, fetched when it is written.
struct Tensor<'a, B: Backend> {
    backend: &'a B,
    buffer: &'a B::Buffer,
    shape: [usize; 2],
}

impl<B: Backend> View for Tensor<'_, B> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let mut host = vec![B::Scalar::default(); self.shape[0] * self.shape[1]];
        let downloaded = self.backend.download(self.buffer, 0, &mut host);
        // The format has no way to fail here; a device that is gone has failed the step before.
        downloaded.expect("the device answered a moment ago");
        Cow::Owned(host.iter().flat_map(|&x| (B::value(x) as f32).to_le_bytes()).collect())
    }

    fn data_len(&self) -> usize {
        self.shape[0] * self.shape[1] * 4
    }
}

/// Writes the tables, with moments where `state`; atomically.
pub fn save<B: Backend>(
    path: &Path,
    backend: &B,
    model: &dyn Model<B>,
    weights: &Weights<B>,
    meta: &Meta,
    state: bool,
) -> Result<()> {
    let mut tensors: Vec<(String, Tensor<B>)> = Vec::new();
    for (name, table) in weights.named(model) {
        let shape = [table.rows, table.cols];
        let mut add = |name, buffer| tensors.push((name, Tensor { backend, buffer, shape }));
        if state {
            add(format!("{name}.first"), &table.first);
            add(format!("{name}.second"), &table.second);
        }
        add(name, &table.values);
    }
    let meta = serde_json::to_string(meta).expect("plain data");
    let info = Some(HashMap::from([(META.to_string(), meta)]));
    atomic::write_by_path(path, |temporary| {
        safetensors::serialize_to_file(tensors, info, temporary).map_err(|e| match e {
            safetensors::SafeTensorError::IoError(e) => Error::io(path)(e),
            other => Error::file(path, format!("cannot be written: {other}")),
        })
    })
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

/// Fills the tables from a file, with moments where `state`.
///
/// Errors where a tensor is missing or has another shape than the model and graph ask for.
pub fn load<B: Backend>(
    path: &Path,
    backend: &B,
    model: &dyn Model<B>,
    weights: &mut Weights<B>,
    state: bool,
) -> Result<Meta> {
    let bytes = Mapped::open(path)?;
    let meta = meta_of(path, bytes.bytes())?;
    let tensors = SafeTensors::deserialize(bytes.bytes()).map_err(|e| broken(path, e))?;
    if meta.model != model.name() {
        return Err(Error::file(path, format!("holds a {} model, not {}", meta.model, model.name())));
    }
    let fill = |name: &str, shape: [usize; 2], buffer: &mut B::Buffer| -> Result<()> {
        let tensor = tensors.tensor(name).map_err(|e| broken(path, e))?;
        if tensor.shape() != shape || tensor.dtype() != Dtype::F32 {
            return Err(Error::file(
                path,
                format!(
                    "tensor {name} is {:?} {:?}, but configuration and graph ask for F32 {shape:?}: \
                     the files of this run folder do not belong together",
                    tensor.dtype(),
                    tensor.shape()
                ),
            ));
        }
        // Block by block, so that a table is never held twice.
        for (block, bytes) in tensor.data().chunks(1 << 20).enumerate() {
            let scalars: Vec<B::Scalar> = bytes
                .as_chunks::<4>()
                .0
                .iter()
                .map(|&x| B::scalar(f64::from(f32::from_le_bytes(x))))
                .collect();
            backend.upload(&scalars, buffer, block << 18)?;
        }
        Ok(())
    };
    for (name, table) in weights.named_mut(model) {
        let Parameters { rows, cols, values, first, second } = table;
        fill(&name, [*rows, *cols], values)?;
        if state {
            fill(&format!("{name}.first"), [*rows, *cols], first)?;
            fill(&format!("{name}.second"), [*rows, *cols], second)?;
        }
    }
    Ok(meta)
}
