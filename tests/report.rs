//! `smore report`: the page says what the files say, needs nothing else, and holds no markup of others.

#![cfg(feature = "cli")]

use serde_json::Value;
use smore::engine::report;
use std::path::Path;

mod common;
use common::{Folder, json, smore};

fn train(folder: &Folder, run: &str, model: &str) -> Value {
    let tiny =
        ["--dim=16", "--batch-size=64", "--negatives=32", "--steps=60", "--set=training.valid_every=20"];
    let few = ["--set=evaluation.queries=40", "--set=evaluation.valid_queries=20"];
    json(smore(folder).args(["train", "umls", "--run-dir", run, "--model", model]).args(tiny).args(few))
}

fn page(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

/// Every element that is opened is closed, in order.
fn is_well_formed(html: &str) {
    let mut open: Vec<&str> = Vec::new();
    for tag in html.split('<').skip(1).map(|rest| rest.split_once('>').expect("a tag ends").0) {
        let name = tag.trim_start_matches('/').split([' ', '\n']).next().unwrap();
        match tag {
            _ if tag.starts_with('!') || tag.ends_with('/') || name == "meta" => {}
            _ if tag.starts_with('/') => assert_eq!(open.pop(), Some(name), "closed after {open:?}"),
            _ => open.push(name),
        }
    }
    assert!(open.is_empty(), "not closed: {open:?}");
}

fn is_self_contained(html: &str) {
    for part in ["<script", "http:", "https:", "src=", "url(", "@import", "<link", "href="] {
        assert!(!html.contains(part), "{part}");
    }
}

#[test]
fn a_run_leaves_a_page_with_its_figures_curves_and_configuration() {
    let folder = Folder::in_memory();
    let run = train(&folder, "run", "gqe");
    let html = page(&folder.path().join("run/report.html"));
    is_well_formed(&html);
    is_self_contained(&html);
    let percent = |value: &Value| format!("<td>{:.1}</td>", 100.0 * value.as_f64().unwrap());
    for (structure, metrics) in run["report"]["multi_hop"].as_object().unwrap() {
        let row = html.split(&format!("<th scope=\"row\">{structure}</th>")).nth(1).unwrap();
        let row = row.split("</tr>").next().unwrap();
        for metric in ["mrr", "hits_at_10"] {
            assert!(row.contains(&percent(&metrics[metric])), "{structure} {metric}: {row}");
        }
        assert!(row.contains(&percent(&run["report"]["baseline"]["multi_hop"][structure]["mrr"])), "{row}");
        assert!(html.contains(&format!("aria-label=\"{structure}\"")), "a plot of {structure}");
    }
    assert!(html.contains(&percent(&run["report"]["link_prediction"]["head"]["mrr"])));
    for plot in ["loss", "trained queries per second", "learning rate"] {
        assert!(html.contains(&format!("aria-label=\"{plot}\"")), "{plot}");
    }
    assert!(html.contains("class=\"best c0\"") && html.contains("learning_rate = 0.003"), "{html}");
    assert!(html.contains("prefers-color-scheme:dark") && html.contains("5,216"));
}

#[test]
fn several_runs_are_compared_in_one_page_and_what_differs_is_named() {
    let folder = Folder::in_memory();
    train(&folder, "one", "gqe");
    train(&folder, "two", "complex");
    let written = json(smore(&folder).args(["report", "one", "two", "--output", "both.html"]));
    assert_eq!(written["report"], "both.html");
    let html = page(&folder.path().join("both.html"));
    is_well_formed(&html);
    is_self_contained(&html);
    assert!(html.contains("model.name") && html.contains("<td>gqe</td><td>complex</td>"), "{html}");
    assert!(!html.contains("model.dim</th>"), "what is equal is left out");
    assert!(html.contains("one, step 60: ") && html.contains("two, step 60: "));
    smore(&folder).args(["report", "one", "none"]).assert().code(1);
}

#[test]
fn names_are_text_and_not_markup() {
    let folder = Folder::in_memory();
    train(&folder, "run", "gqe");
    let (from, to) = (folder.path().join("run"), folder.path().join("<b>&'\"run"));
    std::fs::rename(from, &to).unwrap();
    let path = report::write(&[to], None).unwrap();
    let html = page(&path);
    is_well_formed(&html);
    assert!(html.contains("&lt;b&gt;&amp;&#x27;&quot;run: finished") && !html.contains("<b>&"));
}

#[test]
fn a_run_that_is_not_finished_or_whose_log_was_cut_has_a_page_too() {
    let folder = Folder::in_memory();
    train(&folder, "run", "gqe");
    let run = folder.path().join("run");
    std::fs::remove_file(run.join("test.json")).unwrap();
    let log = std::fs::read(run.join("metrics.jsonl")).unwrap();
    std::fs::write(run.join("metrics.jsonl"), &log[..log.len() / 2]).unwrap();
    smore(&folder).args(["report", "run", "--accept-changes"]).assert().success();
    let html = page(&run.join("report.html"));
    is_well_formed(&html);
    assert!(html.contains("not finished") && html.contains("aria-label=\"loss\""));
    std::fs::remove_file(run.join("metrics.jsonl")).unwrap();
    smore(&folder).args(["report", "run", "--accept-changes"]).assert().success();
    is_well_formed(&page(&run.join("report.html")));
}
