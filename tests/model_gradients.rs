//! Whole models: gradients against finite differences in float64, the CPU and the CUDA kernels against the
//! reference, and results that do not depend on threads.

#[macro_use]
mod common;

use smore::engine::backend::{Backend, Cpu, HostBuffer, Number, Reference};
use smore::engine::config::Config;
use smore::engine::model::{self, Weights};
use smore::engine::query::{Mix, Plan};
use smore::engine::rng::{Rng, below, stream};
use smore::engine::sampler::Batch;
use smore::engine::train::Step;
use smore::engine::train::objective::queries;
use smore::{EntityId, RelationId};

const ENTITIES: usize = 12;
const RELATIONS: usize = 6;

/// Models with the options that change their arithmetic.
const MODELS: [&[&str]; 37] = [
    &["model.name=gqe"],
    &["model.name=gqe", "model.norm=l2"],
    &["model.name=query2box"],
    &["model.name=query2box", "model.offset_activation=relu"],
    &["model.name=query2box", "model.offset_activation=softplus", "model.inside=0.3"],
    &["model.name=complex", "model.regularise_entities=0.3", "model.regularise_relations=0.5"],
    &["model.name=complex", "model.regulariser=none"],
    &["model.name=complex", "model.regulariser=l3", "model.regularise_entities=0.3"],
    &["model.name=gqe", "model.regulariser=l2", "model.regularise_relations=0.3"],
    &["model.name=rotate", "model.regulariser=l3", "model.regularise_entities=0.2"],
    &["model.name=betae", "model.hidden=9", "model.regulariser=l2", "model.regularise_entities=0.01"],
    &["model.name=gqe", "sampling.pool=own"],
    &["model.name=gqe", "model.norm=l2", "sampling.pool=own"],
    &["model.name=query2box", "model.inside=0.3", "sampling.pool=own"],
    &["model.name=complex", "model.regularise_entities=0.3", "sampling.pool=own"],
    &["model.name=betae", "model.hidden=11"],
    &["model.name=betae", "model.hidden=9", "model.hidden_layers=1", "model.union=demorgan"],
    &["model.name=betae", "model.hidden_layers=0"],
    &["model.name=betae", "model.hidden=11", "sampling.pool=own"],
    &["model.name=cone", "model.hidden=11"],
    &[
        "model.name=cone",
        "model.hidden=9",
        "model.hidden_layers=1",
        "model.union=demorgan",
        "model.inside=0.3",
    ],
    &[
        "model.name=cone",
        "model.hidden_layers=0",
        "sampling.pool=own",
        "model.regulariser=l2",
        "model.regularise_entities=0.01",
    ],
    &["model.name=distmult", "model.regularise_relations=0.3"],
    &["model.name=distmult", "model.regulariser=none", "sampling.pool=own"],
    &["model.name=transe"],
    &["model.name=transe", "model.norm=l2"],
    &["model.name=transe", "sampling.pool=own"],
    &["model.name=rotate"],
    &["model.name=rotate", "sampling.pool=own"],
    &["model.name=rescal"],
    &["model.name=tucker"],
    &["model.name=tucker", "model.relation_dim=3"],
    &["model.name=distmult", "model.regulariser=none", "training.loss=cross-entropy"],
    &["model.name=rotate", "training.loss=cross-entropy", "sampling.pool=own"],
    &["model.name=transe", "training.loss=margin", "training.margin=3"],
    &["model.name=query2box", "training.loss=margin", "training.clip_norm=0.1"],
    &["model.name=conve", "model.filters=2"],
];

/// All structures without negation, and a tree that has no name.
const STRUCTURES: &str = "1p.2p.3p.2i.3i.ip.pi.2u.up.((('e',('r',)),('e',('r','r')),('e',('r',))),('r',))";

/// Those with negation, for models that have it.
const WITH_NEGATION: &str = ".2in.3in.inp.pin.pni";

fn has_negation(model: &[&str]) -> bool {
    ["model.name=betae", "model.name=cone"].contains(&model[0])
}

/// Those of them without intersections.
const CHAINS: &str = "1p.2p.3p.2u.up.((('e',('r',)),('e',('r','r')),('e',('r',)),('u',)),('r',))";

fn config(model: &[&str], dim: usize, temperature: f32) -> Config {
    let negation = if has_negation(model) { WITH_NEGATION } else { "" };
    let mut assignments: Vec<String> = model.iter().map(|s| s.to_string()).collect();
    let chains = ["model.name=transe", "model.name=conve"].contains(&model[0]);
    let structures = if chains { CHAINS } else { STRUCTURES };
    // Images need two rows of three numbers.
    let dim = if model[0] == "model.name=conve" { dim.next_multiple_of(6) } else { dim };
    assignments.extend([
        format!("model.dim={dim}"),
        "model.gamma=3".into(),
        "sampling.negatives=7".into(),
        format!("training.adversarial_temperature={temperature}"),
        format!("sampling.structures=\"{structures}{negation}\""),
        "training.batch_size=20".into(),
    ]);
    Config::load(None, &assignments).unwrap()
}

fn plan(config: &Config) -> Plan {
    model::plan(&*model::create(&config.model).unwrap(), &mix(config)).unwrap()
}

fn mix(config: &Config) -> Mix {
    Mix::new(&config.training_mix().unwrap(), config.training.batch_size).unwrap()
}

/// A batch of random ids, which the arithmetic does not care about.
fn batch(config: &Config, plan: &Plan, number: u64) -> Batch {
    let rng = &mut stream(1, "test batch", number);
    let entity = |rng: &mut Rng| EntityId(below(rng, ENTITIES as u64) as u32);
    let mut batch = Batch { number, pool_size: config.sampling.negatives, ..Batch::default() };
    for (structure, count) in mix(config).parts {
        let (anchors, relations) = structure.flatten();
        for _ in 0..count {
            batch.anchors.extend(anchors.iter().map(|_| entity(rng)));
            batch.relations.extend(relations.iter().map(|_| RelationId(below(rng, RELATIONS as u64) as u32)));
            batch.positives.push(entity(rng));
            batch.num_answers.push(below(rng, 5) as f32);
            batch.mask.push(below(rng, 1 << 7));
        }
    }
    let negatives = config.sampling.num_negatives(plan.num_queries);
    batch.negatives = (0..negatives).map(|_| entity(rng)).collect();
    batch.index(plan);
    batch
}

fn trainer<B: Backend>(backend: B, config: &Config, plan: &Plan) -> Step<B> {
    nudged(backend, config, plan, 0.0, 0)
}

/// As [`trainer`], with every number multiplied by 1 plus or minus `nudge`; `direction` names the signs.
fn nudged<B: Backend>(backend: B, config: &Config, plan: &Plan, nudge: f64, direction: u64) -> Step<B> {
    let model = model::create(&config.model).unwrap();
    let mut weights =
        Weights::zeros(&backend, &*model, ENTITIES, RELATIONS, Some(config.training.optimizer)).unwrap();
    weights.start(&backend, &*model, 5).unwrap();
    // Biases start at 0, where a dead unit would hide a mistake.
    let rng = &mut stream(2, "test bias", 0);
    for table in &mut weights.dense {
        let mut values = vec![B::Scalar::default(); table.rows * table.cols];
        backend.download(&table.values, 0, &mut values).unwrap();
        for value in &mut values {
            // The same number whether it is kept as float32 or float64.
            let moved = B::Scalar::value(*value) + (below(rng, 1000) as f64 - 500.0) * 4e-4;
            *value = B::Scalar::of(f64::from(moved as f32));
        }
        backend.upload(&values, &mut table.values, 0).unwrap();
    }
    let rng = &mut stream(3, "test nudge", direction);
    for (_, table) in weights.named_mut(&*model) {
        let mut values = vec![B::Scalar::default(); table.rows * table.cols];
        backend.download(&table.values, 0, &mut values).unwrap();
        for value in &mut values {
            let sign = if below(rng, 2) == 0 { 1.0 } else { -1.0 };
            *value = B::Scalar::of(B::Scalar::value(*value) * (1.0 + sign * nudge));
        }
        backend.upload(&values, &mut table.values, 0).unwrap();
    }
    let written = queries::write(&*model, [ENTITIES, RELATIONS], plan, config).unwrap();
    Step::new(backend, model, weights, written, config).unwrap()
}

/// The gradient of every row of a table: the sum over its uses.
fn per_row(rows: usize, cols: usize, ids: &[u32], uses: &[f64]) -> Vec<f64> {
    let mut sums = vec![0.0; rows * cols];
    for (&id, gradient) in ids.iter().zip(uses.chunks(cols)) {
        for (sum, g) in sums[id as usize * cols..].iter_mut().zip(gradient) {
            *sum += g;
        }
    }
    sums
}

#[test]
fn gradients_of_every_model_are_the_slopes_of_its_loss() {
    for model in MODELS {
        // Self-adversarial weights are constants of the derivative, so uniform ones are checked here.
        let config = config(model, 5, 0.0);
        let plan = plan(&config);
        let batch = batch(&config, &plan, 3);
        let mut trainer = trainer(Reference, &config, &plan);
        trainer.gradients(&batch, 1).unwrap();
        let (entities, relations, dense) = trainer.last_gradients().unwrap();
        let widths = trainer.model().spec().widths;
        let mut tables = vec![
            per_row(ENTITIES, widths.entity, &batch.entity_rows, &entities),
            per_row(RELATIONS, widths.relation, &batch.relation_rows, &relations),
        ];
        // Every network has a part in these structures.
        assert!(dense.iter().map(|(number, _)| *number).eq(0..trainer.weights.dense.len()), "{model:?}");
        tables.extend(dense.into_iter().map(|(_, gradient)| gradient));
        for (t, gradient) in tables.iter().enumerate() {
            // Every number of the rows, every seventh of the wide networks.
            for k in (0..gradient.len()).step_by(if t < 2 { 1 } else { 7 }) {
                let mut loss_at = |shift: f64| {
                    let weights = &mut trainer.weights;
                    let table = match t {
                        0 => &mut weights.entities,
                        1 => &mut weights.relations,
                        _ => &mut weights.dense[t - 2],
                    };
                    table.values.as_mut_slice()[k] += shift;
                    trainer.gradients(&batch, 1).unwrap();
                    let loss = trainer.losses().unwrap().pop().unwrap();
                    let weights = &mut trainer.weights;
                    let table = match t {
                        0 => &mut weights.entities,
                        1 => &mut weights.relations,
                        _ => &mut weights.dense[t - 2],
                    };
                    table.values.as_mut_slice()[k] -= shift;
                    loss
                };
                let step = 1e-6;
                let slope = (loss_at(step) - loss_at(-step)) / (2.0 * step);
                let difference = (slope - gradient[k]).abs();
                assert!(
                    difference <= 1e-6 * (1.0 + slope.abs()),
                    "{model:?}, table {t}, number {k}: slope {slope}, gradient {}",
                    gradient[k]
                );
            }
        }
        let names: Vec<String> =
            trainer.weights.named(trainer.model()).into_iter().map(|(name, _)| name).collect();
        for (name, table) in names.iter().zip(&tables) {
            // The last bias of an attention shifts all logits of a softmax alike: no gradient is right.
            let redundant = name == "attention.b2" || name == "center.b2";
            let moves = table.iter().any(|g| g.abs() > 1e-9);
            assert_ne!(moves, redundant, "{model:?}: gradient of {name}");
        }
    }
}

/// The gradients of a batch, of each table: of uses of entities, of uses of relations, of each network's.
fn gradients<B: Backend>(trainer: &mut Step<B>, batch: &Batch) -> Vec<Vec<f64>> {
    trainer.gradients(batch, 1).unwrap();
    let (entities, relations, dense) = trainer.last_gradients().unwrap();
    let dense = dense.into_iter().map(|(_, gradient)| gradient);
    let tables = [entities, relations].into_iter().chain(dense);
    tables.map(|table| table.into_iter().map(B::Scalar::value).collect()).collect()
}

/// The gradients of every model, and the losses of some steps, are those of the reference.
fn check_training<B: Backend + Clone>(backend: &B) {
    for model in MODELS {
        for (dim, temperature) in [(5, 1.0), (33, 0.0), (64, 0.5)] {
            let config = config(model, dim, temperature);
            let plan = plan(&config);
            let mut fast = trainer(backend.clone(), &config, &plan);
            let mut slow = trainer(Reference, &config, &plan);
            let first = batch(&config, &plan, 0);
            let (got, want) = (gradients(&mut fast, &first), gradients(&mut slow, &first));
            // How far gradients move where every number moves by a rounding of float32: for most models some 1e-6, but the
            // slope of a negation is up to 400, and a projection behind it can have parameters near 0, of which small
            // changes are large. With BetaE it is up to 2e-4. A backend rounds sums too, in an order of its own: six times
            // the most of several directions.
            let near: Vec<_> = (0..4)
                .map(|direction| {
                    let nudge = f64::from(f32::EPSILON) / 2.0;
                    gradients(&mut nudged(Reference, &config, &plan, nudge, direction), &first)
                })
                .collect();
            // A bias without influence is a sum of terms, as large as its weights' gradients, that cancel.
            let mut of_weights = 0.0;
            for (t, (got, want)) in got.into_iter().zip(want).enumerate() {
                let greatest = want.iter().fold(0.0, |max: f64, g| max.max(g.abs()));
                let apart = near.iter().flat_map(|near| near[t].iter().zip(&want));
                let apart = apart.fold(0.0, |max: f64, (a, b)| max.max((a - b).abs()));
                for (k, (g, w)) in got.into_iter().zip(want).enumerate() {
                    assert!(
                        (g - w).abs() <= 1e-5 * greatest + 6.0 * apart + 1e-6 * of_weights + 1e-8,
                        "{model:?}, d = {dim}, table {t}: gradient {k} is {g}, not {w}"
                    );
                }
                of_weights = greatest;
            }
            let of_loss = if has_negation(model) { 2e-3 } else { 2e-4 };
            for step in 1..=5 {
                let batch = batch(&config, &plan, step);
                fast.step(&batch, 1e-3, step).unwrap();
                slow.step(&batch, 1e-3, step).unwrap();
                let (a, b) = (fast.losses().unwrap()[0], slow.losses().unwrap()[0]);
                assert!(
                    (a - b).abs() <= of_loss * b.abs(),
                    "{model:?}, d = {dim}, step {step}: loss {a}, not {b}"
                );
            }
        }
    }
}

on_every_backend!(check_training);

#[cfg(feature = "cuda")]
#[test]
fn whole_models_train_on_the_driver_that_is_not_real() {
    common::gpu::tests_on_fake_driver("the_gpu_", "late");
}

/// The bits of all tables, and of the losses, after some steps.
fn trained<B: Backend + Clone>(backend: &B, model: &[&str], dim: usize, steps: u64) -> Vec<Vec<u64>> {
    let config = config(model, dim, 1.0);
    let plan = plan(&config);
    let mut trainer = trainer(backend.clone(), &config, &plan);
    let losses = (1..=steps).flat_map(|step| {
        trainer.step(&batch(&config, &plan, step), 1e-2, step).unwrap();
        trainer.losses().unwrap()
    });
    [losses.map(f64::to_bits).collect()]
        .into_iter()
        .chain(common::table_bits(backend, &trainer.weights))
        .collect()
}

#[test]
fn the_gpu_gives_the_same_bits_twice() {
    let Some(cuda) = common::gpu::cuda() else { return };
    let (dim, steps) = common::gpu::sizes((400, 20), (12, 2));
    for model in MODELS {
        let run = || trained(&cuda, model, dim, steps);
        assert!(run() == run(), "{model:?}");
    }
}

#[test]
fn the_emulated_cuda_kernels_give_the_same_bits_twice() {
    let Some(cuda) = common::emulator::cuda() else { return };
    for model in MODELS {
        let run = || trained(&cuda, model, 12, 2);
        assert!(run() == run(), "{model:?}");
    }
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            MODELS.map(|model| {
                let config = config(model, 40, 1.0);
                let plan = plan(&config);
                let mut trainer = trainer(Cpu, &config, &plan);
                let losses: Vec<u64> = (1..=4)
                    .map(|step| {
                        trainer.step(&batch(&config, &plan, step), 1e-2, step).unwrap();
                        trainer.losses().unwrap()[0].to_bits()
                    })
                    .collect();
                let bits = |values: &[f32]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
                let weights = &trainer.weights;
                let tables = [&weights.entities, &weights.relations].into_iter().chain(&weights.dense);
                (losses, tables.map(|t| bits(t.values.as_slice())).collect::<Vec<_>>())
            })
        })
    };
    let one = run(1);
    assert_eq!(one, run(2));
    assert_eq!(one, run(5));
}

#[test]
fn a_masked_negative_is_left_out_of_the_loss_whatever_its_row_holds() {
    for pool in ["shared", "own"] {
        let config = config(&["model.name=gqe", &format!("sampling.pool={pool}")], 8, 1.0);
        let plan = plan(&config);
        let mut batch = batch(&config, &plan, 1);
        // Entity 11 is a negative of every query and nothing else; everywhere it is masked.
        let other = |e: &mut EntityId| e.0 %= 11;
        batch.anchors.iter_mut().chain(&mut batch.positives).chain(&mut batch.negatives).for_each(other);
        for (q, mask) in batch.mask.iter_mut().enumerate() {
            *mask = *mask & !(1 << 6) | 1 << 2;
            let first = if pool == "own" { q * batch.pool_size } else { 0 };
            batch.negatives[first + 2] = EntityId(11);
        }
        batch.index(&plan);
        let mut trainer = trainer(Cpu, &config, &plan);
        let mut run = |value: f32| {
            trainer.weights.entities.values.as_mut_slice()[11 * 8..].fill(value);
            trainer.gradients(&batch, 1).unwrap();
            let (entities, ..) = trainer.last_gradients().unwrap();
            let loss = trainer.losses().unwrap()[0];
            let uses: Vec<f64> = entities.into_iter().map(f64::from).collect();
            (loss.to_bits(), per_row(ENTITIES, 8, &batch.entity_rows, &uses))
        };
        let (loss, gradients) = run(0.1);
        assert!(gradients[11 * 8..].iter().all(|&g| g == 0.0), "{pool}: a masked row has a gradient");
        assert!(gradients[..11 * 8].iter().any(|&g| g != 0.0));
        // As a logit of 0 it would take part in the softmax; as a near or a far entity, too.
        for value in [0.0, 1e3, f32::NAN] {
            assert!(run(value).0 == loss, "{pool}: the loss depends on a masked row that holds {value}");
        }
    }
}

/// All tables, one after the other.
fn values(trainer: &Step<Reference>) -> Vec<f64> {
    let weights = &trainer.weights;
    let tables = [&weights.entities, &weights.relations].into_iter().chain(&weights.dense);
    tables.flat_map(|t| t.values.as_slice().to_vec()).collect()
}

/// By how much a step of gradient descent at a rate of 1 moves each number of the tables, and how many of them are of rows.
fn moved_by_a_step(model: &[&str], option: &str) -> (Vec<f64>, usize) {
    let set = ["training.optimizer=sgd", option].map(String::from);
    let config = config(model, 6, 1.0).with(&set).unwrap();
    let plan = plan(&config);
    let mut trainer = trainer(Reference, &config, &plan);
    let before = values(&trainer);
    trainer.step(&batch(&config, &plan, 1), 1.0, 1).unwrap();
    let widths = trainer.model().spec().widths;
    let rows = ENTITIES * widths.entity + RELATIONS * widths.relation;
    (values(&trainer).iter().zip(before).map(|(a, b)| a - b).collect(), rows)
}

#[test]
fn a_step_moves_all_parameters_together_by_no_more_than_the_clipped_norm() {
    for model in [MODELS[0], MODELS[2], MODELS[11]] {
        let step = |clip: f64| {
            let (moved, _) = moved_by_a_step(model, &format!("training.clip_norm={clip}"));
            let norm = moved.iter().map(|x| x * x).sum::<f64>().sqrt();
            (moved, norm)
        };
        let (free, norm) = step(0.0);
        assert_eq!(step(2.0 * norm).0, free, "{model:?}: a norm below the bound changes nothing");
        let (clipped, half) = step(norm / 2.0);
        assert!((half - norm / 2.0).abs() < 1e-6 * norm, "{model:?}: norm {half}, not half of {norm}");
        for (a, b) in clipped.iter().zip(&free) {
            assert!((2.0 * a - b).abs() < 1e-6 * norm, "{model:?}: {a} is not half of {b}");
        }
    }
}

#[test]
fn networks_learn_at_their_share_of_the_rate() {
    for model in [MODELS[0], MODELS[15]] {
        let moved = |share: f64| {
            let (moved, rows) = moved_by_a_step(model, &format!("training.network_rate={share}"));
            (moved[..rows].to_vec(), moved[rows..].to_vec())
        };
        let ((rows, networks), (same_rows, quarter)) = (moved(1.0), moved(0.25));
        assert_eq!(rows, same_rows, "{model:?}");
        let most = networks.iter().fold(0.0, |most: f64, x| most.max(x.abs()));
        assert!(most > 0.0);
        for (a, b) in quarter.iter().zip(&networks) {
            assert!((4.0 * a - b).abs() < 1e-6 * most, "{model:?}: {a} is not a quarter of {b}");
        }
    }
}

#[test]
fn a_row_that_the_batch_does_not_use_keeps_every_bit() {
    let config = config(MODELS[0], 8, 1.0);
    let plan = plan(&config);
    let mut trainer = trainer(Cpu, &config, &plan);
    let mut batch = batch(&config, &plan, 1);
    for entity in batch.anchors.iter_mut().chain(&mut batch.positives).chain(&mut batch.negatives) {
        entity.0 %= 5;
    }
    batch.index(&plan);
    let before = trainer.weights.entities.values.as_slice().to_vec();
    trainer.step(&batch, 1e-1, 1).unwrap();
    let after = trainer.weights.entities.values.as_slice();
    assert_eq!(before[5 * 8..], after[5 * 8..]);
    for row in 0..5 {
        assert_ne!(before[row * 8..][..8], after[row * 8..][..8], "row {row} was used");
    }
}
