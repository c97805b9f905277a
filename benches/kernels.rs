//! Times each CPU operation at the sizes of a training batch: 512 queries, 1,024 negatives, d = 400.
//!
//! Prints the median of 15 runs, the elements (query x entity x column, or parameters) per second and,
//! for the score kernels, arithmetic per second counted as the operations of the formula.
//! Run: `cargo bench --bench kernels` (all cores) or `RAYON_NUM_THREADS=1 cargo bench --bench kernels`.

use smore::backend::cpu::memory::Buffer;
use smore::backend::*;
use std::time::Instant;

const QUERIES: usize = 512;
const POOL: usize = 1024;
const D: usize = 400;

fn random(len: usize, scale: f32) -> Buffer {
    let mut state = 12345u32;
    let mut buffer = Buffer::zeros(len).unwrap();
    for x in buffer.as_mut_slice() {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *x = ((state >> 8) as f32 / (1u32 << 24) as f32 - 0.5) * scale;
    }
    buffer
}

fn time(name: &str, elements: usize, operations: usize, mut body: impl FnMut()) {
    let mut times: Vec<f64> = (0..16)
        .map(|_| {
            let start = Instant::now();
            body();
            start.elapsed().as_secs_f64()
        })
        .skip(1)
        .collect();
    times.sort_by(f64::total_cmp);
    let median = times[times.len() / 2];
    println!(
        "{name:28} {:8.3} ms {:8.2} G elements/s {:8.1} Gop/s",
        median * 1e3,
        elements as f64 / median * 1e-9,
        (elements * operations) as f64 / median * 1e-9
    );
}

fn main() {
    let cpu = Cpu;
    println!("{}", cpu.describe());
    let kinds = [
        ("L1", Scoring::L1 { gamma: 24.0 }, 3, 3),
        ("L2", Scoring::L2 { gamma: 24.0 }, 3, 5),
        ("box", Scoring::Box { gamma: 24.0, inside: 0.02 }, 7, 8),
        ("dot", Scoring::Dot, 2, 4),
    ];
    for (name, kind, forward, backward) in kinds {
        let width = kind.query_width(D);
        let queries = random(QUERIES * width, 0.2);
        let entities = random(POOL * D, 0.2);
        let mut scores = Buffer::zeros(QUERIES * POOL).unwrap();
        let weights = random(QUERIES * POOL, 1e-3);
        let (mut dq, mut de) = (Buffer::zeros(QUERIES * width).unwrap(), Buffer::zeros(POOL * D).unwrap());
        let q = Mat::new(&queries, QUERIES, width);
        let e = Mat::new(&entities, POOL, D);
        time(&format!("scores {name}"), QUERIES * POOL * D, forward, || {
            cpu.scores(kind, q, e, MatMut::new(&mut scores, QUERIES, POOL));
        });
        time(&format!("scores backward {name}"), QUERIES * POOL * D, backward, || {
            cpu.scores_backward(
                kind,
                q,
                e,
                Mat::new(&scores, QUERIES, POOL),
                Mat::new(&weights, QUERIES, POOL),
                MatMut::new(&mut dq, QUERIES, width),
                MatMut::new(&mut de, POOL, D),
            );
        });
    }

    let scores = random(QUERIES * POOL, 20.0);
    let positives = random(QUERIES, 20.0);
    let query_weights = random(QUERIES, 1.0);
    let roots: Vec<u32> = (0..=QUERIES as u32).collect();
    let mask = vec![0u32; QUERIES * POOL / 32];
    let mut losses = Buffer::zeros(QUERIES).unwrap();
    let mut dp = Buffer::zeros(QUERIES).unwrap();
    let mut weights = Buffer::zeros(QUERIES * POOL).unwrap();
    for (name, adversarial_temperature) in [("uniform", None), ("adversarial", Some(1.0))] {
        time(&format!("loss {name}"), QUERIES * POOL, 1, || {
            cpu.loss(
                LossOptions { adversarial_temperature },
                &roots,
                Mat::new(&positives, 1, QUERIES),
                Mat::new(&scores, QUERIES, POOL),
                &mask,
                POOL / 32,
                Mat::new(&query_weights, 1, QUERIES),
                MatMut::new(&mut losses, 1, QUERIES),
                MatMut::new(&mut dp, 1, QUERIES),
                MatMut::new(&mut weights, QUERIES, POOL),
            );
        });
    }

    let rows = 320;
    let (x, w, b) = (random(rows * D, 1.0), random(D * D, 0.1), random(D, 0.1));
    let mut y = Buffer::zeros(rows * D).unwrap();
    time("linear 320 x 400 x 400", rows * D * D, 2, || {
        let out = MatMut::new(&mut y, rows, D);
        cpu.linear(Mat::new(&x, rows, D), Mat::new(&w, D, D), Mat::new(&b, 1, D), Activation::Relu, out);
    });

    // 2,200 rows of a table of 14,541, as a batch touches on FB15k-237.
    let (table_rows, touched) = (14_541, 2_200u32);
    let mut table = Parameters::<Cpu> {
        rows: table_rows,
        cols: D,
        values: random(table_rows * D, 0.1),
        first: Buffer::zeros(table_rows * D).unwrap(),
        second: Buffer::zeros(table_rows * D).unwrap(),
    };
    let grads = random(touched as usize * D, 1e-3);
    let ids: Vec<u32> = (0..touched).map(|i| i * 6).collect();
    let groups = DeviceGroups::<Cpu> {
        offsets: (0..=touched).collect(),
        members: (0..touched).collect(),
        ids: ids.clone(),
    };
    time("adam on 2,200 rows", touched as usize * D, 1, || {
        let grads = Mat::new(&grads, touched as usize, D);
        cpu.adam_rows(AdamStep::new(1e-3, 10), &groups, grads, &mut table);
    });
    let mut out = Buffer::zeros(touched as usize * D).unwrap();
    time("gather 2,200 rows", touched as usize * D, 1, || {
        cpu.gather(table.mat(), &ids, MatMut::new(&mut out, touched as usize, D));
    });
}
