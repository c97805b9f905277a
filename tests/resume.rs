//! A run in pieces is the same run.

use smore::backend::{Backend, Cpu};
use smore::config::Config;
use smore::train::{Observer, Run, RunFolder};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

mod common;
use common::{Folder, emulator};

struct Silent;
impl Observer for Silent {}

/// Trains in `path`, from its state where there is one; `stop` ends it after one step.
fn train<B: Backend>(backend: B, path: &Path, config: &Config, folder: &Folder, stop: bool) -> bool {
    let (graph, _) = smore::dataset::resolve("umls", &folder.options()).unwrap();
    let resume = path.exists();
    let run = match resume {
        true => RunFolder::resume(path).unwrap(),
        false => RunFolder::create(Some(path), config, &graph).unwrap(),
    };
    let outcome = Run {
        backend,
        graph: Arc::new(graph),
        config: config.clone(),
        folder: &run,
        query_cache: &folder.cache(),
        resume,
        stop: &AtomicBool::new(stop),
    }
    .train(&mut Silent)
    .unwrap();
    outcome.report.is_some()
}

#[test]
fn a_run_that_is_stopped_after_every_step_ends_with_the_same_bytes() {
    check(&|| Cpu);
}

#[test]
fn so_does_one_on_the_cuda_backend() {
    if emulator::cuda().is_some() {
        check(&|| emulator::cuda().expect("there a moment ago"));
    }
}

fn check<B: Backend>(backend: &dyn Fn() -> B) {
    for model in ["gqe", "query2box", "complex"] {
        let folder = Folder::in_memory();
        let set = [
            &format!("model.name={model}"),
            "model.dim=8",
            "training.batch_size=16",
            "training.steps=14",
            "training.valid_every=3",
            "training.learning_rate=0.05",
            "sampling.negatives=16",
            "evaluation.queries=10",
            "evaluation.valid_queries=5",
        ];
        let config = Config::resolve(None, &set.map(String::from)).unwrap();
        let (whole, pieces) = (folder.path().join("whole"), folder.path().join("pieces"));
        assert!(train(backend(), &whole, &config, &folder, false));
        let count = 1 + (0..100).take_while(|_| !train(backend(), &pieces, &config, &folder, true)).count();
        // The last piece has no step left to stop after.
        assert_eq!(count, 14, "{model}");
        for file in ["model.safetensors", "state.safetensors", "test.json"] {
            let read = |run: &Path| std::fs::read(run.join(file)).unwrap();
            assert!(read(&whole) == read(&pieces), "{model}: {file}");
        }
    }
}
