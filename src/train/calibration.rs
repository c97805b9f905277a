//! `calibration.json` of a run folder: what validation queries taught about answers, for each way of answering them.

use super::RunFolder;
use crate::error::{Error, Result};
use crate::eval::calibrate::Calibrated;
use crate::inference::{Engine, Options};
use crate::query::structure::NAMED;
use crate::storage::atomic;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::ErrorKind;

/// Its name in a run folder.
pub const NAME: &str = "calibration.json";

/// Raised when entries mean something else.
const VERSION: u32 = 1;

/// What was calibrated: other models and other ways of answering have other probabilities.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Of {
    /// Checksum of the model's file.
    pub model: String,
    /// The engine and what its answers depend on; of embeddings the engine alone counts.
    #[serde(flatten)]
    pub options: Options,
}

impl Of {
    /// Whether these answers are those of the other, but for the negation scale where that is not asked for.
    fn fits(&self, other: &Of, scale: bool) -> bool {
        let plain = |options: &Options| Options {
            negation_scale: if scale { options.negation_scale } else { 0.0 },
            // Where it is offered changes no answer.
            exact_entities: 0,
            beam: if options.engine == Engine::Beam { options.beam } else { 0 },
            ..options.clone()
        };
        let embeds = |of: &Of| of.options.engine == Engine::Embedding;
        self.model == other.model
            && ((embeds(self) && embeds(other)) || plain(&self.options) == plain(&other.options))
    }
}

/// One calibration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// What was calibrated.
    pub of: Of,
    /// Mean MRR over the validation queries with a negation, by negation scale; empty where the scale was given.
    pub negation_scales: Vec<(f32, f64)>,
    /// What was learnt, by structure.
    pub structures: BTreeMap<String, Calibrated>,
}

impl Entry {
    /// The share of answers that sets were to hold when they were tested; 0 where they were not.
    pub fn coverage(&self) -> f64 {
        self.structures.values().find_map(|c| c.tested.as_ref()).map_or(0.0, |t| t.coverage.wanted)
    }

    /// What was learnt, in the order of every table.
    pub fn in_order(&self) -> Vec<(&String, &Calibrated)> {
        let mut all: Vec<_> = self.structures.iter().collect();
        let place = |name: &str| NAMED.iter().position(|(named, _)| *named == name).unwrap_or(NAMED.len());
        all.sort_by_key(|(name, _)| place(name));
        all
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Document {
    version: u32,
    calibrations: Vec<Entry>,
}

/// All calibrations of a folder; none where there is no file.
///
/// # Errors
///
/// Where the file is not what smore wrote.
pub fn read(folder: &RunFolder) -> Result<Vec<Entry>> {
    let path = folder.file(NAME);
    let bytes = match std::fs::read(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        bytes => bytes.map_err(Error::io(&path))?,
    };
    let remedy = "calibrate again with smore calibrate, after removing it";
    let document: Document = serde_json::from_slice(&bytes)
        .map_err(|e| Error::file(&path, format!("is not what smore wrote ({e}): {remedy}")))?;
    match document.version {
        VERSION => Ok(document.calibrations),
        other => {
            Err(Error::file(&path, format!("has version {other}, and this smore reads {VERSION}: {remedy}")))
        }
    }
}

/// Adds a calibration, in place of an older one of the same.
///
/// # Errors
///
/// As [`read`]; where the file cannot be written.
pub fn add(folder: &RunFolder, entry: Entry) -> Result<()> {
    let mut calibrations = read(folder)?;
    calibrations.retain(|other| !other.of.fits(&entry.of, true));
    calibrations.push(entry);
    let document = Document { version: VERSION, calibrations };
    atomic::write_bytes(&folder.file(NAME), &serde_json::to_vec_pretty(&document).expect("plain data"))
}

/// The calibration of these answers, if there is one.
pub fn find(entries: Vec<Entry>, of: &Of) -> Option<Entry> {
    entries.into_iter().rev().find(|entry| entry.of.fits(of, true))
}

/// The negation scale that was chosen for these options, whatever they have.
pub fn chosen_scale(entries: &[Entry], of: &Of) -> Option<f32> {
    let chosen = |entry: &&Entry| !entry.negation_scales.is_empty() && entry.of.fits(of, false);
    entries.iter().rev().find(chosen).map(|entry| entry.of.options.negation_scale)
}
