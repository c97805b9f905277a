//! The page: what came out first, then the curves, the tables, and what is needed to do it again.

use super::answers::{calibrations, examples};
use super::compare::{comparable, comparison, differences};
use super::data::{Row, RunData, Valid};
use super::escape;
use super::plot::{COLOURS, Plot, Series, Span};
use super::table::{Table, bar, pairs, percent};
use crate::table::{bytes, count, counted, duration};
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
        out += &examples(run);
        out += &calibrations(run);
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
        (Some(_), true) => format!("finished, {}", counted(done, "step", "steps")),
        (Some(_), false) => {
            format!("ended early, after {} of {}", count(done), counted(steps, "step", "steps"))
        }
        (None, _) => format!("not finished, {} of {}", count(done), counted(steps, "step", "steps")),
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
