//! Documents, assignments, defaults and refusals.

use super::*;

fn set(assignments: &[&str]) -> Result<Config> {
    Config::load(None, &assignments.iter().map(|s| s.to_string()).collect::<Vec<_>>())
}

#[test]
fn later_assignments_win_and_strings_need_no_quotes() {
    assert_eq!(set(&["training.network_rate=.25"]).unwrap().training.network_rate, 0.25);
    let config = set(&["model.dim=8", "model.dim=16", "model.name=query2box", "model.norm=l2"]).unwrap();
    assert_eq!(
        (config.model.dim, config.model.name.as_str(), config.model.norm),
        (16, "query2box", Norm::L2)
    );
    assert_eq!(config.model.gamma(), 9.0);
}

#[test]
fn a_resolved_configuration_is_a_configuration() {
    let config = set(&["training.steps=7", "model.gamma=6.5"]).unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), config.to_toml()).unwrap();
    assert_eq!(Config::load(Some(file.path()), &[]).unwrap(), config);
}

#[test]
fn unknown_keys_and_bad_values_are_refused_by_name() {
    for (assignment, expected) in [
        ("model.dimension=8", "unknown key model.dimension (did you mean model.dim?)"),
        ("modle.dim=8", "unknown key modle.dim (did you mean model.dim?)"),
        ("dim=8", "unknown key dim (did you mean model.dim?)"),
        ("training.dim=8", "did you mean model.dim?"),
        ("training.stepps=8", "did you mean training.steps?"),
        ("zzz.qqq=8", "unknown key zzz.qqq: "),
        ("model.n3=0.1", "model.n3 has become model.regulariser"),
        ("model.regularise_entities=-1", "model.regularise_entities"),
        ("model.regulariser=n4", "model.regulariser"),
        ("model=gqe", "model is a table"),
        ("sampling.workers=1025", "from 0 to 1,024"),
        ("training.learning_rate=-1", "learning_rate"),
        ("training.epochs=0", "epochs"),
        ("model.dim", "key.path=value"),
    ] {
        let message = set(&[assignment]).unwrap_err().to_string();
        assert!(message.contains(expected), "{assignment}: {message}");
    }
    assert!(set(&["training.steps=1", "training.epochs=1"]).unwrap_err().to_string().contains("not both"));
}

#[test]
fn a_value_that_is_not_allowed_is_reported_with_its_key_and_what_is_allowed() {
    for (assignment, expected) in [
        ("model.dim=many", "model.dim = \"many\": expected a whole number from 1 to 1,048,576"),
        ("model.dim=0", "model.dim = 0: expected a whole number from 1 to 1,048,576"),
        ("model.dim=1.5", "model.dim = 1.5: expected a whole number from 1 to 1,048,576"),
        ("training.steps=-1", "training.steps = -1: expected a whole number from 1 on"),
        ("training.learning_rate=nan", "training.learning_rate = nan: expected a number above 0"),
        ("training.learning_rate=1e300", "training.learning_rate = 1e300: expected a number above 0"),
        ("training.epochs=inf", "training.epochs = inf: expected a number above 0"),
        ("model.dropout_entity=1", "model.dropout_entity = 1: expected a number from 0 to below 1"),
        ("model.inside=true", "model.inside = true: expected a number"),
        ("evaluation.link_prediction=yes", "evaluation.link_prediction = \"yes\": expected true or false"),
        (
            "training.loss=crossentropie",
            "training.loss = \"crossentropie\": expected cross-entropy, logistic or margin (did you mean cross-entropy?)",
        ),
        ("training.table=tape", "training.table = \"tape\": expected memory or file"),
    ] {
        let message = set(&[assignment]).unwrap_err().to_string();
        assert_eq!(message, format!("configuration: {expected}"));
    }
}

#[test]
fn a_misspelt_model_gets_the_names_of_all() {
    let message = set(&["model.name=quarry2box"]).unwrap_err().to_string();
    let [others @ .., last] = crate::model::NAMES;
    let names = format!("{} or {last}", others.join(", "));
    assert_eq!(
        message,
        format!("configuration: model.name = \"quarry2box\": expected {names} (did you mean query2box?)")
    );
}

#[test]
fn names_have_any_case_and_whole_numbers_any_form() {
    for (given, name) in
        [("GQE", "gqe"), ("Query2Box", "query2box"), ("BetaE", "betae"), ("ComplEx", "complex")]
    {
        assert_eq!(set(&[&format!("model.name={given}")]).unwrap().model.name, name);
    }
    assert_eq!(set(&["model.name=BetaE"]).unwrap().training.adversarial_temperature, 0.1);
    let config = set(&["training.loss=Cross_Entropy", "training.steps=1e5", "data.dataset=123"]).unwrap();
    assert_eq!(config.training.loss, Some(Loss::CrossEntropy));
    assert_eq!((config.training.steps, config.data.dataset.as_str()), (Some(100_000), "123"));
    assert_eq!(set(&["training.objective=1vsAll"]).unwrap().training.objective, Objective::OneVsAll);
}

#[test]
fn a_model_has_defaults_of_its_own_which_a_document_and_assignments_replace() {
    let negation = |config: &Config| config.sampling.structures.contains("2in");
    let config = set(&["model.name=betae"]).unwrap();
    assert!(negation(&config) && config.model.gamma() == 60.0);
    assert_eq!(config.training.adversarial_temperature, 0.1);
    assert!(!negation(&set(&["model.name=gqe"]).unwrap()));
    let loss = |more: &[&str]| {
        let config = set(&[&["model.name=complex"], more].concat()).unwrap();
        (config.training.loss(), config.training.learning_rate)
    };
    assert_eq!(loss(&[]), (Loss::CrossEntropy, 0.01));
    assert_eq!(loss(&["training.loss=logistic"]), (Loss::Logistic, 0.01));
    assert_eq!(loss(&["training.objective=kvsall"]), (Loss::Logistic, 3e-3));
    let given = set(&["sampling.structures=1p", "model.name=betae"]).unwrap();
    assert_eq!(given.sampling.structures, "1p");
    let again = config.with(&["training.adversarial_temperature=0.5".into()]).unwrap();
    assert_eq!((again.training.adversarial_temperature, negation(&again)), (0.5, true));
}

#[test]
fn a_given_length_replaces_that_of_the_document() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "[training]\nepochs = 3\n").unwrap();
    let config = Config::load(Some(file.path()), &["training.steps=7".into()]).unwrap();
    assert_eq!((config.training.steps, config.training.epochs), (Some(7), None));
    let longer = config.with(&["training.epochs=2".into()]).unwrap();
    assert_eq!((longer.training.steps, longer.training.epochs), (None, Some(2.0)));
    assert_eq!(config.with(&[]).unwrap(), config);
}

#[test]
fn a_stored_configuration_leaves_nothing_to_defaults() {
    let explicit = set(&[]).unwrap().explicit();
    assert_eq!((explicit.model.gamma, explicit.training.epochs), (Some(9.0), Some(DEFAULT_EPOCHS)));
    let steps = set(&["training.steps=7"]).unwrap().explicit();
    assert_eq!((steps.training.steps, steps.training.epochs), (Some(7), None));
}

#[test]
fn schedules_go_from_the_full_rate_to_its_final_share() {
    let at = |schedule, step| {
        TrainingConfig { schedule, learning_rate: 2.0, final_rate: 0.5, ..Default::default() }
            .rate_at(step, 101, 0)
    };
    let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a}, not {b}");
    for schedule in [Schedule::Linear, Schedule::Cosine, Schedule::Step] {
        close(at(schedule, 1), 2.0);
        close(at(schedule, 101), 1.0);
        assert!((1..101).all(|step| at(schedule, step) >= at(schedule, step + 1)), "{schedule:?} falls");
    }
    close(at(Schedule::Linear, 51), 1.5);
    close(at(Schedule::Cosine, 51), 1.5);
    close(at(Schedule::Cosine, 26), 1.0 + 0.5 * (1.0 + 0.5f64.sqrt()));
    let rates: std::collections::BTreeSet<u64> = (1..=101).map(|s| at(Schedule::Step, s).to_bits()).collect();
    assert_eq!(rates.len(), 10);
    assert!((1..=101).all(|step| at(Schedule::Constant, step) == 2.0));
    let warm =
        TrainingConfig { warm_up: 4, schedule: Schedule::Constant, learning_rate: 2.0, ..Default::default() };
    assert_eq!([1, 2, 3, 4, 5].map(|step| warm.rate_at(step, 101, 0)), [0.5, 1.0, 1.5, 2.0, 2.0]);
    let plateau = TrainingConfig { schedule: Schedule::Plateau, plateau_factor: 0.25, ..warm };
    assert_eq!([0, 1, 2].map(|plateaus| plateau.rate_at(50, 101, plateaus)), [2.0, 0.5, 0.125]);
}

#[test]
fn objectives_refuse_what_they_do_not_have() {
    for (assignments, expected) in [
        (
            &["training.objective=kvsall", "training.loss=margin"][..],
            "training.objective = queries or negatives",
        ),
        (&["training.objective=1vsall", "training.loss=margin"], "training.objective = queries or negatives"),
        (&["training.loss=margin", "training.margin=inf"], "training.margin"),
        (&["training.relation_prediction=0.1"], "training.relation_prediction"),
        (&["training.objective=1vsall", "training.relation_prediction=-1"], "training.relation_prediction"),
        (&["training.label_smoothing=0.1"], "training.label_smoothing"),
        (&["training.objective=kvsall", "training.label_smoothing=1.5"], "training.label_smoothing"),
        (&["model.dropout_entity=0.1"], "model.dropout_entity"),
        (&["training.objective=1vsall", "model.dropout_relation=1"], "dropout_relation"),
        (
            &["training.objective=1vsall", "model.dropout_hidden=0.1"],
            "model.dropout_hidden is for conve, and this is",
        ),
        (&["model.name=conve", "model.batch_norm=true"], "model.batch_norm is for conve with"),
        (&["training.objective=1vsall", "training.table=file"], "training.table = memory"),
        (&["training.optimizer=sgd", "training.table=file"], "training.table = memory"),
        (&["training.schedule=step", "training.final_rate=0"], "training.final_rate"),
        (&["model.regulariser=l2", "model.regularise_by=table"], "model.regularise_by = frequency"),
        (&["training.schedule=plateau", "training.plateau_factor=1"], "training.plateau_factor"),
        (&["training.schedule=plateau", "training.plateau_patience=0"], "training.plateau_patience"),
        (&["training.clip_norm=-1"], "training.clip_norm"),
        (&["model.name=tucker", "model.relation_dim=0"], "model.relation_dim"),
    ] {
        let message = set(assignments).unwrap_err().to_string();
        assert!(message.contains(expected), "{assignments:?}: {message}");
    }
    let of = |objective: &str| set(&[&format!("training.objective={objective}")]).unwrap().training;
    let losses = ["queries", "negatives", "1vsall", "kvsall"].map(|objective| of(objective).loss());
    assert_eq!(losses, [Loss::Logistic, Loss::Logistic, Loss::CrossEntropy, Loss::Logistic]);
    let weighting = ["queries", "negatives"].map(|objective| of(objective).query_weighting());
    assert_eq!(weighting, [QueryWeighting::Answers, QueryWeighting::Uniform]);
    let regulariser = |assignments: &[&str]| set(assignments).unwrap().explicit().model.regulariser;
    assert_eq!(regulariser(&["model.name=complex"]), Some(Regulariser::N3));
    assert_eq!(regulariser(&["model.name=gqe"]), Some(Regulariser::None));
    assert_eq!(regulariser(&["model.name=complex", "training.objective=1vsall"]), Some(Regulariser::None));
}

#[test]
fn epochs_count_directed_edges() {
    let mut training = TrainingConfig { batch_size: 10, epochs: Some(2.0), ..TrainingConfig::default() };
    assert_eq!(training.num_steps(101), 21);
    training.steps = Some(5);
    assert_eq!(training.num_steps(101), 5);
}
