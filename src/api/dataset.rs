//! From the name of a dataset to its graph.

use crate::dataset::{OpenOptions, open};
use crate::error::Result;
use crate::graph::KnowledgeGraph;
use crate::progress::Progress;
use std::path::PathBuf;

/// A dataset: a name, a folder of triple files, or a graph file.
///
/// ```no_run
/// use smore::Dataset;
/// let graph = Dataset::new("umls").graph()?;
/// assert_eq!(graph.num_entities(), 135);
/// # Ok::<(), smore::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Dataset {
    name: String,
    options: OpenOptions,
}

impl Dataset {
    /// `umls` comes with the crate; other known names are looked for in the data folder.
    pub fn new(name: impl Into<String>) -> Self {
        Dataset { name: name.into(), options: OpenOptions::default() }
    }

    /// A folder that has the folders of known datasets.
    pub fn data_folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.options.data_dir = Some(folder.into());
        self
    }

    /// Where imported graphs are kept; else it is the user's cache folder.
    pub fn cache_folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.options.cache_dir = Some(folder.into());
        self
    }

    /// The language of labels, such as `de`; else English, or the first there is.
    pub fn language(mut self, language: impl Into<String>) -> Self {
        self.options.language = Some(language.into());
        self
    }

    /// Bytes of memory that an import takes at most; else a quarter of the machine's.
    pub fn memory(mut self, bytes: u64) -> Self {
        self.options.memory = Some(bytes);
        self
    }

    /// Called with the progress of an import: the stage, what is done of it, and all of it (0: not known).
    pub fn on_progress(mut self, callback: impl Fn(&str, u64, u64) + Send + Sync + 'static) -> Self {
        self.options.progress = Progress::new(callback);
        self
    }

    /// Opens the graph, importing it first where that was not done yet.
    ///
    /// # Errors
    ///
    /// [`Error`](crate::Error) with the file and line where an import fails.
    pub fn graph(&self) -> Result<KnowledgeGraph> {
        open(&self.name, &self.options).map(|(graph, _)| graph)
    }
}
