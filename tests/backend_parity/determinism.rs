//! The CPU's results are the same bits whatever the number of threads, and a pair's score is the same
//! bits whatever the tile that it falls in.

use crate::array::*;
use crate::score::{KINDS, entities, queries};
use smore::backend::*;
use smore::rng::{below, stream};

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

fn all(array: &Array) -> Vec<f64> {
    (0..array.rows).flat_map(|i| array.row(i).to_vec()).collect()
}

/// A number with all the bits of a float32, so that the order of a sum shows.
fn full(rng: &mut smore::rng::Rng) -> f64 {
    f64::from((random(rng) + random(rng) * 1e-4) as f32)
}

#[test]
fn scores_and_their_gradients_do_not_depend_on_the_number_of_threads() {
    let mut rng = stream(30, "scores", 0);
    let (num_queries, num_entities, d) = (203, 301, 117);
    for kind in KINDS {
        let q = Array::new(num_queries, kind.query_width(d), |_, _| full(&mut rng)).on(&Cpu);
        let e = Array::new(num_entities, d, |_, _| full(&mut rng)).on(&Cpu);
        let w = Array::new(num_queries, num_entities, |_, _| full(&mut rng)).on(&Cpu);
        check(&format!("{kind:?}"), || {
            let mut s = Array::junk(num_queries, num_entities).on(&Cpu);
            Cpu.scores(kind, q.mat(), e.mat(), s.mat_mut());
            let mut dq = Array::junk(num_queries, q.mat().cols).on(&Cpu);
            let mut de = Array::junk(num_entities, d).on(&Cpu);
            let (s_in, dq_out, de_out) = (s.mat(), dq.mat_mut(), de.mat_mut());
            Cpu.scores_backward(kind, q.mat(), e.mat(), s_in, w.mat(), dq_out, de_out);
            [s, dq, de].iter().flat_map(|out| all(&out.read())).collect()
        });
    }
}

#[test]
fn losses_do_not_depend_on_the_number_of_threads() {
    let mut rng = stream(30, "loss", 0);
    let mut case = crate::loss::Case::random(&mut rng, 200, 301, 2, 0.3, 8.0);
    for temperature in [None, Some(0.7)] {
        case.temperature = temperature;
        check("loss", || {
            let out = case.run(&Cpu);
            [out.losses, out.positive_weights, out.weights].iter().flat_map(all).collect()
        });
    }
}

#[test]
fn linear_gradients_do_not_depend_on_the_number_of_threads() {
    let mut rng = stream(30, "linear", 0);
    let (rows, inputs, outputs) = (403, 117, 203);
    let mut array = |rows, cols| Array::new(rows, cols, |_, _| full(&mut rng));
    let (x, w, y, dy) =
        (array(rows, inputs), array(outputs, inputs), array(rows, outputs), array(rows, outputs));
    let [x, w, y] = [x, w, y].map(|a| a.on(&Cpu));
    check("linear_backward", || {
        let [mut dout, mut dx, mut dw, mut db] =
            [dy.clone(), Array::junk(rows, inputs), Array::zeros(outputs, inputs), Array::zeros(1, outputs)]
                .map(|a| a.on(&Cpu));
        Cpu.linear_backward(
            x.mat(),
            w.mat(),
            y.mat(),
            Activation::Relu,
            dout.mat_mut(),
            dx.mat_mut(),
            dw.mat_mut(),
            db.mat_mut(),
        );
        [dout, dx, dw, db].iter().flat_map(|out| all(&out.read())).collect()
    });
}

#[test]
fn attention_does_not_depend_on_the_number_of_threads() {
    let mut rng = stream(30, "attend", 0);
    let offsets = segments(&mut rng, 300, 5);
    let rows = offsets[300] as usize;
    let x = Array::new(rows, 117, |_, _| full(&mut rng)).on(&Cpu);
    let logits = Array::new(rows, 117, |_, _| full(&mut rng));
    let dout = Array::new(300, 117, |_, _| full(&mut rng)).on(&Cpu);
    check("attend", || {
        let [mut weights, mut out, mut dx] =
            [logits.clone(), Array::junk(300, 117), Array::junk(rows, 117)].map(|a| a.on(&Cpu));
        Cpu.attend(x.mat(), &offsets, weights.mat_mut(), out.mat_mut());
        Cpu.attend_backward(x.mat(), &offsets, dout.mat(), weights.mat_mut(), dx.mat_mut());
        [weights, out, dx].iter().flat_map(|out| all(&out.read())).collect()
    });
}

#[test]
fn adam_on_rows_does_not_depend_on_the_number_of_threads() {
    let mut rng = stream(30, "adam", 0);
    let (rows, touched, d) = (500, 300, 117);
    let mut ids = distinct(&mut rng, touched, rows);
    ids.sort_unstable();
    let offsets = segments(&mut rng, touched, 4);
    let members = distinct(&mut rng, offsets[touched] as usize, offsets[touched] as usize);
    let groups = DeviceGroups::<Cpu> { ids, members, offsets };
    let grads = Array::new(groups.members.len(), d, |_, _| full(&mut rng)).on(&Cpu);
    check("adam_rows", || {
        let [values, first, second] = [(); 3].map(|()| Cpu.zeros(rows * d).unwrap());
        let mut table = Parameters::<Cpu> { rows, cols: d, values, first, second };
        (1..4).for_each(|t| Cpu.adam_rows(AdamStep::new(0.01, t), &groups, grads.mat(), &mut table));
        [table.values, table.first, table.second]
            .iter()
            .flat_map(|buffer| buffer.as_slice().iter().map(|&x| f64::from(x)))
            .collect()
    });
}

#[test]
fn ranks_do_not_depend_on_the_number_of_threads() {
    let mut rng = stream(30, "rank", 0);
    let (num_queries, num_entities, d) = (150, 4200, 33);
    for kind in KINDS {
        let roots = segments(&mut rng, num_queries, 2);
        let q = queries(&mut rng, kind, roots[num_queries] as usize, d);
        let (e, q) = (entities(&mut rng, &q, num_entities, d).on(&Cpu), q.on(&Cpu));
        let offsets = segments(&mut rng, num_queries, 5);
        let targets: Vec<u32> =
            (0..offsets[num_queries]).map(|_| below(&mut rng, num_entities as u64) as u32).collect();
        let filter_offsets: Vec<u32> = (0..=num_queries as u32).map(|q| q * 20).collect();
        let filter: Vec<u32> = (0..num_queries).flat_map(|_| distinct(&mut rng, 20, num_entities)).collect();
        check(&format!("rank {kind:?}"), || {
            let task = RankTask {
                root_offsets: &roots,
                queries: q.mat(),
                target_offsets: &offsets,
                targets: &targets,
                filter_offsets: &filter_offsets,
                filter: &filter,
            };
            let counts = Cpu.rank(kind, task, e.mat()).unwrap();
            counts.iter().flat_map(|c| [f64::from(c.better), f64::from(c.equal)]).collect()
        });
    }
}

#[test]
fn a_score_has_the_same_bits_alone_and_among_others() {
    let mut rng = stream(30, "tiles", 0);
    for kind in KINDS {
        for d in DIMENSIONS {
            let q = Array::new(7, kind.query_width(d), |_, _| full(&mut rng)).on(&Cpu);
            let e = Array::new(19, d, |_, _| full(&mut rng)).on(&Cpu);
            let mut together = Array::junk(7, 19).on(&Cpu);
            Cpu.scores(kind, q.mat(), e.mat(), together.mat_mut());
            let together = together.read();
            for (i, j) in (0..7).flat_map(|i| (0..19).map(move |j| (i, j))) {
                let mut alone = Array::junk(1, 1).on(&Cpu);
                let (one_q, one_e) = (q.mat().rows(i, 1), e.mat().rows(j, 1));
                Cpu.pair_scores(kind, one_q, one_e, &vec![0, 1], alone.mat_mut());
                assert_eq!(alone.read().at(0, 0), together.at(i, j), "{kind:?}, d {d}, [{i}, {j}]");
            }
        }
    }
}
