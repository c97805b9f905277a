//! The CPU's results are the same bits whatever the number of threads, those of the CUDA kernels whatever the
//! order of threads and blocks, those of a GPU in every run.

use crate::array::*;
use crate::common::cases::{BETA, PENALTIES, POOL_LOSSES, PROJECTIONS, SCORES, kinds};
use crate::score::{entities, entity_width, queries};
use smore::engine::backend::*;
use smore::engine::program::ops::linear::{Linear, LinearBackward};
use smore::engine::program::ops::optimizer::{Optimize, OptimizeRows};
use smore::engine::program::ops::project::{Project, ProjectBackward};
use smore::engine::program::ops::score::{PerQueryScores, PerQueryScoresBackward, Scores, ScoresBackward};
use smore::engine::program::ops::segment::{
    Attend, AttendBackward, GatedMin, GatedMinBackward, SegmentMean, SegmentMeanBackward,
};
use smore::engine::rng::{below, stream};

/// Runs `body` on 1, 2, 3 and 5 threads and compares the bits.
#[track_caller]
fn check(what: &str, body: impl Fn() -> Vec<f64> + Sync) {
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| body().into_iter().map(f64::to_bits).collect::<Vec<u64>>())
    };
    let expected = run(1);
    for threads in [2, 3, 5] {
        assert!(run(threads) == expected, "{what} differs between 1 and {threads} threads");
    }
}

/// Runs `body` some times on the emulator, which takes threads and blocks in another order in every launch,
/// and compares the bits.
#[track_caller]
fn check_cuda(what: &str, body: fn(&Cuda) -> Vec<f64>) {
    if let Some(cuda) = crate::emulator::cuda() {
        check_runs(what, &cuda, body, 4);
    }
}

/// Runs `body` on a device so many times and compares the bits.
#[track_caller]
fn check_runs(what: &str, cuda: &Cuda, body: fn(&Cuda) -> Vec<f64>, runs: usize) {
    let run = || body(cuda).into_iter().map(f64::to_bits).collect::<Vec<u64>>();
    let expected = run();
    for _ in 1..runs {
        assert!(run() == expected, "{what} differs between two runs");
    }
}

fn all(array: &Array) -> Vec<f64> {
    (0..array.rows).flat_map(|i| array.row(i).to_vec()).collect()
}

/// Scores and all gradients of a batch.
fn scores<B: Backend>(backend: &B) -> Vec<f64> {
    let mut rng = stream(30, "scores", 0);
    let (num_queries, num_entities) = (203, 301);
    let mut results = Vec::new();
    for kind in kinds(&SCORES).chain([BETA]) {
        let beta = kind == BETA;
        // Parameters of distributions are positive, and have two halves.
        let d = if beta { 116 } else { entity_width(kind, 117) };
        let mut array = |rows, cols| {
            Array::new(rows, cols, |_, _| full(&mut rng) + if beta { 2.0 } else { 0.0 }).on(backend)
        };
        let (q, e) = (array(num_queries, kind.query_width(d)), array(num_entities, d));
        let (w, own_w) = (array(num_queries, num_entities), array(num_queries, 2));
        let [mut s, mut dq, mut de, mut own_s] =
            [(num_queries, num_entities), (num_queries, q.mat().cols), (num_entities, d), (num_queries, 2)]
                .map(|(rows, cols)| Array::junk(rows, cols).on(backend));
        backend.run(Scores { kind, exact: true, queries: q.mat(), entities: e.mat(), out: s.mat_mut() });
        let (dq_out, de_out) = (dq.mat_mut(), de.mat_mut());
        backend.run(ScoresBackward {
            kind,
            queries: q.mat(),
            entities: e.mat(),
            scores: s.mat(),
            weights: w.mat(),
            dqueries: dq_out,
            dentities: de_out,
        });

        // The first entities are the candidates, two each, of queries with two roots.
        let count = num_queries.div_ceil(2);
        let roots: Vec<u32> = (0..=count).map(|q| (2 * q).min(num_queries) as u32).collect();
        let (roots, own) = (&backend.index(&roots).unwrap(), e.mat().rows(0, 2 * count));
        backend.run(PerQueryScores { kind, queries: q.mat(), entities: own, roots, out: own_s.mat_mut() });
        let (dq_out, de_out) = (dq.mat_mut(), de.mat_mut().rows(0, 2 * count));
        let (s_in, w_in) = (own_s.mat(), own_w.mat());
        backend.run(PerQueryScoresBackward {
            kind,
            queries: q.mat(),
            entities: own,
            roots,
            scores: s_in,
            weights: w_in,
            dqueries: dq_out,
            dentities: de_out,
        });
        results.extend([s, dq, de, own_s].iter().flat_map(|out| all(&out.read())));
    }
    results
}

#[test]
fn scores_and_their_gradients_do_not_depend_on_the_order_of_threads() {
    check("scores", || scores(&Cpu));
    check_cuda("scores", scores);
}

fn project<B: Backend>(backend: &B) -> Vec<f64> {
    let mut rng = stream(30, "project", 0);
    let (count, below, d) = (300, 400, 58);
    let inputs = &backend.index(&distinct(&mut rng, count, below)).unwrap();
    let relations = Array::new(count, d, |_, _| full(&mut rng));
    let matrices = Array::new(count, d * d, |_, _| full(&mut rng));
    let start = Array::new(below + count, d, |_, _| full(&mut rng));
    let mut results = Vec::new();
    let mut shared = smore::engine::sampler::Groups::default();
    shared.assign(&(0..count as u32).map(|i| i * i % 7).collect::<Vec<_>>());
    let shared = crate::project::device_groups(backend, &shared);
    let kinds = kinds(&PROJECTIONS).map(|kind| (kind, None));
    for (kind, groups) in kinds.chain([(Projection::Matrix, Some(&shared))]) {
        let width = kind.relation_width(d);
        let from = if kind == Projection::Matrix { &matrices } else { &relations };
        let relations = Array::new(count, width, |i, k| from.at(i, k)).on(backend);
        let [mut slots, mut grads] = [&start, &start].map(|a| a.on(backend));
        let mut relation_grads = Array::junk(count, width).on(backend);
        backend.run(Project {
            kind,
            inputs,
            output: below,
            count,
            groups,
            relations: relations.mat(),
            slots: slots.mat_mut(),
        });
        let (dq, dr) = (grads.mat_mut(), relation_grads.mat_mut());
        backend.run(ProjectBackward {
            kind,
            inputs,
            output: below,
            count,
            groups,
            slots: slots.mat(),
            relations: relations.mat(),
            grads: dq,
            relation_grads: dr,
        });
        results.extend([slots, grads, relation_grads].iter().flat_map(|out| all(&out.read())));
    }
    results
}

#[test]
fn projections_do_not_depend_on_the_order_of_threads() {
    check("project", || project(&Cpu));
    check_cuda("project", project);
}

fn losses<B: Backend>(backend: &B) -> Vec<f64> {
    let mut rng = stream(30, "loss", 0);
    let mut case = crate::loss::Case::random(&mut rng, 200, 301, 2, 0.3, 8.0);
    let mut results = Vec::new();
    for (loss, temperature) in kinds(&POOL_LOSSES) {
        (case.loss, case.temperature) = (loss, temperature);
        let out = case.run(backend);
        results.extend([out.losses, out.positive_weights, out.weights].iter().flat_map(all));
    }
    results
}

#[test]
fn losses_do_not_depend_on_the_order_of_threads() {
    check("loss", || losses(&Cpu));
    check_cuda("loss", losses);
}

fn linear<B: Backend>(backend: &B) -> Vec<f64> {
    let mut rng = stream(30, "linear", 0);
    let (rows, inputs, outputs) = (403, 117, 203);
    let mut array = |rows, cols| Array::new(rows, cols, |_, _| full(&mut rng)).on(backend);
    let (x, w, b) = (array(rows, inputs), array(outputs, inputs), array(1, outputs));
    let mut dout = array(rows, outputs);
    let [mut out, mut dx, mut dw, mut db] = [
        Array::junk(rows, outputs),
        Array::junk(rows, inputs),
        Array::zeros(outputs, inputs),
        Array::zeros(1, outputs),
    ]
    .map(|a| a.on(backend));
    backend.run(Linear {
        x: x.mat(),
        w: w.mat(),
        bias: Some(b.mat()),
        f: Activation::Relu,
        out: out.mat_mut(),
    });
    backend.run(LinearBackward {
        x: x.mat(),
        w: w.mat(),
        out: Some(out.mat()),
        f: Activation::Relu,
        dout: dout.mat_mut(),
        dx: dx.mat_mut(),
        dw: dw.mat_mut(),
        dbias: Some(db.mat_mut()),
    });
    [out, dout, dx, dw, db].iter().flat_map(|out| all(&out.read())).collect()
}

#[test]
fn linear_layers_and_their_gradients_do_not_depend_on_the_order_of_threads() {
    check("linear", || linear(&Cpu));
    check_cuda("linear", linear);
}

fn normalise<B: Backend>(backend: &B) -> Vec<f64> {
    use crate::normalise::{gradient, mean_variance, normalise};
    let mut rng = stream(30, "normalise", 0);
    let [x, dout] = [(); 2].map(|()| Array::new(5000, 33, |_, _| full(&mut rng)));
    let affine = Array::new(2, 33, |_, _| full(&mut rng));
    let of = mean_variance(backend, &x);
    let out = normalise(backend, &x, &of, &affine, Activation::Relu);
    let [dx, daffine] = gradient(backend, [&x, &of, &affine, &out], Activation::Relu, &dout);
    [of, out, dx, daffine].iter().flat_map(all).collect()
}

#[test]
fn batch_normalisation_does_not_depend_on_the_order_of_threads() {
    check("normalise", || normalise(&Cpu));
    check_cuda("normalise", normalise);
}

fn sets<B: Backend>(backend: &B) -> Vec<f64> {
    let mut rng = stream(30, "sets", 0);
    let offsets = segments(&mut rng, 300, 5);
    let rows = offsets[300] as usize;
    let offsets = &backend.index(&offsets).unwrap();
    let mut array = |rows| Array::new(rows, 117, |_, _| full(&mut rng)).on(backend);
    let (x, dout) = (array(rows), array(300));
    let (mut weights, mut gate) = (array(rows), array(300));
    let mut outs = [(); 3].map(|()| Array::junk(300, 117).on(backend));
    let mut dxs = [(); 3].map(|()| Array::junk(rows, 117).on(backend));
    backend.run(Attend { x: x.mat(), offsets, weights: weights.mat_mut(), out: outs[0].mat_mut() });
    backend.run(AttendBackward {
        x: x.mat(),
        offsets,
        dout: dout.mat(),
        weights: weights.mat_mut(),
        dx: dxs[0].mat_mut(),
    });
    backend.run(SegmentMean { x: x.mat(), offsets, out: outs[1].mat_mut() });
    backend.run(SegmentMeanBackward { dout: dout.mat(), offsets, dx: dxs[1].mat_mut() });
    backend.run(GatedMin { x: x.mat(), offsets, gate: gate.mat(), out: outs[2].mat_mut() });
    backend.run(GatedMinBackward {
        x: x.mat(),
        offsets,
        dout: dout.mat(),
        gate: gate.mat_mut(),
        dx: dxs[2].mat_mut(),
    });
    [weights, gate].iter().chain(&outs).chain(&dxs).flat_map(|out| all(&out.read())).collect()
}

#[test]
fn set_operations_do_not_depend_on_the_order_of_threads() {
    check("sets", || sets(&Cpu));
    check_cuda("sets", sets);
}

fn penalties<B: Backend>(backend: &B) -> Vec<f64> {
    let mut rng = stream(30, "penalties", 0);
    let x = Array::new(203, 234, |_, _| full(&mut rng));
    let weights = Array::new(1, 203, |_, _| full(&mut rng));
    let start = Array::new(203, 234, |_, _| full(&mut rng));
    let outs =
        kinds(&PENALTIES).flat_map(|penalty| crate::penalty::run(backend, penalty, &weights, &x, &start));
    outs.flat_map(|out| all(&out)).collect()
}

#[test]
fn penalties_do_not_depend_on_the_order_of_threads() {
    check("penalties", || penalties(&Cpu));
    check_cuda("penalties", penalties);
}

fn adam<B: Backend>(backend: &B) -> Vec<f64> {
    let mut rng = stream(30, "adam", 0);
    let (rows, touched, d) = (500, 300, 117);
    let mut ids = distinct(&mut rng, touched, rows);
    ids.sort_unstable();
    let offsets = segments(&mut rng, touched, 4);
    let num_members = offsets[touched] as usize;
    let members = distinct(&mut rng, num_members, num_members);
    let [ids, offsets, members] = [ids, offsets, members].map(|ids| backend.index(&ids).unwrap());
    let groups = DeviceGroups::<B> { ids, members, offsets };
    let grads = Array::new(num_members, d, |_, _| full(&mut rng)).on(backend);
    let all_grads = Array::new(rows, d, |_, _| full(&mut rng)).on(backend);
    let [values, first, second] = [(); 3].map(|()| backend.zeros(rows * d).unwrap());
    let mut table =
        Parameters::<B> { rows, cols: d, values, first, second, state: [d, d], interleaved: false };
    for t in 1..4 {
        backend.run(OptimizeRows {
            step: Optimizer::Adam.step(0.01, t),
            groups: &groups,
            grads: grads.mat(),
            table: &mut table,
        });
        backend.run(Optimize {
            step: Optimizer::Adam.step(0.01, t),
            grads: all_grads.mat(),
            table: &mut table,
        });
    }
    let read = |buffer| {
        let mut host = vec![B::Scalar::default(); rows * d];
        backend.download(buffer, 0, &mut host).unwrap();
        host.into_iter().map(B::Scalar::value)
    };
    [&table.values, &table.first, &table.second].into_iter().flat_map(read).collect()
}

#[test]
fn adam_does_not_depend_on_the_order_of_threads() {
    check("adam", || adam(&Cpu));
    check_cuda("adam", adam);
}

fn ranks<B: Backend>(backend: &B) -> Vec<f64> {
    let mut rng = stream(30, "rank", 0);
    let (num_queries, num_entities) = (150, 4200);
    let mut results = Vec::new();
    for kind in kinds(&SCORES) {
        let d = entity_width(kind, 33);
        let roots = segments(&mut rng, num_queries, 2);
        let q = queries(&mut rng, kind, roots[num_queries] as usize, d);
        let (e, q) = (entities(&mut rng, &q, num_entities, d).on(backend), q.on(backend));
        let offsets = segments(&mut rng, num_queries, 5);
        let targets: Vec<u32> =
            (0..offsets[num_queries]).map(|_| below(&mut rng, num_entities as u64) as u32).collect();
        let filter_offsets: Vec<u32> = (0..=num_queries as u32).map(|q| q * 20).collect();
        let filter: Vec<u32> = (0..num_queries).flat_map(|_| distinct(&mut rng, 20, num_entities)).collect();
        let task = RankTask {
            root_offsets: &roots,
            queries: q.mat(),
            target_offsets: &offsets,
            targets: &targets,
            filter_offsets: &filter_offsets,
            filter: &filter,
        };
        let counts = backend.rank(kind, task, e.mat()).unwrap();
        results.extend(counts.iter().flat_map(|c| [f64::from(c.better), f64::from(c.equal)]));
    }
    results
}

#[test]
fn ranks_do_not_depend_on_the_order_of_threads() {
    check("ranks", || ranks(&Cpu));
    check_cuda("ranks", ranks);
}

/// On a GPU, whose warps come in another order in every run: what races, or depends on the order of memory, shows.
mod cuda {
    use super::*;

    macro_rules! repeats {
        ($($name:ident: $body:ident;)*) => {$(
            #[test]
            fn $name() {
                if let Some(gpu) = crate::gpu::cuda() {
                    check_runs(stringify!($body), &gpu, $body, crate::gpu::sizes(8, 2));
                }
            }
        )*};
    }
    repeats! {
        scores_and_their_gradients_repeat_bit_for_bit: scores;
        projections_repeat_bit_for_bit: project;
        losses_repeat_bit_for_bit: losses;
        linear_layers_and_their_gradients_repeat_bit_for_bit: linear;
        batch_normalisation_repeats_bit_for_bit: normalise;
        set_operations_repeat_bit_for_bit: sets;
        penalties_repeat_bit_for_bit: penalties;
        adam_repeats_bit_for_bit: adam;
        ranks_repeat_bit_for_bit: ranks;
    }
}
