//! Several runs side by side: like with like.

use super::data::{Row, RunData, Test};
use super::escape;
use super::plot::COLOURS;
use super::table::{Table, below, percent};

/// The structures whose mean compares the runs on valid, where they have not all the same, and the title of its plot.
pub(super) fn comparable(runs: &[RunData]) -> (Option<Vec<String>>, String) {
    let of = |run: &RunData| -> Vec<String> {
        run.valid.first().iter().flat_map(|valid| &valid.mrr).map(|(name, _)| name.clone()).collect()
    };
    let all: Vec<Vec<String>> = runs.iter().filter(|run| !run.valid.is_empty()).map(of).collect();
    let title = "valid MRR in percent, mean over structures".to_string();
    match all.first() {
        Some(first) if all.iter().any(|structures| structures != first) => {
            let mut common = first.clone();
            common.retain(|name| all.iter().all(|structures| structures.contains(name)));
            let title = format!("valid MRR in percent, mean over {}", common.join(", "));
            (Some(common), title)
        }
        _ => (None, title),
    }
}

/// Test MRR of several runs side by side.
pub(super) fn comparison(runs: &[RunData]) -> String {
    let tested: Vec<(usize, &RunData, &Test)> =
        runs.iter().enumerate().filter_map(|(i, run)| Some((i, run, run.test.as_ref()?))).collect();
    if tested.is_empty() {
        return String::new();
    }
    type Find = fn(&Test, &str) -> Option<Row>;
    let find: [Find; 3] = [
        |test, name| Some(test.structures.iter().find(|(n, _)| n == name)?.1),
        |test, name| Some(test.averages.iter().find(|(n, _)| *n == name)?.1),
        |test, name| Some(test.link_prediction.iter().find(|(n, _)| *n == name)?.1),
    ];
    let mut names: [Vec<String>; 3] = Default::default();
    for (_, _, test) in &tested {
        let theirs = [
            test.structures.iter().map(|(n, _)| n.clone()).collect::<Vec<_>>(),
            test.averages.iter().map(|(n, _)| n.to_string()).collect(),
            test.link_prediction.iter().map(|(n, _)| n.to_string()).collect(),
        ];
        for (names, theirs) in names.iter_mut().zip(theirs) {
            theirs.into_iter().for_each(|name| {
                if !names.contains(&name) {
                    names.push(name)
                }
            });
        }
    }
    let heads = tested
        .iter()
        .map(|(index, run, _)| format!("<i class=\"key c{}\"></i>{}", index % COLOURS, escape(&run.name)));
    let mut table = Table::new(["structure".to_string()].into_iter().chain(heads).chain(["baseline".into()]));
    let mut notes = Vec::new();
    for (kind, names) in names.iter().enumerate() {
        for name in names {
            let mut rows: Vec<Option<Row>> =
                tested.iter().map(|(_, _, test)| find[kind](test, name)).collect();
            let mut label = if kind == 2 { format!("link prediction, {name}") } else { name.clone() };
            if kind == 1 {
                let tests: Vec<&Test> = tested.iter().map(|(_, _, test)| *test).collect();
                match common(&tests, name) {
                    Common::Same => {}
                    Common::Some(structures) => {
                        rows = tests.iter().map(|test| test.mean_over(&structures)).collect();
                        label = format!("{name} of {}", structures.join(", "));
                        notes.push(format!(
                            "Not all runs were tested on the same structures: the {label} compares."
                        ));
                    }
                    Common::None => {
                        rows = vec![None; tests.len()];
                        notes.push(format!(
                            "The runs were tested on different structures: no {name} compares."
                        ));
                    }
                }
            } else if !same_queries(&rows) {
                notes.push(format!("{label}: not all runs were tested on the same queries."));
            }
            let baseline = rows.iter().flatten().find_map(|row| row.baseline).map(|b| b.mrr);
            let best = rows.iter().flatten().map(|row| row.metrics.mrr).fold(f64::MIN, f64::max);
            let cells = rows.iter().map(|row| match row {
                Some(row) => {
                    let (mrr, mark) = (row.metrics.mrr, below(row.metrics.mrr, row.baseline.map(|b| b.mrr)));
                    let text = percent(Some(mrr));
                    if mrr == best { format!("<b>{text}</b>{mark}") } else { text + mark }
                }
                None => percent(None),
            });
            let cells = [escape(&label)].into_iter().chain(cells).chain([percent(baseline)]);
            table.row(kind == 1, cells.collect());
        }
    }
    let graphs: Vec<&String> = runs.iter().map(|run| &run.info.graph).collect();
    let warning = match graphs.iter().all(|graph| *graph == graphs[0]) {
        true => "",
        false => "<p class=\"warn\">These runs are of different graphs: their figures do not compare.</p>",
    };
    let notes: String = notes.iter().map(|note| format!("<p class=\"hint\">{}</p>", escape(note))).collect();
    format!(
        "<section><h2>Test MRR in percent</h2>{warning}{}<p class=\"hint\">▾ stands beside what is below the frequency \
         baseline.</p>{notes}</section>",
        table.html()
    )
}

/// Whether the runs that have results have as many queries and answers.
fn same_queries(rows: &[Option<Row>]) -> bool {
    let mut sizes = rows.iter().flatten().map(|row| (row.metrics.num_queries, row.metrics.num_answers));
    let first = sizes.next();
    sizes.all(|size| Some(size) == first)
}

/// What an average of several runs can be over.
enum Common {
    /// All have the same structures.
    Same,
    /// These are common to all, and some have more.
    Some(Vec<String>),
    /// One or none is common to all.
    None,
}

fn common(tests: &[&Test], average: &str) -> Common {
    let of: Vec<Vec<String>> = tests.iter().map(|test| test.averaged(average)).collect();
    let mut common = of[0].clone();
    common.retain(|structure| of.iter().all(|structures| structures.contains(structure)));
    match common.len() {
        all if of.iter().all(|structures| structures.len() == all) => Common::Same,
        0 | 1 => Common::None,
        _ => Common::Some(common),
    }
}

/// The keys in which configurations differ.
pub(super) fn differences(runs: &[RunData]) -> String {
    let configs: Vec<Vec<(String, String)>> = runs.iter().map(keys).collect();
    let mut names: Vec<&String> = Vec::new();
    for (key, _) in configs.iter().flatten() {
        if !names.contains(&key) {
            names.push(key);
        }
    }
    let heads = runs.iter().map(|run| escape(&run.name));
    let mut table = Table::new(["option".to_string()].into_iter().chain(heads));
    let mut any = false;
    for name in names {
        let values: Vec<&str> = configs
            .iter()
            .map(|config| config.iter().find(|(key, _)| key == name).map_or("–", |(_, value)| value))
            .collect();
        if values.iter().any(|value| *value != values[0]) {
            any = true;
            table.row(false, [name.as_str()].iter().chain(&values).map(|cell| escape(cell)).collect());
        }
    }
    let body = if any {
        table.html()
    } else {
        "<p class=\"hint\">Nothing: the configurations are the same.</p>".into()
    };
    format!("<section><h2>What differs</h2>{body}</section>")
}

/// A configuration as pairs of dotted key and value.
fn keys(run: &RunData) -> Vec<(String, String)> {
    let document: toml::Table = run.config.to_toml().parse().expect("written a moment ago");
    let mut keys = Vec::new();
    for (section, fields) in &document {
        for (key, value) in fields.as_table().into_iter().flatten() {
            let text = value.as_str().map_or_else(|| value.to_string(), Into::into);
            keys.push((format!("{section}.{key}"), text));
        }
    }
    keys
}
