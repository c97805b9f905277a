//! Trains a small model on UMLS, which comes with the crate, and asks it a question:
//! `cargo run --release --example train_and_ask`.

use smore::{Dataset, Event, Run};
use std::ops::ControlFlow;

fn main() -> smore::Result<()> {
    let folder = std::env::temp_dir().join(format!("smore-example-{}", std::process::id()));
    let run = Run::new(Dataset::new("umls").graph()?)
        .set("model.name=gqe")
        .set("model.dim=64")
        .set("training.steps=300")
        .on_event(|event| {
            if let Event::Valid { step, mrr, .. } = event {
                println!("step {step}: MRR on valid {mrr:.3}");
            }
            ControlFlow::Continue(())
        })
        .train(&folder)?;
    println!("What do steroids affect, that vitamins affect too?");
    for answer in run.answers("(('steroid',('affects',)),('vitamin',('affects',)))", 5)? {
        println!("  {:8.3}  {} ({:?})", answer.score, answer.entity, answer.status);
    }
    std::fs::remove_dir_all(&folder).map_err(smore::Error::io(&folder))
}
