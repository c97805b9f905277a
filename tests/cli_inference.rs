//! Inference as a user runs it: engines, witnesses, probabilities, links, on a model of single links of UMLS.

#![cfg(feature = "cli")]

mod common;

use common::{Folder, json, smore};
use predicates::prelude::*;
use predicates::str::contains;
use serde_json::Value;
use std::sync::LazyLock;

/// A run on single links, trained once: tests read it and copy what they change.
static RUN: LazyLock<Folder> = LazyLock::new(|| trained("complex", &[]));

fn trained(model: &str, more: &[&str]) -> Folder {
    let folder = Folder::in_memory();
    let options = [
        "--run-dir=run",
        "--dim=32",
        "--device=cpu",
        "--set=training.objective=1vsall",
        "--set=training.optimizer=adagrad",
        "--set=training.learning_rate=0.1",
        "--batch-size=128",
        "--epochs=15",
        "--set=evaluation.queries=40",
        "--set=evaluation.valid_queries=40",
    ];
    smore(&folder).args(["train", "umls", "--model", model]).args(options).args(more).assert().success();
    folder
}

/// A folder with a copy of the run.
fn copied() -> Folder {
    let folder = Folder::in_memory();
    let to = folder.path().join("run");
    std::fs::create_dir(&to).unwrap();
    for file in std::fs::read_dir(RUN.path().join("run")).unwrap().map(|file| file.unwrap()) {
        if file.file_type().unwrap().is_file() {
            std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
        }
    }
    folder
}

fn eval(folder: &Folder, more: &[&str]) -> Value {
    json(smore(folder).args(["eval", "run", "--device=cpu"]).args(more))
}

fn query(folder: &Folder, more: &[&str]) -> Value {
    json(smore(folder).args(["query", "run", "--device=cpu"]).args(more))
}

const TWO_STEPS: &str = "('alga',('isa','interacts_with'))";

#[test]
fn exact_inference_answers_all_structures_by_a_model_of_single_links_and_says_so() {
    let exact = eval(&RUN, &["--inference", "exact"]);
    assert_eq!(exact["multi_hop"].as_object().unwrap().len(), 14);
    assert_eq!(exact["scorer"], "complex, exact inference, product norm, evidence train");
    let inference = &exact["inference"];
    assert_eq!((&inference["engine"], &inference["evidence"]), (&"exact".into(), &"train".into()));
    assert_eq!((&inference["norm"], &inference["row_threshold"]), (&"product".into(), &Value::from(2e-4)));
    assert!(inference["rows"]["made"].as_u64() > Some(100));
    let ties = &inference["ties"]["2p"];
    assert_eq!(ties["answers"], exact["multi_hop"]["2p"]["num_answers"]);
    // It is better than the baseline, and calibration does not change the ranks of single links.
    assert!(exact["average"]["without_negation"]["mrr"].as_f64() > Some(0.6), "{}", exact["average"]);
    assert!(exact["average"]["with_negation"]["mrr"].as_f64() > Some(0.5), "{}", exact["average"]);
    let embedding = eval(&RUN, &[]);
    assert!(embedding["inference"].is_null());
    for key in ["mrr", "hits_at_1", "hits_at_3", "mrr_pessimistic"] {
        assert_eq!(exact["multi_hop"]["1p"][key], embedding["multi_hop"]["1p"][key], "{key}");
        assert_eq!(exact["link_prediction"][key], embedding["link_prediction"][key], "{key}");
    }
    let table = smore(&RUN)
        .args(["eval", "run", "--inference", "beam", "--set", "inference.norm=minimum"])
        .assert()
        .success();
    table.stdout(contains("complex, beam inference along 64 bindings, minimum norm, evidence train on test"));
}

#[test]
fn a_beam_of_all_entities_and_other_amounts_of_memory_give_the_same_ranks() {
    let exact = eval(&RUN, &["--inference", "exact"]);
    let wide = eval(&RUN, &["--inference", "beam", "--set", "inference.beam=135"]);
    let frugal = eval(&RUN, &["--inference", "exact", "--memory", "0"]);
    let threads = eval(&RUN, &["--inference", "exact", "--threads", "1"]);
    for other in [&wide, &frugal, &threads] {
        assert_eq!(other["multi_hop"], exact["multi_hop"]);
    }
    assert!(frugal["inference"]["rows"]["made"].as_u64() > exact["inference"]["rows"]["made"].as_u64());
    let narrow = eval(&RUN, &["--inference", "beam", "--set", "inference.beam=1"]);
    assert_ne!(narrow["multi_hop"]["3p"], exact["multi_hop"]["3p"]);
}

#[test]
fn exact_inference_that_does_not_fit_is_refused_and_only_auto_falls_back() {
    let small = ["--set", "inference.exact_entities=100"];
    let refused = smore(&RUN).args(["eval", "run", "--inference", "exact"]).args(small).assert().code(1);
    refused.stderr(contains("135 entities").and(contains("--inference beam")));
    let auto = eval(&RUN, &["--inference", "auto", "--set", "inference.exact_entities=100"]);
    assert_eq!(auto["inference"]["engine"], "beam");
    assert_eq!(eval(&RUN, &["--inference", "auto"])["inference"]["engine"], "exact");
    let other = smore(&RUN).args(["eval", "run", "--set", "training.seed=3"]).assert().code(1);
    other.stderr(contains("only keys of the section inference"));
}

#[test]
fn models_that_cannot_combine_sets_answer_every_structure_by_inference() {
    let folder = trained("transe", &["--set=training.objective=negatives", "--negatives=64"]);
    smore(&folder).args(["query", "run", "(('alga',('isa',)),('plant',('isa',)))"]).assert().code(1);
    let answers = query(&folder, &["(('alga',('isa',)),('plant',('isa',)))", "--inference", "exact"]);
    assert_eq!(answers["inference"]["engine"], "exact");
    assert_eq!(answers["answers"].as_array().unwrap().len(), 10);
}

#[test]
fn answers_come_with_what_makes_them_true() {
    let document = query(&RUN, &[TWO_STEPS, "--inference", "exact", "--why", "-k", "30"]);
    assert_eq!(document["why_is"], "computation");
    for answer in document["answers"].as_array().unwrap() {
        let (score, why) = (answer["score"].as_f64().unwrap(), &answer["why"]);
        if score == 0.0 {
            assert!(why.is_null());
            continue;
        }
        // Two links from the anchor, whose truths multiply to the answer's.
        let (last, first) = (&why["link"], &why["link"]["from"]["link"]);
        assert_eq!((&last["relation"], &first["relation"]), (&"interacts_with".into(), &"isa".into()));
        assert_eq!(first["from"]["entity"], "alga");
        let product = last["truth"].as_f64().unwrap() as f32 * first["truth"].as_f64().unwrap() as f32;
        assert_eq!(product, score as f32);
        let observed = last["observed"] == true && first["observed"] == true;
        assert_eq!(observed, answer["status"] == "known", "{answer}");
    }
    let of_embedding = query(&RUN, &["('alga',('isa',))", "--why"]);
    assert_eq!(
        (&of_embedding["why_is"], &of_embedding["inference"]["engine"]),
        (&"supporting evidence".into(), &"embedding".into())
    );
    assert_eq!(of_embedding["answers"][0]["why"]["link"]["from"]["entity"], "alga");
    let said = smore(&RUN).args(["query", "run", "('alga',('isa',))", "--why"]).assert().success();
    said.stderr(contains("supporting evidence")).stdout(contains("alga --isa--> plant"));
    let tree = smore(&RUN)
        .args(["query", "run", "(('alga',('isa','interacts_with')),('virus',('isa','n')))", "-k", "2"])
        .args(["--inference", "exact", "--format", "tree"])
        .assert()
        .success();
    tree.stdout(contains("└ alga --isa--> plant  observed").and(contains("not")));
}

#[test]
fn rows_in_a_file_change_no_answer_and_are_used_where_they_fit_alone() {
    let folder = copied();
    let planned = json(smore(&folder).args(["infer", "run", "--dry-run"]));
    assert!(!folder.path().join("run/adjacency-train.smore").exists());
    let made = json(smore(&folder).args(["infer", "run"]));
    let (planned, made_bytes) = (&planned["plan"], made["bytes"].as_f64().unwrap());
    assert!((planned["bytes"].as_f64().unwrap() / made_bytes - 1.0).abs() < 0.2, "{planned} {made}");
    let from_file = eval(&folder, &["--inference", "exact"]);
    assert_eq!(from_file["multi_hop"], eval(&RUN, &["--inference", "exact"])["multi_hop"]);
    assert_eq!(from_file["inference"]["rows"]["made"], 0);
    let other = smore(&folder)
        .args(["eval", "run", "--inference", "exact", "--set", "inference.row_threshold=0.01"])
        .assert()
        .success();
    other.stderr(contains("rows are made on demand"));
    let path = folder.path().join("run/adjacency-train.smore");
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let damaged = smore(&folder).args(["eval", "run", "--inference", "exact"]).assert().code(1);
    damaged.stderr(contains("is damaged").and(contains("smore infer")));
}

#[test]
fn validation_queries_make_scores_probabilities_and_sets() {
    let folder = copied();
    let exact = ["--inference", "exact"];
    let early =
        smore(&folder).args(["query", "run", TWO_STEPS, "--coverage", "0.9"]).args(exact).assert().code(1);
    early.stderr(contains("smore calibrate RUN"));
    let calibrated = json(smore(&folder).args(["calibrate", "run"]).args(exact));
    let structures = calibrated["calibration"]["structures"].as_object().unwrap();
    assert_eq!(structures.len(), 14);
    for (name, of) in structures {
        let (reliability, coverage) = (&of["tested"]["reliability"], &of["tested"]["coverage"]);
        assert!(reliability["ece"].as_f64().unwrap() < 0.1, "{name} {reliability}");
        let (low, high) = (&coverage["interval"][0], &coverage["interval"][1]);
        assert!(
            low.as_f64() <= coverage["covered"].as_f64() && coverage["covered"].as_f64() <= high.as_f64()
        );
    }
    // The scale is the one with the best MRR on valid, and evaluations take it from now on.
    let scales = calibrated["calibration"]["negation_scales"].as_array().unwrap();
    let best =
        scales.iter().max_by(|a, b| a[1].as_f64().unwrap().total_cmp(&b[1].as_f64().unwrap())).unwrap();
    assert_eq!(eval(&folder, &exact)["inference"]["negation_scale"], best[0]);
    assert_eq!(eval(&RUN, &exact)["inference"]["negation_scale"], 1.0);
    // Probabilities never rise on the way down, and cut the list.
    let all = query(&folder, &[TWO_STEPS, "-k", "200", "--show", "predicted", "--inference", "exact"]);
    let probabilities = |document: &Value| -> Vec<f64> {
        document["answers"].as_array().unwrap().iter().map(|a| a["probability"].as_f64().unwrap()).collect()
    };
    let all = probabilities(&all);
    assert!(all.is_sorted_by(|a, b| a >= b) && all.iter().all(|p| (0.0..=1.0).contains(p)), "{all:?}");
    let least = all[all.len() / 4].max(1e-6).to_string();
    let some = query(
        &folder,
        &[TWO_STEPS, "--min-probability", &least, "--show", "predicted", "--inference", "exact"],
    );
    let expected: Vec<f64> = all.iter().copied().filter(|p| *p >= least.parse::<f64>().unwrap()).collect();
    assert_eq!(probabilities(&some), expected);
    let sizes = ["0.5", "0.8", "0.95"].map(|coverage| {
        let set = query(
            &folder,
            &[TWO_STEPS, "--coverage", coverage, "--show", "predicted", "--inference", "exact"],
        );
        set["answers"].as_array().unwrap().len()
    });
    assert!(sizes.is_sorted() && sizes[2] > sizes[0], "{sizes:?}");
    smore(&folder).args(["report", "run"]).assert().success();
    let page = std::fs::read_to_string(folder.path().join("run/report.html")).unwrap();
    assert!(page.contains("Reliability on test") && page.contains("Validation queries, answered"));
    // Another way of answering has other probabilities.
    let other = smore(&folder)
        .args(["query", "run", TWO_STEPS, "--coverage", "0.9", "--inference", "beam"])
        .assert()
        .code(1);
    other.stderr(contains("smore calibrate RUN"));
}

#[test]
fn links_are_predicted_one_or_many() {
    let predict = |parts: &[&str]| json(smore(&RUN).args(["predict", "run"]).args(parts));
    let tails = predict(&["alga", "isa", "?", "-k", "20"]);
    let names = |document: &Value, what: &str| -> Vec<String> {
        document["answers"].as_array().unwrap().iter().map(|a| a[what].as_str().unwrap().into()).collect()
    };
    assert!(names(&tails, "entity").contains(&"plant".to_string()), "{tails}");
    let score = predict(&["alga", "isa", "plant"]);
    assert_eq!(score["status"], "known");
    let of_plant = tails["answers"].as_array().unwrap().iter().find(|a| a["entity"] == "plant").unwrap();
    assert!((of_plant["score"].as_f64().unwrap() - score["score"].as_f64().unwrap()).abs() < 1e-4);
    let relations = predict(&["alga", "?", "plant", "-k", "100"]);
    let isa = relations["answers"].as_array().unwrap().iter().find(|a| a["relation"] == "isa").unwrap();
    assert_eq!((&isa["score"], &isa["status"]), (&score["score"], &score["status"]));
    let heads = predict(&["?", "isa", "plant", "--show", "known", "-k", "100"]);
    assert!(names(&heads, "entity").contains(&"alga".to_string()), "{heads}");
    assert_eq!(heads["head"], Value::Null);

    let lines = "alga\tisa\t?\n{\"head\":\"alga\",\"tail\":\"plant\"}\nalga isa\n\n?\tisa\tplant\nalga\tisa\tplant\n?\t?\tx\n";
    let many =
        smore(&RUN).args(["predict", "run", "-", "--json", "-k", "20"]).write_stdin(lines).assert().code(1);
    let many = many.stderr(
        contains("standard input:3: expected head, relation and tail")
            .and(contains("standard input:7: "))
            .and(contains("4 queries in "))
            .and(contains("2 queries of 6 could not be answered")),
    );
    let text = String::from_utf8(many.get_output().stdout.clone()).unwrap();
    let documents: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(documents[0], tails);
    assert_eq!(documents[3], score);
    assert_eq!(documents[1]["answers"][0], relations["answers"][0]);
}

#[test]
fn entities_alike_are_found_without_the_entity_itself() {
    let similar = json(smore(&RUN).args(["similar", "run", "virus", "-k", "134"]));
    let list = similar["similar"].as_array().unwrap();
    let scores: Vec<f64> = list.iter().map(|a| a["score"].as_f64().unwrap()).collect();
    assert!(list.len() == 134 && list.iter().all(|a| a["entity"] != "virus"));
    assert!(scores.is_sorted_by(|a, b| a >= b) && scores.iter().all(|x| x.abs() <= 1.0 + 1e-5), "a cosine");
    // It goes both ways.
    let first = list[0]["entity"].as_str().unwrap();
    let back = json(smore(&RUN).args(["similar", "run", first, "-k", "134"]));
    let virus = back["similar"].as_array().unwrap().iter().find(|a| a["entity"] == "virus").unwrap();
    assert!((virus["score"].as_f64().unwrap() - scores[0]).abs() < 1e-5);
    let many =
        smore(&RUN).args(["similar", "run", "-", "--json"]).write_stdin("virus\nnobody\n").assert().code(1);
    many.stdout(contains("\"entity\":\"virus\"")).stderr(contains("standard input:2: no entity"));
}

#[test]
fn ranks_of_a_run_stand_beside_the_hard_answers_of_a_sample() {
    let options = ["--queries", "40", "--structures", "2p.pni"];
    let sampled = smore(&RUN)
        .args(["sample", "umls", "--run", "run", "--inference", "exact"])
        .args(options)
        .assert()
        .success();
    let text = String::from_utf8(sampled.get_output().stdout.clone()).unwrap();
    let evaluated = eval(&RUN, &["--inference", "exact", "--queries", "40", "--structures", "2p.pni"]);
    for structure in ["2p", "pni"] {
        let (mut sum, mut count) = (0.0, 0.0);
        for line in text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
            if line["structure"] != structure {
                continue;
            }
            let ranks: Vec<f64> =
                line["ranks"].as_array().unwrap().iter().map(|rank| rank.as_f64().unwrap()).collect();
            assert_eq!(ranks.len(), line["hard"].as_array().unwrap().len());
            sum += ranks.iter().map(|rank| 1.0 / rank).sum::<f64>() / ranks.len() as f64;
            count += 1.0;
        }
        let mrr = evaluated["multi_hop"][structure]["mrr"].as_f64().unwrap();
        assert!((sum / count - mrr).abs() < 1e-9, "{structure}: {} {mrr}", sum / count);
    }
}
