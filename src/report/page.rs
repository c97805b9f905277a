//! The page: what came out first, then the curves, the tables, and what is needed to do it again.

use super::data::{Row, RunData, Test, Valid};
use super::escape;
use super::plot::{COLOURS, Plot, Series, Span};
use super::table::{Table, bar, below, pairs, percent};
use crate::table::{bytes, count, duration};
use std::fmt::Write;
use std::time::Duration;

/// The page of these runs, of which there is at least one.
pub fn render(runs: &[RunData]) -> String {
    let title = match runs {
        [run] => format!("{} on {}", run.config.model.name, run.info.dataset),
        _ => format!("{} runs", runs.len()),
    };
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\"><title>{title} · smore</title><style>{style}</style></head>\
         <body><main><header><p class=\"kind\">smore {version} · run report</p><h1>{title}</h1>",
        title = escape(&title),
        style = include_str!("style.css"),
        version = escape(&runs[0].info.version),
    );
    match runs {
        [run] => {
            let _ = write!(
                out,
                "<p class=\"sub\">{}: {}</p></header>{}",
                escape(&run.name),
                escape(&state(run)),
                tiles(run)
            );
        }
        _ => out += &format!("{}</header>", legend(runs)),
    }
    out += &curves(runs);
    if runs.len() > 1 {
        out += &comparison(runs);
        out += &differences(runs);
    }
    for (index, run) in runs.iter().enumerate() {
        if runs.len() > 1 {
            let _ = write!(
                out,
                "<section class=\"run\"><h2><i class=\"key c{}\"></i>{}</h2><p class=\"sub\">{}</p>{}\
                 <details><summary>Tables, dataset, machine, configuration</summary>",
                index % COLOURS,
                escape(&run.name),
                escape(&state(run)),
                tiles(run)
            );
        }
        out += &results(run, index % COLOURS);
        out += &facts(run);
        if runs.len() > 1 {
            out += "</details></section>";
        }
    }
    out + "</main></body></html>\n"
}

/// Where a run stands, in words.
fn state(run: &RunData) -> String {
    let (done, steps) = (run.steps_done(), run.info.steps);
    match (&run.test, done >= steps) {
        (Some(_), true) => format!("finished, {} steps", count(done)),
        (Some(_), false) => format!("ended early, after {} of {} steps", count(done), count(steps)),
        (None, _) => format!("not finished, {} of {} steps", count(done), count(steps)),
    }
}

/// The figures that one looks for first.
fn tiles(run: &RunData) -> String {
    let mut tiles: Vec<(String, String, String)> = Vec::new();
    let mut against = |what: String, row: &Row| {
        let baseline = row.baseline.map(|b| format!("baseline {}", percent(Some(b.mrr))));
        tiles.push((what, percent(Some(row.metrics.mrr)), baseline.unwrap_or_default()));
    };
    if let Some(test) = &run.test {
        for (name, row) in &test.averages {
            against(format!("test MRR, {name}"), row);
        }
        if let Some((_, row)) = test.link_prediction.first() {
            against("link prediction MRR".into(), row);
        }
    }
    if let Some(best) = run.best() {
        let at = format!("after step {}", count(best.step));
        tiles.push(("best valid MRR".into(), percent(Some(best.mean_mrr)), at));
    }
    let seconds = run.train.last().and_then(|t| t.seconds);
    let rate = run.info.usage.map(|usage| usage.rate.to_string());
    if let Some(seconds) = seconds {
        let time = duration(Duration::from_secs_f64(seconds.max(0.0)));
        tiles.push(("training time".into(), time, rate.unwrap_or_default()));
    }
    let size = format!("d = {}", run.config.model.dim);
    tiles.push(("parameters".into(), count(run.info.num_parameters), size));
    let mut out = String::from("<div class=\"tiles\">");
    for (what, value, note) in tiles {
        let _ = write!(
            out,
            "<div class=\"tile\"><p>{}</p><strong>{}</strong><small>{}</small></div>",
            escape(&what),
            escape(&value),
            escape(&note)
        );
    }
    out + "</div>"
}

/// Which colour is which run.
fn legend(runs: &[RunData]) -> String {
    let keys = runs.iter().enumerate().map(|(index, run)| {
        format!("<li><i class=\"key c{}\"></i>{}</li>", index % COLOURS, escape(&run.name))
    });
    format!("<ul class=\"legend\">{}</ul>", keys.collect::<String>())
}

/// The curves of all runs over steps.
fn curves(runs: &[RunData]) -> String {
    let series = |of: &dyn Fn(&RunData) -> Vec<(f64, f64)>, marked: bool| -> Vec<Series> {
        let runs = runs.iter().enumerate().map(|(index, run)| Series {
            label: if runs.len() > 1 { run.name.clone() } else { String::new() },
            colour: index % COLOURS,
            points: of(run),
            marked: marked.then(|| run.best().map_or(-1.0, |best| best.step as f64)),
        });
        runs.collect()
    };
    let draw = |title: &str, series: &[Series], unit: &str, span: Span, size: (f64, f64)| {
        let svg = Plot { title, series, unit, span, size }.svg();
        if svg.is_empty() { svg } else { format!("<figure>{svg}</figure>") }
    };
    let wide = (460.0, 240.0);
    let step = |x: u64| x as f64;
    let loss = series(&|run| run.train.iter().map(|t| (step(t.step), t.loss)).collect(), false);
    let rate = series(&|run| run.train.iter().map(|t| (step(t.step), t.rate.per_second())).collect(), false);
    let (compared, title_of_valid) = comparable(runs);
    let mean = |valid: &Valid| match &compared {
        Some(structures) => valid.mean_over(structures),
        None => Some(valid.mean_mrr),
    };
    let mrr = series(
        &|run| run.valid.iter().filter_map(|v| Some((step(v.step), 100.0 * mean(v)?))).collect(),
        true,
    );
    let learning = |run: &RunData| {
        run.train.iter().filter_map(|t| Some((step(t.step), t.learning_rate?))).collect::<Vec<_>>()
    };
    let mut out = String::from("<section><h2>Training</h2><div class=\"plots\">");
    out += &draw("loss", &loss, "", Span::FromZero, wide);
    out += &draw(&title_of_valid, &mrr, " %", Span::Fitted, wide);
    let mut units: Vec<&str> =
        runs.iter().filter_map(|run| run.train.last()).map(|t| t.rate.unit()).collect();
    units.sort_unstable();
    units.dedup();
    let title = format!("trained {} per second", units.join(" or "));
    out += &draw(&title, &rate, "", Span::FromZero, wide);
    out += &draw("learning rate", &series(&learning, false), "", Span::FromZero, wide);
    out += "</div><p class=\"hint\">Over steps. A large dot is the model that was kept.</p></section>";

    let mut structures: Vec<&str> = Vec::new();
    let mut top = 0f64;
    for (structure, mrr) in runs.iter().flat_map(|run| &run.valid).flat_map(|valid| &valid.mrr) {
        top = top.max(100.0 * mrr);
        if !structures.contains(&structure.as_str()) {
            structures.push(structure);
        }
    }
    if structures.is_empty() {
        return out;
    }
    out += "<section><h2>Valid MRR by structure</h2><div class=\"plots small\">";
    for structure in structures {
        let of = |run: &RunData| -> Vec<(f64, f64)> {
            let points = run.valid.iter().filter_map(|valid| {
                let (_, mrr) = valid.mrr.iter().find(|(name, _)| name == structure)?;
                Some((step(valid.step), 100.0 * mrr))
            });
            points.collect()
        };
        out += &draw(structure, &series(&of, true), " %", Span::UpTo(top), (220.0, 150.0));
    }
    out + "</div><p class=\"hint\">In percent, all on one scale.</p></section>"
}

/// The structures whose mean compares the runs on valid, where they have not all the same, and the title of its plot.
fn comparable(runs: &[RunData]) -> (Option<Vec<String>>, String) {
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
fn comparison(runs: &[RunData]) -> String {
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
fn differences(runs: &[RunData]) -> String {
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

/// The tables of a run's test.
fn results(run: &RunData, colour: usize) -> String {
    let Some(test) = &run.test else { return String::new() };
    let with_baseline = |rows: &[&Row]| rows.iter().any(|row| row.baseline.is_some());
    let rows: Vec<&Row> = test.structures.iter().map(|(_, row)| row).collect();
    let mut heads = vec!["structure", "", "MRR"];
    let baseline = with_baseline(&rows);
    heads.extend(baseline.then_some("baseline"));
    heads.extend(["H@1", "H@3", "H@10", "one link", "full inf.", "queries", "answers"]);
    let mut table = Table::new(heads.iter().map(ToString::to_string));
    let named = test.structures.iter().map(|(name, row)| (name.as_str(), false, row));
    for (name, strong, row) in named.chain(test.averages.iter().map(|(name, row)| (*name, true, row))) {
        let m = &row.metrics;
        let mut cells =
            vec![escape(name), bar(m.mrr, row.baseline.map(|b| b.mrr), colour), percent(Some(m.mrr))];
        cells.extend(baseline.then(|| percent(row.baseline.map(|b| b.mrr))));
        cells.extend([m.hits_at_1, m.hits_at_3, m.hits_at_10].map(|x| percent(Some(x))));
        cells.extend([row.one_link, row.full_inference].map(|part| percent(part.map(|m| m.mrr))));
        cells.extend([m.num_queries, m.num_answers].map(count));
        table.row(strong, cells);
    }
    let mut out = format!("<section><h2>Test, multi-hop, in percent</h2>{}", table.html());
    if baseline {
        out += "<p class=\"hint\">The mark in a bar is the frequency baseline's MRR; ▾ stands beside what is below it.</p>";
    }
    if !test.link_prediction.is_empty() {
        let mut heads = vec!["entities ranked", "", "MRR"];
        let baseline = test.link_prediction.iter().any(|(_, row)| row.baseline.is_some());
        heads.extend(baseline.then_some("baseline"));
        heads.extend(["H@1", "H@3", "H@10", "answers"]);
        let mut table = Table::new(heads.iter().map(ToString::to_string));
        for (name, row) in &test.link_prediction {
            let m = &row.metrics;
            let mut cells =
                vec![name.to_string(), bar(m.mrr, row.baseline.map(|b| b.mrr), colour), percent(Some(m.mrr))];
            cells.extend(baseline.then(|| percent(row.baseline.map(|b| b.mrr))));
            cells.extend([m.hits_at_1, m.hits_at_3, m.hits_at_10].map(|x| percent(Some(x))));
            cells.push(count(m.num_answers));
            table.row(*name == "both directions", cells);
        }
        let _ = write!(out, "<h2>Test, link prediction, in percent</h2>{}", table.html());
    }
    let protocol: Vec<String> = test.protocol.split("; ").map(escape).collect();
    let _ = write!(out, "<p class=\"hint\">{}.</p>", protocol.join("; "));
    for note in &test.notes {
        let _ = write!(out, "<p class=\"hint\">Note: {}</p>", escape(note));
    }
    out + "</section>"
}

/// Dataset, machine, configuration and how to do it again.
fn facts(run: &RunData) -> String {
    let info = &run.info;
    let mut machine: Vec<(String, String)> = vec![("device".into(), info.device.clone())];
    let mut add =
        |what: &str, value: Option<String>| machine.extend(value.map(|value| (what.to_string(), value)));
    add("processor", info.machine.processor.clone());
    add("cores", Some(count(info.machine.cores)).filter(|_| info.machine.cores > 0));
    add("memory", info.machine.memory_bytes.map(bytes));
    add("system", Some(info.machine.system.clone()).filter(|system| !system.is_empty()));
    if let Some(usage) = &info.usage {
        add("trained per second", Some(usage.rate.to_string()));
        add("allocated memory, most", Some(bytes(usage.anonymous_bytes)));
        add("mapped pages, most", Some(bytes(usage.mapped_bytes)));
        add("page faults, minor", Some(count(usage.page_faults.minor)));
        add("page faults, major", Some(count(usage.page_faults.major)));
    }
    format!(
        "<section class=\"columns\"><div><h2>Dataset</h2>{}</div><div><h2>Machine</h2>{}</div></section>\
         <section><h2>Do it again</h2><p>Save the configuration as <code>config.toml</code> (it is in the run folder too), then:</p>\
         <pre>smore train --config config.toml</pre>\
         <p class=\"hint\">smore {}, graph {}. The same bits on the same instruction set, whatever the number of threads.</p>\
         <details><summary>Configuration</summary><pre>{}</pre></details></section>",
        pairs(&with_name(&run.info.dataset, &run.dataset)),
        pairs(&machine),
        escape(&info.version),
        escape(&info.graph),
        escape(&run.config.to_toml()),
    )
}

fn with_name(dataset: &str, rows: &[(String, String)]) -> Vec<(String, String)> {
    [("name".to_string(), dataset.to_string())].into_iter().chain(rows.iter().cloned()).collect()
}
