//! Single-hop training: gradients of the whole objective against finite differences in float64, the CPU and the CUDA
//! kernels against the reference, sharing and tiles against a row of scores for each triple, and no bit that depends on
//! threads.

#[macro_use]
mod common;

use smore::engine::backend::{Backend, Cpu, HostBuffer, Number, Reference};
use smore::engine::config::{Config, Objective};
use smore::engine::graph::CsrBuf;
use smore::engine::ids::Triple;
use smore::engine::model::{self, Parameter, Weights};
use smore::engine::rng::{below, stream};
use smore::engine::sampler::OneVsAllBatch;
use smore::engine::sampler::OneVsAllSampler;
use smore::engine::train::Step;
use smore::engine::train::objective::one_vs_all;
use smore::{EntityId, RelationId};

const ENTITIES: usize = 12;
const RELATIONS: usize = 6;

/// Options that change the arithmetic.
const CASES: [&[&str]; 19] = [
    &["model.name=complex", "training.objective=1vsall"],
    &["model.name=complex", "training.objective=1vsall", "training.label_smoothing=0.2"],
    &[
        "model.name=complex",
        "training.objective=kvsall",
        "training.label_smoothing=0.1",
        "model.dropout_entity=0.3",
    ],
    &[
        "model.name=complex",
        "training.objective=kvsall",
        "training.loss=cross-entropy",
        "model.dropout_entity=0.2",
        "model.dropout_relation=0.3",
        "training.optimizer=adagrad",
    ],
    &[
        "model.name=gqe",
        "training.objective=1vsall",
        "model.dropout_relation=0.4",
        "training.optimizer=rowwise-adagrad",
    ],
    &[
        "model.name=gqe",
        "model.norm=l2",
        "training.objective=kvsall",
        "sampling.direction=forward",
        "training.optimizer=sgd",
    ],
    // A network projects, and another one, of sets, has no part.
    &["model.name=betae", "model.hidden=7", "training.objective=1vsall", "training.optimizer=adagrad"],
    // What a score compares is made of rows and of what the projection gives.
    &["model.name=cone", "model.hidden=7", "training.objective=kvsall", "training.optimizer=adagrad"],
    // Rows of a batch share the matrices of relations.
    &["model.name=rescal", "training.objective=1vsall"],
    &[
        "model.name=rescal",
        "training.objective=kvsall",
        "model.dropout_relation=0.3",
        "training.optimizer=adagrad",
    ],
    &["model.name=tucker", "training.objective=1vsall", "model.relation_dim=3", "model.dropout_relation=0.3"],
    &[
        "model.name=distmult",
        "training.objective=1vsall",
        "training.loss=logistic",
        "training.label_smoothing=0.1",
    ],
    &[
        "model.name=complex",
        "training.objective=1vsall",
        "training.relation_prediction=0.5",
        "model.regulariser=n3",
        "model.regularise_entities=0.2",
        "model.regularise_relations=0.4",
        "training.optimizer=adagrad",
    ],
    &[
        "model.name=distmult",
        "training.objective=kvsall",
        "training.relation_prediction=2",
        "model.dropout_entity=0.2",
        "model.dropout_relation=0.3",
        "model.regulariser=l3",
        "model.regularise_entities=0.1",
        "model.regularise_by=table",
    ],
    &[
        "model.name=rescal",
        "training.objective=1vsall",
        "training.relation_prediction=1",
        "model.regulariser=l2",
    ],
    &["model.name=tucker", "training.objective=1vsall", "training.relation_prediction=1"],
    &[
        "model.name=rotate",
        "training.objective=kvsall",
        "model.regulariser=l2",
        "model.regularise_relations=0.1",
        "model.regularise_by=table",
    ],
    &[
        "model.name=conve",
        "model.filters=3",
        "training.objective=kvsall",
        "model.dropout_features=0.2",
        "model.dropout_hidden=0.2",
    ],
    &["model.name=conve", "model.filters=3", "training.objective=1vsall", "model.batch_norm=true"],
];

fn config(case: &[&str], dim: usize) -> Config {
    let mut assignments: Vec<String> = case.iter().map(|s| s.to_string()).collect();
    // Images need two rows of three numbers.
    let dim = if case[0] == "model.name=conve" { dim.next_multiple_of(6) } else { dim };
    assignments.extend([format!("model.dim={dim}"), "model.gamma=3".into(), "training.batch_size=20".into()]);
    Config::load(None, &assignments).unwrap()
}

/// A graph with few entities, so that triples share heads and pairs.
fn graph() -> CsrBuf {
    let mut rng = stream(1, "test graph", 0);
    let mut id = |n: usize| below(&mut rng, n as u64) as u32;
    let triples: Vec<Triple> = (0..90)
        .map(|_| Triple {
            head: EntityId(id(5)),
            relation: RelationId(2 * id(RELATIONS / 2)),
            tail: EntityId(id(ENTITIES)),
        })
        .collect();
    CsrBuf::from_triples(ENTITIES, &triples)
}

fn batch(config: &Config, number: u64) -> OneVsAllBatch {
    let graph = graph();
    let mut batch = OneVsAllBatch::default();
    OneVsAllSampler::new(graph.view(), one_vs_all::options(config)).unwrap().fill(number, &mut batch);
    batch
}

/// With at most `tile` rows of scores at once.
fn trainer<B: Backend>(backend: B, config: &Config, tile: usize) -> Step<B> {
    let model = model::create(&config.model).unwrap();
    let mut weights =
        Weights::zeros(&backend, &*model, ENTITIES, RELATIONS, Some(config.training.optimizer)).unwrap();
    weights.start(&backend, &*model, 5).unwrap();
    let written = one_vs_all::write_tiled(&*model, [ENTITIES, RELATIONS], config, tile).unwrap();
    Step::new(backend, model, weights, written, config).unwrap()
}

/// The gradients that a batch left: of entities, of relations, then of the networks that a hop goes through.
fn last_gradients<B: Backend>(trainer: &mut Step<B>) -> Vec<Vec<B::Scalar>> {
    let (entities, relations, dense) = trainer.last_gradients().unwrap();
    [entities, relations].into_iter().chain(dense.into_iter().map(|(_, gradient)| gradient)).collect()
}

/// The numbers of these networks' parameters.
fn numbers_of_networks<B: Backend>(trainer: &mut Step<B>) -> Vec<usize> {
    trainer.last_gradients().unwrap().2.into_iter().map(|(number, _)| number).collect()
}

/// Whether it is a bias that a normalisation behind it takes away: no gradient is right.
fn has_no_influence<B: Backend>(trainer: &Step<B>, networks: &[usize], t: usize) -> bool {
    let parameters = &trainer.model().spec().parameters;
    let normalised = parameters.iter().any(|parameter| parameter.name.ends_with(".moments"));
    let of = |&number: &usize| -> &Parameter { &parameters[number] };
    let parameter = t.checked_sub(2).and_then(|i| networks.get(i)).map(of);
    normalised && parameter.is_some_and(|parameter| parameter.name.ends_with(".b1"))
}

#[test]
fn gradients_are_the_slopes_of_the_loss() {
    for case in CASES {
        for tile in [7, 1000] {
            let config = config(case, 5);
            let batch = batch(&config, 3);
            assert!(batch.rows() > 7, "{case:?}: more than a tile");
            let mut trainer = trainer(Reference, &config, tile);
            trainer.gradients(&batch, 9).unwrap();
            let gradients = last_gradients(&mut trainer);
            let networks = numbers_of_networks(&mut trainer);
            let moments =
                |number: &usize| trainer.model().spec().parameters[*number].name.ends_with("moments");
            assert!(!networks.iter().any(moments), "averages have no gradient");
            for (t, gradient) in gradients.iter().enumerate() {
                for (k, &gradient) in gradient.iter().enumerate() {
                    let mut loss_at = |shift: f64| {
                        let add = |shift: f64, trainer: &mut Step<Reference>| {
                            let Weights { entities, relations, dense } = &mut trainer.weights;
                            let table = match t {
                                0 => entities,
                                1 => relations,
                                _ => &mut dense[networks[t - 2]],
                            };
                            table.values.as_mut_slice()[k] += shift;
                        };
                        add(shift, &mut trainer);
                        trainer.gradients(&batch, 9).unwrap();
                        add(-shift, &mut trainer);
                        *trainer.losses().unwrap().last().unwrap()
                    };
                    let step = 1e-6;
                    let slope = (loss_at(step) - loss_at(-step)) / (2.0 * step);
                    let difference = (slope - gradient).abs();
                    assert!(
                        difference <= 1e-6 * (1.0 + slope.abs()),
                        "{case:?}, tile {tile}, table {t}, number {k}: slope {slope}, gradient {gradient}"
                    );
                }
                let moves = gradient.iter().any(|g| g.abs() > 1e-4);
                assert_ne!(
                    moves,
                    has_no_influence(&trainer, &networks, t),
                    "{case:?}: gradient of table {t}"
                );
            }
        }
    }
}

#[test]
fn a_step_moves_all_tables_together_by_no_more_than_the_clipped_norm() {
    let step = |clip: f64| {
        let set = ["training.optimizer=sgd".into(), format!("training.clip_norm={clip}")];
        let config = config(CASES[1], 5).with(&set).unwrap();
        let mut trainer = trainer(Reference, &config, 1000);
        let values = |trainer: &Step<Reference>| {
            let Weights { entities, relations, .. } = &trainer.weights;
            [entities.values.as_slice(), relations.values.as_slice()].concat()
        };
        let before = values(&trainer);
        trainer.step(&batch(&config, 1), 1.0, 1).unwrap();
        let moved = values(&trainer).into_iter().zip(before).map(|(a, b)| a - b);
        moved.map(|x| x * x).sum::<f64>().sqrt()
    };
    let norm = step(0.0);
    assert!((step(2.0 * norm) - norm).abs() < 1e-12 && (step(norm / 3.0) - norm / 3.0).abs() < 1e-6 * norm);
}

#[test]
fn a_shared_row_of_scores_stands_for_one_row_per_triple() {
    let of_edges = |case: &&&[&str]| case.contains(&"training.objective=1vsall");
    // Dropout and the moments of a batch make a row depend on its place and on the others.
    let alone = |case: &&&[&str]| !["dropout", "batch_norm"].iter().any(|key| case.join(" ").contains(key));
    for case in CASES.iter().filter(of_edges).filter(alone) {
        check_shared_rows(case);
    }
}

fn check_shared_rows(case: &[&str]) {
    let config = config(case, 5);
    let together = batch(&config, 0);
    let labels = together.labels.len();
    assert!(together.rows() < labels, "some triples share a pair");
    let mut whole = trainer(Reference, &config, 1000);
    whole.gradients(&together, 1).unwrap();
    let loss = whole.losses().unwrap()[0];
    let want = last_gradients(&mut whole);
    let mut sums: Vec<Vec<f64>> = want.iter().map(|want| vec![0.0; want.len()]).collect();
    let mut losses = 0.0;
    for row in 0..together.rows() {
        for l in together.label_offsets[row]..together.label_offsets[row + 1] {
            let edge = Triple {
                head: EntityId(together.heads[row]),
                relation: RelationId(together.relations[row]),
                tail: EntityId(together.labels[l as usize]),
            };
            let mut alone = OneVsAllBatch::default();
            alone.assign(0, &[edge]);
            whole.gradients(&alone, 1).unwrap();
            losses += whole.losses().unwrap()[0];
            for (sums, gradients) in sums.iter_mut().zip(last_gradients(&mut whole)) {
                sums.iter_mut().zip(gradients).for_each(|(sum, g)| *sum += g);
            }
        }
    }
    let mean = losses / labels as f64;
    assert!((mean - loss).abs() < 1e-12 * (1.0 + loss), "{case:?}: loss {loss}, not {mean}");
    for (want, sums) in want.iter().zip(&sums) {
        for (want, sum) in want.iter().zip(sums) {
            assert!(
                (sum / labels as f64 - want).abs() < 1e-12,
                "{case:?}: gradient {want}, not {}",
                sum / labels as f64
            );
        }
    }
}

#[test]
fn relations_are_predicted_from_head_and_tail_by_their_scores() {
    let dim = 5;
    type Score = fn(&[f64], &[f64], &[f64]) -> f64;
    let product: Score = |h, r, t| (0..5).map(|k| h[k] * r[k] * t[k]).sum();
    // Re <h r, conj(t)>.
    let complex: Score = |h, r, t| {
        let term = |k: usize| {
            let (re, im) = (h[k] * r[k] - h[5 + k] * r[5 + k], h[k] * r[5 + k] + h[5 + k] * r[k]);
            re * t[k] + im * t[5 + k]
        };
        (0..5).map(term).sum()
    };
    let matrix: Score = |h, r, t| (0..25).map(|ij| h[ij / 5] * r[ij] * t[ij % 5]).sum();
    for (model, score) in [("distmult", product), ("complex", complex), ("rescal", matrix)] {
        for objective in ["1vsall", "kvsall"] {
            let loss = |weight: f64| {
                let model = format!("model.name={model}");
                let objective = format!("training.objective={objective}");
                let weight = format!("training.relation_prediction={weight}");
                let config = config(&[&model, &objective, &weight], dim);
                let batch = batch(&config, 0);
                let mut trainer = trainer(Reference, &config, 7);
                trainer.gradients(&batch, 1).unwrap();
                (trainer.losses().unwrap()[0], trainer, batch)
            };
            let ((without, trainer, batch), (with, ..)) = (loss(0.0), loss(0.25));
            let row = |table: &smore::engine::backend::Parameters<Reference>, i: u32| {
                table.values.as_slice()[i as usize * table.cols..][..table.cols].to_vec()
            };
            let Weights { entities, relations, .. } = &trainer.weights;
            let mut sum = 0.0;
            for i in 0..batch.rows() {
                for l in batch.label_offsets[i]..batch.label_offsets[i + 1] {
                    let (h, t) = (row(entities, batch.heads[i]), row(entities, batch.labels[l as usize]));
                    let scores: Vec<f64> =
                        (0..RELATIONS as u32).map(|r| score(&h, &row(relations, r), &t)).collect();
                    let total: f64 = scores.iter().map(|s| s.exp()).sum();
                    sum += total.ln() - scores[batch.relations[i] as usize];
                }
            }
            let want = without + 0.25 * sum / batch.labels.len() as f64;
            assert!((with - want).abs() < 1e-12 * want, "{model}, {objective}: {with}, not {want}");
        }
    }
}

#[test]
fn a_regulariser_adds_the_rows_of_each_edge_or_the_whole_table() {
    for (by, regulariser) in [("frequency", "l2"), ("frequency", "l3"), ("table", "l2"), ("table", "n3")] {
        let loss = |regulariser: &str| {
            let set = [
                format!("model.regulariser={regulariser}"),
                format!("model.regularise_by={by}"),
                "model.regularise_entities=0.5".into(),
                "model.regularise_relations=2".into(),
            ];
            let mut case = vec!["model.name=complex", "training.objective=kvsall"];
            case.extend(set.iter().map(String::as_str));
            let config = config(&case, 5);
            let batch = batch(&config, 0);
            let mut trainer = trainer(Reference, &config, 7);
            trainer.gradients(&batch, 1).unwrap();
            (trainer.losses().unwrap()[0], trainer, batch)
        };
        let ((without, trainer, batch), (with, ..)) = (loss("none"), loss(regulariser));
        let penalty = |row: &[f64]| -> f64 {
            match regulariser {
                "l2" => row.iter().map(|x| x * x).sum(),
                "l3" => row.iter().map(|x| x.abs().powi(3)).sum(),
                _ => (0..5).map(|k| row[k].hypot(row[5 + k]).powi(3)).sum(),
            }
        };
        let of = |table: &smore::engine::backend::Parameters<Reference>| -> Vec<f64> {
            table.values.as_slice().chunks(table.cols).map(penalty).collect()
        };
        let (entities, relations) = (of(&trainer.weights.entities), of(&trainer.weights.relations));
        let mut want = 0.5 * entities.iter().sum::<f64>() + 2.0 * relations.iter().sum::<f64>();
        if by == "frequency" {
            want = 0.0;
            for i in 0..batch.rows() {
                for l in batch.label_offsets[i]..batch.label_offsets[i + 1] {
                    let ends = [batch.heads[i], batch.labels[l as usize]].map(|e| entities[e as usize]);
                    want += 0.5 * (ends[0] + ends[1]) + 2.0 * relations[batch.relations[i] as usize];
                }
            }
            want /= batch.labels.len() as f64;
        }
        assert!((with - without - want).abs() < 1e-12 * with, "{by}, {regulariser}: {}", with - without);
        assert!(want > 0.1, "it matters: {want}");
    }
}

/// Gradients, and the losses of some steps, are those of the reference.
fn check_training<B: Backend + Clone>(backend: &B) {
    for case in CASES {
        for (dim, tile) in [(5, 1000), (32, 8)] {
            let config = config(case, dim);
            let (mut fast, mut slow) =
                (trainer(backend.clone(), &config, tile), trainer(Reference, &config, 1000));
            let first = batch(&config, 0);
            fast.gradients(&first, 1).unwrap();
            slow.gradients(&first, 1).unwrap();
            let (got, want) = (last_gradients(&mut fast), last_gradients(&mut slow));
            let networks = numbers_of_networks(&mut slow);
            for (t, (got, want)) in got.into_iter().zip(want).enumerate() {
                // What has no influence has a sum of terms that cancel.
                let scale = if has_no_influence(&slow, &networks, t) { 1.0 } else { 0.0 };
                let greatest = want.iter().fold(scale, |max: f64, g| max.max(g.abs()));
                for (k, (g, w)) in got.into_iter().map(B::Scalar::value).zip(want).enumerate() {
                    assert!(
                        (g - w).abs() <= 1e-5 * greatest + 1e-8,
                        "{case:?}, d = {dim}, table {t}: gradient {k} is {g}, not {w}"
                    );
                }
            }
            for step in 1..=6 {
                let batch = batch(&config, step);
                fast.step(&batch, 1e-3, step).unwrap();
                slow.step(&batch, 1e-3, step).unwrap();
            }
            let (a, b) = (fast.losses().unwrap(), slow.losses().unwrap());
            assert_eq!(a.len(), 7, "one loss a step");
            for (a, b) in a.iter().zip(b) {
                assert!((a - b).abs() <= 2e-4 * b.abs(), "{case:?}, d = {dim}: loss {a}, not {b}");
            }
        }
    }
}

on_every_backend!(check_training);

#[cfg(feature = "cuda")]
#[test]
fn whole_models_train_on_the_driver_that_is_not_real() {
    common::gpu::tests_on_fake_driver("the_gpu_", "early");
}

/// The bits of all tables, and of the losses, after some steps.
fn trained<B: Backend + Clone>(backend: &B, case: &[&str], dim: usize, steps: u64) -> Vec<Vec<u64>> {
    let config = config(case, dim);
    let mut trainer = trainer(backend.clone(), &config, 9);
    let losses = (1..=steps).flat_map(|step| {
        trainer.step(&batch(&config, step), 1e-2, step).unwrap();
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
    let (dim, steps) = common::gpu::sizes((60, 20), (12, 2));
    for case in CASES {
        let run = || trained(&cuda, case, dim, steps);
        assert!(run() == run(), "{case:?}");
    }
}

#[test]
fn the_emulated_cuda_kernels_give_the_same_bits_twice() {
    let Some(cuda) = common::emulator::cuda() else { return };
    for case in CASES {
        let run = || trained(&cuda, case, 12, 2);
        assert!(run() == run(), "{case:?}");
    }
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            CASES.map(|case| {
                let config = config(case, 40);
                let mut trainer = trainer(Cpu, &config, 9);
                for step in 1..=4 {
                    trainer.step(&batch(&config, step), 1e-2, step).unwrap();
                }
                let losses: Vec<u64> = trainer.losses().unwrap().into_iter().map(f64::to_bits).collect();
                let bits = |values: &[f32]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
                let Weights { entities, relations, .. } = &trainer.weights;
                (losses, [entities, relations].map(|table| bits(table.values.as_slice())))
            })
        })
    };
    let one = run(1);
    assert_eq!(one, run(2));
    assert_eq!(one, run(5));
}

#[test]
fn a_model_learns_the_triples_of_its_graph() {
    for objective in ["training.objective=1vsall", "training.objective=kvsall"] {
        let config = config(&["model.name=complex", objective], 16);
        let mut trainer = trainer(Cpu, &config, 1000);
        let mut loss = |from: u64, to: u64| {
            let mut sum = 0.0;
            for step in from..to {
                trainer.step(&batch(&config, step), 1e-2, step).unwrap();
                sum += trainer.losses().unwrap()[0];
            }
            sum / (to - from) as f64
        };
        let (start, _, end) = (loss(1, 20), loss(20, 300), loss(300, 320));
        assert!(end < 0.8 * start, "{objective}: the loss falls from {start} to {end}");
        assert_eq!(config.training.objective == Objective::OneVsAll, objective.contains("1vs"));
    }
}
