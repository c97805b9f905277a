//! What a step of single-hop training has on the device, beside the tables.

use super::Shape;
use crate::backend::{Backend, DeviceGroups};
use crate::error::Result;
use crate::model::{Model, Workspace, allocate};
use crate::sampler::{Groups, SingleBatch};

pub(super) struct Buffers<B: Backend> {
    pub head_rows: B::Index,
    /// The relation of each row; where rows share them, each relation once.
    pub relation_rows: B::Index,
    pub head_groups: DeviceGroups<B>,
    pub relation_groups: DeviceGroups<B>,
    /// Where rows share relations, `relation_groups` with the places of relations in `relation_rows`.
    pub shared: Option<DeviceGroups<B>>,
    /// The heads' slots: 0, 1, ..
    pub inputs: B::Index,
    pub label_offsets: B::Index,
    pub labels: B::Index,
    pub heads: B::Buffer,
    pub dheads: B::Buffer,
    pub relations: B::Buffer,
    pub drelations: B::Buffer,
    /// Heads as query embeddings, then the queries.
    pub slots: B::Buffer,
    pub dslots: B::Buffer,
    /// What the projection keeps for its backward pass.
    pub work: Workspace<B>,
    /// Gradients of the model's dense parameters; of those that a projection does not use, nothing.
    pub ddense: Vec<B::Buffer>,
    /// Entity rows with dropout.
    pub table: B::Buffer,
    pub dtable: B::Buffer,
    /// The entities' gradient from one tile, to be added.
    pub dtile: B::Buffer,
    pub drelation_table: B::Buffer,
    pub scores: B::Buffer,
    pub kept_scores: B::Buffer,
    pub zeros: B::Buffer,
    pub row_weights: B::Buffer,
}

impl<B: Backend> Buffers<B> {
    /// Allocates everything.
    pub fn new(backend: &B, model: &dyn Model<B>, shape: &Shape) -> Result<Self> {
        let Shape { rows, entities, relations, tile, entity, relation, query, .. } = *shape;
        let groups = || -> Result<DeviceGroups<B>> {
            let empty = || backend.index(&[]);
            Ok(DeviceGroups { ids: empty()?, offsets: empty()?, members: empty()? })
        };
        let only = |needed: bool, len: usize| backend.zeros(if needed { len } else { 0 });
        let used = model.projection_dense();
        let dense = model.dense().into_iter().enumerate();
        Ok(Buffers {
            head_rows: backend.index(&[])?,
            relation_rows: backend.index(&[])?,
            head_groups: groups()?,
            relation_groups: groups()?,
            shared: shape.shares_relations.then(groups).transpose()?,
            inputs: backend.index(&[])?,
            label_offsets: backend.index(&[])?,
            labels: backend.index(&[])?,
            heads: backend.zeros(rows * entity)?,
            dheads: backend.zeros(rows * entity)?,
            relations: backend.zeros(shape.relation_rows * relation)?,
            drelations: backend.zeros(shape.relation_rows * relation)?,
            slots: backend.zeros(2 * rows * query)?,
            dslots: backend.zeros(2 * rows * query)?,
            work: allocate(backend, &model.project_workspace(rows, shape.relation_rows, true))?,
            ddense: dense.map(|(i, s)| only(used.contains(&i), s.rows * s.cols)).collect::<Result<_>>()?,
            table: only(shape.copies_table, entities * entity)?,
            dtable: backend.zeros(entities * entity)?,
            dtile: only(shape.tiled, entities * entity)?,
            drelation_table: backend.zeros(relations * relation)?,
            scores: backend.zeros(tile * entities)?,
            kept_scores: only(shape.keeps_scores, tile * entities)?,
            zeros: backend.zeros(entities)?,
            row_weights: backend.zeros(rows)?,
        })
    }

    /// Copies the ids of a batch to the device.
    pub fn set(&mut self, backend: &B, batch: &SingleBatch) -> Result<()> {
        backend.set_index(&batch.heads, &mut self.head_rows)?;
        let Groups { ids, offsets, members } = &batch.relation_groups;
        if let Some(shared) = &mut self.shared {
            backend.set_index(ids, &mut self.relation_rows)?;
            backend.set_index(&(0..ids.len() as u32).collect::<Vec<_>>(), &mut shared.ids)?;
            backend.set_index(offsets, &mut shared.offsets)?;
            backend.set_index(members, &mut shared.members)?;
        } else {
            backend.set_index(&batch.relations, &mut self.relation_rows)?;
        }
        for (from, to) in
            [(&batch.head_groups, &mut self.head_groups), (&batch.relation_groups, &mut self.relation_groups)]
        {
            let Groups { ids, offsets, members } = from;
            backend.set_index(ids, &mut to.ids)?;
            backend.set_index(offsets, &mut to.offsets)?;
            backend.set_index(members, &mut to.members)?;
        }
        let inputs: Vec<u32> = (0..batch.rows() as u32).collect();
        backend.set_index(&inputs, &mut self.inputs)?;
        backend.set_index(&batch.label_offsets, &mut self.label_offsets)?;
        backend.set_index(&batch.labels, &mut self.labels)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::losses;
    use super::super::regularise::Regulariser;
    use super::super::relations::RelationPrediction;
    use super::*;
    use crate::backend::Reference;
    use crate::config::Config;
    use crate::model;

    #[test]
    fn the_numbers_that_a_shape_foresees_are_those_that_are_allocated() {
        for name in model::NAMES {
            let dropout = &["model.dropout_entity=0.1", "training.objective=kvsall"];
            let both =
                &["model.dropout_relation=0.1", "training.relation_prediction=0.5", "model.regulariser=l2"];
            let multilinear = ["complex", "distmult", "rescal", "tucker"].contains(&name);
            for more in [&[][..], dropout, both].into_iter().take(if multilinear { 3 } else { 2 }) {
                let mut set = vec![format!("model.name={name}"), "model.dim=6".into()];
                set.extend(["training.objective=1vsall", "training.batch_size=10"].map(String::from));
                set.extend(more.iter().map(|s| s.to_string()));
                let config = Config::resolve(None, &set).unwrap();
                let model = model::create::<Reference>(&config.model).unwrap();
                for tile in [3, 1000] {
                    let shape = Shape::with_tile(&*model, 17, 8, &config, tile);
                    let b = Buffers::new(&Reference, &*model, &shape).unwrap();
                    let all = [
                        &b.heads,
                        &b.dheads,
                        &b.relations,
                        &b.drelations,
                        &b.slots,
                        &b.dslots,
                        &b.table,
                        &b.dtable,
                        &b.dtile,
                        &b.drelation_table,
                        &b.scores,
                        &b.kept_scores,
                        &b.zeros,
                        &b.row_weights,
                    ];
                    let weight = f64::from(config.training.relation_prediction);
                    let prediction = RelationPrediction::new(&Reference, &*model, &shape, weight).unwrap();
                    let regulariser = Regulariser::new(&Reference, &*model, &shape, &config).unwrap();
                    assert_eq!(prediction.is_some(), weight > 0.0);
                    let more_of = [
                        prediction.iter().flat_map(RelationPrediction::buffers).collect::<Vec<_>>(),
                        regulariser.iter().flat_map(Regulariser::buffers).collect(),
                    ];
                    let all = all.into_iter().chain(&b.work).chain(&b.ddense);
                    let allocated: usize = all.chain(more_of.concat()).map(Vec::len).sum();
                    let losses = losses::numbers(&shape.losses());
                    assert_eq!(shape.len(), allocated + losses, "{name}, {more:?}, tile {tile}");
                }
            }
        }
    }
}
