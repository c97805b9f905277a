//! The memory of a step is what its plan says, for every model, objective and backend.

mod common;

use smore::engine::backend::{Backend, Cpu, Reference, cpu, on_host};
use smore::engine::config::Config;
use smore::engine::model::{self, Weights};
use smore::engine::train::{RunPlan, Step, step};
use smore::{Dataset, Graph};

/// What changes which arrays there are.
const OPTIONS: [&[&str]; 4] = [
    &[],
    &["training.clip_norm=0.1"],
    &["model.regulariser=l2", "sampling.pool=own"],
    &["training.optimizer=sgd", "sampling.negatives=33"],
];

/// The same of single-hop training.
const SINGLE_HOP: [&[&str]; 3] = [
    &[],
    &["model.dropout_entity=0.1", "model.dropout_relation=0.2"],
    &["model.regulariser=l2", "training.clip_norm=1"],
];

fn check<B: Backend + Clone>(backend: &B, graph: &Graph) {
    for name in model::NAMES {
        for objective in ["queries", "negatives", "1vsall", "kvsall"] {
            let samples = !objective.contains("vsall");
            for more in if samples { &OPTIONS[..] } else { &SINGLE_HOP[..] } {
                let mut set = vec![format!("model.name={name}"), format!("training.objective={objective}")];
                set.extend(["model.dim=6", "model.hidden=5", "training.batch_size=60"].map(String::from));
                set.extend(more.iter().map(|s| s.to_string()));
                check_one(backend, graph, &Config::load(None, &set).unwrap());
            }
        }
    }
    let multilinear = ["complex", "distmult", "rescal", "tucker"];
    for name in multilinear {
        let set =
            [&format!("model.name={name}"), "training.objective=kvsall", "training.relation_prediction=0.5"];
        check_one(backend, graph, &Config::load(None, &set.map(String::from)).unwrap());
    }
}

fn check_one<B: Backend + Clone>(backend: &B, graph: &Graph, config: &Config) {
    let model = model::create(&config.model).unwrap();
    let plan = RunPlan::new(backend, &*model, graph, config).unwrap();
    let tables = [graph.num_entities(), graph.num_relations()];
    let written = step::write(&*model, tables, plan.work(), config).unwrap();
    let (memory, scratch) = (written.program.memory(), cpu::score::scratch_numbers(written.program.ops()));
    let optimizer = Some(config.training.optimizer);
    let weights = Weights::zeros(backend, &*model, tables[0], tables[1], optimizer).unwrap();
    let name = model.spec().name;
    let allocated = Step::new(backend.clone(), model, weights, written, config).unwrap().allocated();
    assert_eq!(allocated, memory.numbers(), "{name}, {:?}", config.training.objective);
    let scratch = if on_host(backend) { scratch } else { 0 };
    // A batch's ids are there twice: the next ones come while these are used.
    let bytes = 4 * (allocated + scratch + 2 * memory.index_numbers);
    assert_eq!(plan.buffer_bytes, bytes, "{name}, {:?}", config.training.objective);
}

#[test]
fn a_step_takes_the_memory_that_its_plan_says() {
    let folder = common::Folder::in_memory();
    let graph = Dataset::new("umls").cache_folder(folder.cache()).graph().unwrap();
    check(&Reference, &graph);
    check(&Cpu, &graph);
    if let Some(cuda) = common::emulator::cuda() {
        check(&cuda, &graph);
    }
}
