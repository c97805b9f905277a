//! Datasets whose triples are numbers: maps, counts and the triples themselves.

use crate::dataset::format::ids;
use crate::dataset::format::inverses::{DOUBLED, Mirror, Pairs, undirected};
use crate::dataset::format::lines::BadLines;
use crate::dataset::format::maps::{InOrder, MapFormat};
use crate::dataset::inventory::{Input, Inventory, Role};
use crate::dataset::source::{Blocks, Source};
use crate::error::{Error, Result};
use crate::graph::vocabulary::Vocabulary;
use crate::graph::{GraphBuilder, Split, Subject};
use crate::table::counted;

impl Inventory {
    /// Declares the names of a map, in the order of their ids.
    pub(super) fn ids(
        &self,
        subject: Subject,
        format: MapFormat,
        mut source: Source,
        bad: &mut BadLines,
        ids: &mut Ids,
        builder: &mut GraphBuilder,
    ) -> Result<Source> {
        let path = source.path().to_path_buf();
        let doubled =
            format == MapFormat::Pickle && subject == Subject::Relation && self.is_doubled(bad, ids)?;
        let by_names =
            self.inputs.iter().any(|i| i.role == Role::Triples(Split::Train) && !i.format.is_ids());
        let mut before = String::new();
        let mut number = 0u32;
        let mut in_order = InOrder::new(|name: &str| {
            number += 1;
            if doubled && number % 2 == 1 {
                before = name.to_owned();
                return Ok(());
            }
            let forward = before.strip_prefix('+').filter(|f| name.strip_prefix('-') == Some(f));
            let name = if doubled { forward.unwrap_or(&before) } else { name };
            if by_names {
                ids.names[subject as usize].intern(name)?;
            }
            builder.declare(subject, name).map(|_| ())
        });
        let mut stated = None;
        if format == MapFormat::Csv {
            in_order.csv(&path, &mut source)?;
        } else if format == MapFormat::Pickle {
            in_order.pickle(&path, &source.read_all()?)?;
        } else {
            let mut blocks = Blocks::new(source);
            while let Some(block) = blocks.next()? {
                in_order.lines(block, format, &path, &mut stated)?;
            }
            source = blocks.into_source();
        }
        let count = in_order.finish(&path)?;
        if let Some(stated) = stated.filter(|&stated| stated != count) {
            return Err(Error::file(&path, format!("its first line says {stated} names, found {count}")));
        }
        if doubled && count % 2 == 1 {
            let message = format!(
                "train has each fact in both directions, but {count} relations are no pairs: name every relation here, \
                     the inverse ones too, or leave the inverse triples out of all files"
            );
            return Err(Error::file(&path, message));
        }
        ids.counts[subject as usize] = count;
        ids.doubled |= doubled;
        Ok(source)
    }

    /// Declares as many decimal names as a file of counts says.
    pub(super) fn counts(
        &self,
        mut source: Source,
        bad: &mut BadLines,
        ids: &mut Ids,
        builder: &mut GraphBuilder,
    ) -> Result<Source> {
        let path = source.path().to_path_buf();
        let [entities, mut relations] = ids::stated_counts(&source.read_all()?)
            .ok_or_else(|| Error::file(&path, "expected `numentity: N` and `numrelations: R`"))?;
        let most = self.most_ids();
        for (number, key) in [(entities, "numentity"), (relations, "numrelations")] {
            if u64::from(number) > most {
                let message = format!(
                    "{key}: {number} is far more than the triples beside it can have: correct the number, or remove the \
                     file if the numbers in the triples are names"
                );
                return Err(Error::file(&path, message));
            }
        }
        ids.doubled = self.is_doubled(bad, ids)?;
        ids.counts = [entities, relations];
        if ids.doubled {
            relations = relations.div_ceil(2);
        }
        for (subject, count) in [(Subject::Entity, entities), (Subject::Relation, relations)] {
            let mut digits = itoa::Buffer::new();
            (0..count).try_for_each(|id| builder.declare(subject, digits.format(id)).map(drop))?;
        }
        Ok(source)
    }

    /// More ids than the triples of the dataset can have by far, by the size of their files: one that is larger is a slip, and
    /// every id below it would become an entity.
    pub(super) fn most_ids(&self) -> u64 {
        /// Bytes of the shortest triple: `0 0 0` and the end of its line.
        const TRIPLE: u64 = 6;
        /// Ids for each triple. Compressed files hold more of them than their size tells.
        const PER_TRIPLE: u64 = 200;
        let triples = self.inputs.iter().filter(|input| matches!(input.role, Role::Triples(_)));
        let paths = triples.flat_map(|input| [Some(&input.path), input.beside.as_ref()]).flatten();
        let bytes = |path: &std::path::PathBuf| std::fs::metadata(path).map_or(u64::MAX, |file| file.len());
        let bytes = paths.map(bytes).fold(0, u64::saturating_add);
        (bytes / TRIPLE).saturating_mul(PER_TRIPLE).max(1 << 20)
    }

    /// Whether the numbers of train hold nearly each fact in both directions. Reads train once, where that is so exactly, with
    /// O(1) memory; else twice.
    fn is_doubled(&self, bad: &mut BadLines, ids: &mut Ids) -> Result<bool> {
        let mut mirror = Mirror::default();
        self.numbers_of_train(|triple| mirror.see(triple))?;
        ids.mirrored = mirror.is_whole();
        if ids.mirrored {
            return Ok(true);
        }
        let mut pairs = Pairs::new(mirror.triples());
        self.numbers_of_train(|triple| {
            pairs.see(triple);
        })?;
        let (both, all) = pairs.counts();
        let share = both as f64 / all.max(1) as f64;
        let (inverse, others): (Vec<_>, Vec<_>) =
            pairs.by_relation().into_iter().partition(|(_, both, all)| 2 * both >= *all);
        // A fact that lacks its other direction is a slip; relations with several of them are no pair.
        let unlike: Vec<_> = others.into_iter().filter(|(_, _, all)| *all > 1).collect();
        if share >= DOUBLED && unlike.is_empty() {
            return Ok(true);
        }
        let list = |pairs: &[(u32, u64, u64)]| {
            let named = |(k, both, all): &(u32, u64, u64)| {
                format!("{} and {} ({both} of {all} facts)", 2 * k, 2 * k + 1)
            };
            let more = match pairs.len() {
                0..=3 => String::new(),
                count => format!(" and {} more", counted(count - 3, "pair", "pairs")),
            };
            pairs.iter().take(3).map(named).collect::<Vec<_>>().join(", ") + &more
        };
        if !inverse.is_empty() {
            let why = match share >= DOUBLED {
                true => format!("relations {} do not", list(&unlike)),
                false => format!(
                    "only {:.2} % of all facts of train are given in both directions, less than {:.0} %",
                    (1e4 * share).floor() / 1e2,
                    100.0 * DOUBLED
                ),
            };
            bad.remarks.push(format!(
                "relations {} look like each other's inverses, but {why}: every relation is kept as one of its own, and \
                 each gets an inverse besides",
                list(&inverse)
            ));
        }
        Ok(false)
    }

    /// Calls `see` with the numbers of train. Bad lines are passed over: the import of train reports them.
    fn numbers_of_train(&self, mut see: impl FnMut([u32; 3])) -> Result<()> {
        let train = self.inputs.iter().find(|input| input.role == Role::Triples(Split::Train));
        let Some(train) = train else { return Ok(()) };
        let mut passed_over = BadLines::new(&train.path, true);
        let mut blocks = Blocks::new(Source::open(train)?);
        while let Some(block) = blocks.next()? {
            ids::triples(block, train.layout, [u32::MAX; 2], &mut passed_over, &mut None, |triple| {
                see(triple);
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Triples of numbers. Where train has each fact in both directions, a fact is taken once, whichever it is given in.
    pub(super) fn numbers(
        &self,
        input: &Input,
        source: Source,
        bad: &mut BadLines,
        ids: &Ids,
        mut take: impl FnMut(u32, u32, u32) -> Result<()>,
    ) -> Result<Source> {
        // Where train is known to have each fact in both directions, the even half of it is enough.
        let is_half = ids.mirrored && input.role == Role::Triples(Split::Train);
        let mut pairs = (ids.doubled && !is_half).then(|| Pairs::new(0));
        let (mut stated, mut count) = (None, 0);
        let mut blocks = Blocks::new(source);
        while let Some(block) = blocks.next()? {
            ids::triples(block, input.layout, ids.counts, bad, &mut stated, |triple| {
                count += 1;
                if !ids.doubled {
                    return take(triple[0], triple[1], triple[2]);
                }
                let is_new = match &mut pairs {
                    Some(pairs) => pairs.see(triple),
                    None => triple[1] % 2 == 0,
                };
                let [head, relation, tail] = undirected(triple);
                if is_new { take(head, relation, tail) } else { Ok(()) }
            })?;
        }
        if let Some((both, all)) = pairs.as_ref().map(Pairs::counts).filter(|(both, all)| both < all) {
            bad.remarks.push(format!(
                "{} of {all} facts are given in one direction only, and were taken from it",
                all - both
            ));
        }
        if let Some(stated) = stated.filter(|&stated| stated != count + bad.skipped) {
            let message = format!("its first line says {stated} triples, found {count}; get the file again");
            return Err(Error::file(bad.path(), message));
        }
        Ok(blocks.into_source())
    }
}

/// What is known of a dataset that has its own ids.
#[derive(Debug, Default)]
pub(super) struct Ids {
    /// Numbers of entities and relations, by [`Subject`].
    pub(super) counts: [u32; 2],
    /// Whether relations 2k and 2k + 1 are each other's inverses.
    doubled: bool,
    /// Whether train has each of its facts in both directions then, without exception.
    mirrored: bool,
    /// The names, where triples are written with them.
    pub(super) names: [Vocabulary; 2],
}

impl Ids {
    /// The ids of a triple's names, or what is wrong with them.
    pub(super) fn find(&self, [head, relation, tail]: [&str; 3]) -> std::result::Result<[u32; 3], String> {
        let find = |subject: Subject, name: &str| {
            self.names[subject as usize]
                .get(name)
                .ok_or_else(|| format!("{name:?} has no id: its map lacks it"))
        };
        Ok([find(Subject::Entity, head)?, find(Subject::Relation, relation)?, find(Subject::Entity, tail)?])
    }
}
