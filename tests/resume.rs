//! A run in pieces is the same run.

use safetensors::SafeTensors;
use smore::engine::backend::{Backend, Cpu};
use smore::engine::config::{Config, TableKind};
use smore::engine::train::checkpoint::{self, Meta};
use smore::engine::train::{Observer, Run, RunFolder, RunPlan};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

mod common;
use common::{Folder, emulator, short_run};

/// Sets the flag after an evaluation on valid, and, where `at_once`, before the first step: when there is nothing left to
/// be prepared that could be stopped but the rows in a file.
struct Stop<'a> {
    flag: &'a AtomicBool,
    at_once: bool,
    rows_in_file: bool,
}

impl Observer for Stop<'_> {
    fn plan(&mut self, _: &RunPlan, _: &Path) {
        if self.at_once && !self.rows_in_file {
            self.flag.store(true, Ordering::Relaxed);
        }
    }

    fn stage(&mut self, what: &str) {
        if self.at_once && what == "preparing valid queries" {
            self.flag.store(true, Ordering::Relaxed);
        }
    }

    fn valid(&mut self, _: u64, _: &[(String, f64)], _: f64, _: bool) {
        self.flag.store(true, Ordering::Relaxed);
    }
}

struct Silent;
impl Observer for Silent {}

/// Trains in `path`, from its state where there is one; `stop` ends it after one step, in the
/// evaluation that is due then if one is, and the next time after that evaluation and a step.
fn train<B: Backend>(backend: B, path: &Path, config: &Config, folder: &Folder, stop: bool) -> bool {
    let (graph, _) = smore::engine::dataset::open("umls", &folder.options()).unwrap();
    let resume = path.exists();
    let run = match resume {
        true => RunFolder::resume(path).unwrap(),
        false => RunFolder::create(Some(path), config, &graph, true).unwrap(),
    };
    let pending = checkpoint::read_meta(&run.state()).is_ok_and(|meta| meta.valid_pending);
    let flag = AtomicBool::new(false);
    let mut observer: Box<dyn Observer> = if stop {
        Box::new(Stop {
            flag: &flag,
            at_once: !pending,
            rows_in_file: config.training.table == TableKind::File,
        })
    } else {
        Box::new(Silent)
    };
    let outcome = Run {
        backend,
        graph: Arc::new(graph),
        config: config.clone(),
        folder: &run,
        query_cache: &folder.cache(),
        resume,
        stop: &flag,
    }
    .train(&mut *observer)
    .unwrap();
    outcome.report.is_some()
}

#[test]
fn a_run_that_is_stopped_after_every_step_ends_with_the_same_bytes() {
    check(&|| Cpu, "memory", &[]);
}

#[test]
fn so_does_one_whose_entity_rows_are_in_a_file() {
    check(&|| Cpu, "file", &["entities.table"]);
}

#[test]
fn so_does_one_on_the_cuda_backend() {
    if emulator::cuda().is_some() {
        check(&|| emulator::cuda().expect("there a moment ago"), "memory", &[]);
    }
}

/// A model in single-hop training, over more than an epoch, with dropout.
fn single(model: &str, set: &[&str]) -> Config {
    let both = ["model.dropout_entity=0.1", "model.dropout_relation=0.1", "training.batch_size=700"];
    let set: Vec<String> = both.iter().chain(set).map(|s| s.to_string()).collect();
    short_run(model, "memory").with(&set).unwrap()
}

/// 1vsAll, with all that can be added to it.
fn one_vs_all() -> Config {
    single(
        "complex",
        &[
            "training.objective=1vsall",
            "training.optimizer=adagrad",
            "training.relation_prediction=0.5",
            "model.regulariser=n3",
            "model.regularise_entities=0.01",
        ],
    )
}

fn kvs_all() -> Config {
    single("rotate", &["training.objective=kvsall", "training.schedule=cosine", "model.start=xavier-normal"])
}

#[test]
fn so_does_single_hop_training_with_dropout() {
    check_pieces(&|| Cpu, &one_vs_all(), "1vsall", &[]);
    check_pieces(&|| Cpu, &kvs_all(), "kvsall", &[]);
    let whole_table = ["model.regulariser=l2", "model.regularise_by=table"];
    let logistic = ["training.objective=1vsall", "training.loss=logistic"];
    let tucker =
        single("tucker", &[&logistic[..], &whole_table, &["training.relation_prediction=1"]].concat());
    check_pieces(&|| Cpu, &tucker, "tucker", &[]);
    let rowwise = ["training.objective=1vsall", "training.optimizer=rowwise-adagrad"];
    check_pieces(&|| Cpu, &single("distmult", &rowwise), "distmult", &[]);
}

#[test]
fn so_does_single_hop_training_on_the_cuda_backend() {
    if emulator::cuda().is_some() {
        let cuda = || emulator::cuda().expect("there a moment ago");
        check_pieces(&cuda, &one_vs_all(), "1vsall", &[]);
        check_pieces(&cuda, &kvs_all(), "kvsall", &[]);
    }
}

#[test]
fn so_does_a_run_that_ends_early_because_valid_gets_no_better() {
    // With steps that are lost in rounding the first evaluation stays the best.
    let set = ["training.patience=2".to_string(), "training.learning_rate=1e-30".to_string()];
    for config in [one_vs_all(), kvs_all(), short_run("gqe", "memory")] {
        let end = check_pieces(&|| Cpu, &config.with(&set).unwrap(), "patience", &[]);
        assert_eq!((end.step, end.monitor.evaluations_since_best), (9, 2));
    }
}

#[test]
fn so_does_training_by_sampled_negatives_over_more_than_an_epoch() {
    let set =
        ["objective=negatives", "loss=cross-entropy", "batch_size=900"].map(|s| format!("training.{s}"));
    check_pieces(&|| Cpu, &short_run("rotate", "memory").with(&set).unwrap(), "rotate", &[]);
}

#[test]
fn so_does_one_whose_learning_rate_falls_when_valid_gets_no_better() {
    let set = [
        "schedule=plateau",
        "plateau_patience=1",
        "plateau_factor=0.3",
        "learning_rate=0.5",
        "clip_norm=0.05",
    ];
    let config = short_run("complex", "memory").with(&set.map(|s| format!("training.{s}"))).unwrap();
    let run = check_pieces(&|| Cpu, &config, "plateau", &[]);
    assert!(run.monitor.plateaus > 0, "valid has become better each time: {run:?}");
}

#[test]
fn so_does_a_network_with_running_averages() {
    let set =
        ["training.objective=1vsall", "training.batch_size=700", "model.dim=8", "model.batch_norm=true"];
    let config = short_run("conve", "memory").with(&set.map(String::from)).unwrap();
    check_pieces(&|| Cpu, &config, "conve", &[]);
}

fn read(run: &Path, file: &str) -> Vec<u8> {
    std::fs::read(run.join(file)).unwrap_or_else(|e| panic!("{file}: {e}"))
}

fn check<B: Backend>(backend: &dyn Fn() -> B, table: &str, more: &[&str]) {
    for model in ["gqe", "query2box", "complex"] {
        check_pieces(backend, &short_run(model, table), model, more);
    }
}

/// Returns what the whole run's state says.
fn check_pieces<B: Backend>(backend: &dyn Fn() -> B, config: &Config, model: &str, more: &[&str]) -> Meta {
    let folder = Folder::in_memory();
    let (whole, pieces) = (folder.path().join("whole"), folder.path().join("pieces"));
    assert!(train(backend(), &whole, config, &folder, false));
    let end = checkpoint::read_meta(&whole.join("state.safetensors")).unwrap();
    let mut interrupted = 0;
    let unfinished = |_: &u32| {
        assert!(!train(backend(), &pieces, config, &folder, true), "{model}: it was to be stopped");
        let meta = checkpoint::read_meta(&pieces.join("state.safetensors")).unwrap();
        interrupted += usize::from(meta.valid_pending);
        meta.step < end.step
    };
    let count = 1 + (0..100).take_while(unfinished).count();
    // Evaluations are due after the steps 3, 6, 9, 12 and 14; one without a better result may be the last.
    let evaluations = end.step.div_ceil(3) as usize;
    assert_eq!((count, interrupted), (end.step as usize, evaluations), "{model}");
    assert!(train(backend(), &pieces, config, &folder, false));
    for file in ["model.safetensors", "state.safetensors", "test.json"].iter().chain(more) {
        assert!(read(&whole, file) == read(&pieces, file), "{model}: {file}");
    }
    end
}

#[test]
fn rows_in_a_file_are_trained_to_the_same_bits_as_rows_in_memory() {
    for model in ["gqe", "query2box", "complex"] {
        let folder = Folder::in_memory();
        let (memory, file) = (folder.path().join("memory"), folder.path().join("file"));
        assert!(train(Cpu, &memory, &short_run(model, "memory"), &folder, false));
        assert!(train(Cpu, &file, &short_run(model, "file"), &folder, false));
        let [state, rest] = [&memory, &file].map(|run| read(run, "state.safetensors"));
        let [state, rest] = [&state, &rest].map(|bytes| SafeTensors::deserialize(bytes).unwrap());
        let parts = ["entities", "entities.first", "entities.second"];
        let parts = parts.map(|name| state.tensor(name).unwrap().data());
        let (rows, bytes) = (135, parts[0].len() / 135);
        let interleaved = (0..rows).flat_map(|i| parts.map(|part| &part[i * bytes..][..bytes])).flatten();
        assert!(read(&file, "entities.table")[2 * 4096..].iter().eq(interleaved), "{model}: entity rows");
        let others = state.names().into_iter().filter(|name| !name.starts_with("entities"));
        let others: Vec<_> = others.collect();
        assert_eq!(others.len(), rest.names().len(), "{model}");
        for name in others {
            let [a, b] = [&state, &rest].map(|file| file.tensor(name).unwrap());
            assert!(a.data() == b.data(), "{model}: {name}");
        }
    }
}
