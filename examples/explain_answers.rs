//! Trains a model of single links, answers a query by exact inference and says why: `cargo run --release --example explain_answers`.

use smore::{Dataset, Run, Show};

fn main() -> smore::Result<()> {
    let run = Run::new(Dataset::new("umls").graph()?)
        .set("model.name=complex")
        .set("training.objective=1vsall")
        .set("training.optimizer=adagrad")
        .set("training.learning_rate=0.1")
        .set("training.batch_size=128")
        .set("training.epochs=30")
        .train("runs/umls-explained")?
        .set("inference.engine=exact")?;
    let query = run.query("(('alga',('isa','interacts_with')),('virus',('isa','n')))")?;
    for answer in run.explained(&[query], 3, Show::Predicted)?.remove(0) {
        println!("{}, {:.3} true", answer.entity, answer.score);
        print!("{}", answer.why.map(|why| why.tree("  ")).unwrap_or_default());
    }
    Ok(())
}
