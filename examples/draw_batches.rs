//! Draws training queries with verified negatives: `cargo run --release --example draw_batches`.

use smore::{Dataset, Sampler};

fn main() -> smore::Result<()> {
    let graph = Dataset::new("umls").graph()?;
    let mut sampler = Sampler::new(&graph, "1p:1,2p:1,2i:1,pi:1", 4)?.negatives(64).seed(1);
    for drawn in sampler.batch(0)? {
        let answer = graph.entities().name(drawn.answer.0);
        println!(
            "{}\n  one answer: {answer}; {} negatives",
            graph.text_of(&drawn.query),
            drawn.negatives.len()
        );
    }
    Ok(())
}
