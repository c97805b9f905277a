//! Scores triples with a saved run: `cargo run --release --example score_triples -- RUN_FOLDER`.

use smore::{Device, SavedRun, Split};

fn main() -> smore::Result<()> {
    let folder = std::env::args().nth(1).expect("give the folder of a run, as smore train makes it");
    let run = SavedRun::open(folder, Device::Auto)?;
    let triples: Vec<_> = run.graph().split(Split::Test).triples().take(10).collect();
    for (triple, score) in triples.iter().zip(run.score(&triples)?) {
        let (entities, relations) = (run.graph().entities(), run.graph().relations());
        let [head, tail] = [triple.head, triple.tail].map(|entity| entities.name(entity.0));
        println!("{score:8.3}  {head}  {}  {tail}", relations.name(triple.relation.0 / 2));
    }
    Ok(())
}
