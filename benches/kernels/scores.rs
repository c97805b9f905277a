//! Scores and losses.

use super::*;

pub fn scores<B: Backend>(bench: &mut Bench<B>, queries: usize, pool: usize, d: usize) -> anyhow::Result<()> {
    let entities = bench.random(pool * d, 0.2)?;
    let elements = (queries * pool * d) as f64;
    for (name, kind) in benchmarks(&cases::SCORES) {
        let width = kind.query_width(d);
        let rows = bench.random(queries * width, 0.2)?;
        let (touched, scores) = ((queries * width + pool * d) as f64, (queries * pool) as f64);
        let forward = Cost::of_score(kind, 0, elements, 4.0 * (touched + scores));
        let backward = Cost::of_score(kind, 1, elements, 4.0 * (2.0 * touched + scores));
        let rows = [Mat::new(&rows, queries, width), Mat::new(&entities, pool, d)];
        pairs(bench, name, kind, rows, [forward, backward])?;
    }
    per_query_scores(bench, queries, pool, d)?;
    losses(bench, queries, pool)
}

/// The scores of all pairs of queries and entities, and their gradients, with a cost each.
pub fn pairs<B: Backend>(
    bench: &mut Bench<B>,
    name: &str,
    kind: Scoring,
    [queries, entities]: [Mat<B::Buffer>; 2],
    [forward, backward]: [Cost; 2],
) -> anyhow::Result<()> {
    let (rows, pool) = (queries.rows, entities.rows);
    let weights = bench.random(rows * pool, 1e-3)?;
    let mut out = bench.backend.zeros(rows * pool)?;
    let mut dqueries = bench.backend.zeros(rows * queries.cols)?;
    let mut dentities = bench.backend.zeros(pool * entities.cols)?;
    let size = format!("{} x {} x {}", count(rows as u64), count(pool as u64), entities.cols);
    bench.time(&format!("scores {name}"), size.clone(), forward, |b| {
        b.run(Scores { kind, exact: true, queries, entities, out: MatMut::new(&mut out, rows, pool) });
    })?;
    bench.time(&format!("scores backward {name}"), size, backward, |b| {
        b.run(ScoresBackward {
            kind,
            queries,
            entities,
            scores: Mat::new(&out, rows, pool),
            weights: Mat::new(&weights, rows, pool),
            dqueries: MatMut::new(&mut dqueries, rows, queries.cols),
            dentities: MatMut::new(&mut dentities, pool, entities.cols),
        });
    })
}

/// Candidates of their own are read once for one query: fewer of them.
fn per_query_scores<B: Backend>(
    bench: &mut Bench<B>,
    queries: usize,
    pool: usize,
    d: usize,
) -> anyhow::Result<()> {
    let own = (pool / 16).max(1);
    let weights = bench.random(queries * own, 1e-3)?;
    let mut out = bench.backend.zeros(queries * own)?;
    let roots = bench.backend.index(&(0..=queries as u32).collect::<Vec<_>>())?;
    let entities = bench.random(queries * own * d, 0.2)?;
    let mut dentities = bench.backend.zeros(queries * own * d)?;
    let size = format!("{} x {} x {d}", count(queries as u64), count(own as u64));
    let (elements, pairs) = ((queries * own * d) as f64, (queries * own) as f64);
    for (name, kind) in benchmarks(&cases::SCORES) {
        let width = kind.query_width(d);
        let rows = bench.random(queries * width, 0.2)?;
        let mut dqueries = bench.backend.zeros(queries * width)?;
        let (q, e) = (Mat::new(&rows, queries, width), Mat::new(&entities, queries * own, d));
        let touched = (queries * width) as f64 + elements;
        let cost = Cost::of_score(kind, 0, elements, 4.0 * (touched + pairs));
        bench.time(&format!("per-query scores {name}"), size.clone(), cost, |b| {
            b.run(PerQueryScores {
                kind,
                queries: q,
                entities: e,
                roots: &roots,
                out: MatMut::new(&mut out, queries, own),
            });
        })?;
        let cost = // Gradients of queries are read and written, those of entities written.
            Cost::of_score(kind, 1, elements, 4.0 * (2.0 * touched + (queries * width) as f64 + pairs));
        bench.time(&format!("per-query scores backward {name}"), size.clone(), cost, |b| {
            b.run(PerQueryScoresBackward {
                kind,
                queries: q,
                entities: e,
                roots: &roots,
                scores: Mat::new(&out, queries, own),
                weights: Mat::new(&weights, queries, own),
                dqueries: MatMut::new(&mut dqueries, queries, width),
                dentities: MatMut::new(&mut dentities, queries * own, d),
            });
        })?;
    }
    Ok(())
}

/// Losses of queries, and of rows of scores.
fn losses<B: Backend>(bench: &mut Bench<B>, queries: usize, pool: usize) -> anyhow::Result<()> {
    let scores = bench.random(queries * pool, 20.0)?;
    let (positives, query_weights) = (bench.random(queries, 20.0)?, bench.random(queries, 1.0)?);
    let roots = bench.backend.index(&(0..=queries as u32).collect::<Vec<_>>())?;
    let mut out = bench.backend.zeros(queries * pool)?;
    let words = pool.div_ceil(32);
    let mask = bench.backend.index(&vec![0; queries * words])?;
    let (mut losses, mut dpositives) = (bench.backend.zeros(queries)?, bench.backend.zeros(queries)?);
    for (name, (loss, adversarial_temperature)) in benchmarks(&cases::POOL_LOSSES) {
        let bytes = 8.0 * (queries * pool) as f64;
        let size = format!("{} x {}", count(queries as u64), count(pool as u64));
        bench.time(&format!("loss {name}"), size, Cost { bytes, ..Cost::default() }, |b| {
            b.run(LossOfPool {
                options: LossOptions { loss, adversarial_temperature },
                roots: &roots,
                positives: Mat::new(&positives, queries, 1),
                scores: Mat::new(&scores, queries, pool),
                mask: &mask,
                mask_words: words,
                query_weights: Mat::new(&query_weights, queries, 1),
                losses: MatMut::new(&mut losses, queries, 1),
                positive_weights: MatMut::new(&mut dpositives, queries, 1),
                weights: MatMut::new(&mut out, queries, pool),
            });
        })?;
    }

    // Rows of scores with three labels each, as of single-hop training.
    let offsets: Vec<u32> = (0..=queries as u32).map(|q| 3 * q).collect();
    let labels: Vec<u32> = (0..3 * queries as u32).map(|l| l % pool.max(3) as u32).collect();
    let (offsets, labels) = (bench.backend.index(&offsets)?, bench.backend.index(&labels)?);
    let mut rows = bench.random(queries * pool.max(3), 20.0)?;
    for (name, kind) in benchmarks(&cases::LABEL_LOSSES) {
        let pool = pool.max(3);
        let bytes = 8.0 * (queries * pool) as f64;
        let size = format!("{} x {}", count(queries as u64), count(pool as u64));
        bench.time(&format!("label loss {name}"), size, Cost { bytes, ..Cost::default() }, |b| {
            b.run(LossOfLabels {
                loss: kind,
                offsets: &offsets,
                labels: &labels,
                first: 0,
                row_weights: Mat::new(&query_weights, queries, 1),
                scores: MatMut::new(&mut rows, queries, pool),
                losses: MatMut::new(&mut losses, queries, 1),
            });
        })?;
    }
    Ok(())
}
