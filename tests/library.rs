//! The crate as other programs call it: train, stop, go on, ask from many threads, score, draw.

mod common;

use smore::{Dataset, Device, Error, Event, Graph, Reason, Run, Sampler, SavedRun, Show, Split, Wanted};
use std::cell::RefCell;
use std::ops::ControlFlow;
use std::rc::Rc;
use std::sync::atomic::AtomicBool;

fn graph(folder: &common::Folder) -> Graph {
    Dataset::new("umls").cache_folder(folder.path().join("cache")).graph().unwrap()
}

fn small(graph: Graph, folder: &common::Folder, model: &str) -> Run {
    let set = [
        format!("model.name={model}").as_str(),
        "model.dim=16",
        "model.hidden=16",
        "training.steps=120",
        "training.batch_size=64",
        "sampling.negatives=32",
        "evaluation.queries=20",
        "evaluation.valid_queries=20",
    ]
    .map(String::from);
    let run = Run::new(graph).device(Device::Cpu).cache_folder(folder.path().join("cache"));
    set.into_iter().fold(run, |run, assignment| run.set(assignment))
}

#[test]
fn a_run_is_trained_observed_and_asked_from_many_threads() {
    let folder = common::Folder::in_memory();
    let events = Rc::new(RefCell::new(Vec::new()));
    let seen = events.clone();
    let run = small(graph(&folder), &folder, "gqe").on_event(move |event| {
        seen.borrow_mut().push(event.clone());
        ControlFlow::Continue(())
    });
    let run = run.train(folder.path().join("run")).unwrap();
    let events = events.borrow();
    assert!(matches!(events[0], Event::Plan { steps: 120, memory } if memory > 0));
    let valid = events.iter().filter(|event| matches!(event, Event::Valid { .. })).count();
    assert_eq!(valid, 10);
    assert!(events.iter().any(|event| matches!(event, Event::Step { steps: 120, .. })));

    fn is_shared<T: Send + Sync>(_: &T) {}
    is_shared(&run);
    let text = "('steroid',('affects',))";
    let once = run.answers(text, 7).unwrap();
    assert_eq!(once.len(), 7);
    std::thread::scope(|scope| {
        let ask = || (0..5).map(|_| run.answers(text, 7).unwrap()).collect::<Vec<_>>();
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(ask)).collect();
        for thread in threads {
            assert!(thread.join().unwrap().iter().all(|answers| *answers == once));
        }
    });

    // A triple's score is that of its tail among the answers of its query.
    let triple = run.graph().split(Split::Train).triples().next().unwrap();
    let score = run.score(&[triple, triple]).unwrap();
    let query = smore::Query::one_hop(triple.head, triple.relation);
    let all = run.answers_to(&[query], run.graph().num_entities(), smore::Show::Both).unwrap().remove(0);
    let tail = run.graph().entities().name(triple.tail.0);
    let of_tail = all.iter().find(|answer| answer.entity == tail).unwrap().score;
    assert_eq!(score, [of_tail, of_tail]);

    let report = run.evaluate(Split::Test, &AtomicBool::new(false)).unwrap();
    assert_eq!(report.split, "test");
    let stopped = run.evaluate(Split::Test, &AtomicBool::new(true));
    assert!(matches!(stopped, Err(Error::Interrupted)));
}

#[test]
fn a_run_that_the_callback_ends_goes_on_later() {
    let folder = common::Folder::in_memory();
    let path = folder.path().join("run");
    let run = small(graph(&folder), &folder, "complex").on_event(|event| match event {
        Event::Valid { step, .. } if *step >= 24 => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    assert!(matches!(run.train(&path), Err(Error::Interrupted)));
    let steps = Rc::new(RefCell::new(Vec::new()));
    let (seen, same) = (steps.clone(), path.clone());
    let run = Run::new(graph(&folder)).device(Device::Cpu).cache_folder(folder.path().join("cache"));
    let run = run.on_event(move |event| {
        if let Event::Valid { step, .. } = event {
            seen.borrow_mut().push(*step);
            let graph = smore::Graph::open(&same.join("graph.smore")).unwrap();
            let second = Run::new(graph).device(Device::Cpu).resume(&same);
            assert!(matches!(second, Err(Error::File { .. })), "two runs train in one folder");
        }
        ControlFlow::Continue(())
    });
    let run = run.resume(&path).unwrap();
    assert_eq!(run.model(), "complex");
    let steps = steps.borrow();
    assert!(steps.first() > Some(&24) && steps.last() == Some(&120), "{steps:?}");
}

#[test]
fn errors_say_of_what_kind_they_are() {
    let folder = common::Folder::in_memory();
    let path = folder.path().join("run");
    let run = small(graph(&folder), &folder, "transe").train(&path).unwrap();
    let error = |text: &str| run.query(text).unwrap_err();
    assert!(
        matches!(error("('steroids',('affects',))"), Error::NoSuchEntity { name, .. } if name == "steroids")
    );
    assert!(
        matches!(error("('steroid',('effects',))"), Error::NoSuchRelation { name, .. } if name == "effects")
    );
    let both = "(('steroid',('affects',)),('vitamin',('affects',)))";
    assert!(matches!(error(both), Error::CannotExpress { structure, .. } if structure == "2i"));
    assert!(matches!(run.query("('steroid'"), Err(Error::Invalid(_))));
    let huge =
        small(graph(&folder), &folder, "gqe").set("model.dim=1000000").train(folder.path().join("huge"));
    assert!(matches!(huge, Err(Error::OutOfMemory { needed, .. }) if needed > 1 << 30), "{:?}", huge.err());
    assert!(!folder.path().join("huge").exists(), "what cannot work leaves nothing behind");
    let again = small(graph(&folder), &folder, "gqe").train(&path);
    assert!(matches!(again, Err(Error::File { .. })));
    assert!(SavedRun::open(folder.path().join("none"), Device::Cpu).is_err());
}

#[test]
fn drawn_queries_have_their_answer_and_no_negative_that_is_one() {
    let folder = common::Folder::in_memory();
    let graph = graph(&folder);
    let mut sampler = Sampler::new(&graph, "1p:1,2i:1,2in:1,up:1", 16).unwrap().negatives(40).seed(3);
    let first = sampler.batch(5).unwrap();
    assert_eq!(first.len(), 16);
    for drawn in &first {
        let answers = drawn.query.answers(&graph, Split::Train);
        assert!(answers.contains(&drawn.answer));
        assert!(drawn.negatives.iter().all(|negative| !answers.contains(negative)));
    }
    sampler.batch(9).unwrap();
    let again = sampler.batch(5).unwrap();
    assert!(first.iter().zip(&again).all(|(a, b)| (&a.query, a.answer) == (&b.query, b.answer)));
}

#[test]
fn a_saved_run_answers_by_inference_explains_and_refuses_probabilities_that_it_has_not() {
    let folder = common::Folder::in_memory();
    let run = small(graph(&folder), &folder, "complex")
        .set("training.objective=1vsall")
        .set("sampling.negatives=1024");
    let run = run.train(folder.path().join("run")).unwrap();
    let text = "(('steroid',('affects',)),('lipid',('isa','n')))";
    assert!(matches!(run.query(text), Err(Error::CannotExpress { .. })), "complex has no negation");
    assert!(matches!(run.set("training.seed=1"), Err(Error::Invalid(_))));
    let run = SavedRun::open_with_cache(folder.path().join("run"), Device::Cpu, folder.path().join("cache"))
        .unwrap();
    let of_embedding =
        run.explained(&[run.query("('steroid',('affects',))").unwrap()], 3, Show::Both).unwrap();
    assert!(of_embedding[0].iter().all(|answer| answer.why.is_some()), "supporting evidence");
    let run = run.set("inference.engine=exact").unwrap().set("inference.norm=minimum").unwrap();
    let query = run.query(text).unwrap();
    let answers = run.answers(text, 5).unwrap();
    let explained = run.explained(std::slice::from_ref(&query), 5, Show::Both).unwrap().remove(0);
    assert_eq!(answers.len(), 5);
    for (answer, explained) in answers.iter().zip(&explained) {
        assert_eq!((&answer.entity, answer.score, &answer.why), (&explained.entity, explained.score, &None));
        let why = explained.why.as_ref().unwrap();
        assert_eq!((why.truth, &why.entity), (answer.score, &answer.entity));
        assert!(matches!(&why.because, Reason::All(branches) if branches.len() == 2));
    }
    let wanted = Wanted { k: 5, coverage: Some(0.9), ..Wanted::default() };
    let error = run.answers_wanted(&[query], wanted, false).unwrap_err();
    assert!(error.to_string().contains("smore calibrate"), "{error}");
    // From many threads, with rows that they share.
    let once = run.answers("('steroid',('affects','isa'))", 9).unwrap();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| run.answers("('steroid',('affects','isa'))", 9).unwrap()))
            .collect();
        threads.into_iter().for_each(|thread| assert_eq!(thread.join().unwrap(), once));
    });
}
