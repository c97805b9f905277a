//! How true each entity is at a node of a query.

use super::norm::TNorm;
use crate::ids::EntityId;

/// A truth value for each entity: those listed, and one for all others.
///
/// The others are 0 but behind a negation, so that neither side of one lists all entities.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Values {
    /// Entities, ascending, with their truth.
    pub list: Vec<(EntityId, f32)>,
    /// The truth of every entity that is not listed.
    pub others: f32,
}

impl Values {
    /// One entity, and no other.
    pub fn anchor(entity: EntityId) -> Self {
        Values { list: vec![(entity, 1.0)], others: 0.0 }
    }

    /// The truth of an entity. O(log of those listed).
    pub fn of(&self, entity: EntityId) -> f32 {
        self.list.binary_search_by_key(&entity, |(e, _)| *e).map_or(self.others, |at| self.list[at].1)
    }

    /// Each entity's truth becomes `1 - min(1, scale x)`.
    pub fn negate(mut self, scale: f32) -> Self {
        let negated = |x: f32| 1.0 - (scale * x).min(1.0);
        self.list.iter_mut().for_each(|(_, value)| *value = negated(*value));
        self.others = negated(self.others);
        self
    }

    /// The truth of both, entity by entity.
    pub fn and(&self, other: &Values, norm: TNorm) -> Self {
        self.join(other, |x, y| norm.and(x, y))
    }

    /// The truth of either, entity by entity.
    pub fn or(&self, other: &Values, norm: TNorm) -> Self {
        self.join(other, |x, y| norm.or(x, y))
    }

    fn join(&self, other: &Values, join: impl Fn(f32, f32) -> f32) -> Self {
        let others = join(self.others, other.others);
        let (mut i, mut j, mut list) = (0, 0, Vec::with_capacity(self.list.len().max(other.list.len())));
        loop {
            let (entity, value) = match (self.list.get(i), other.list.get(j)) {
                (Some(a), Some(b)) if a.0 == b.0 => (a.0, join(a.1, b.1)),
                (Some(a), b) if b.is_none_or(|b| a.0 < b.0) => (a.0, join(a.1, other.others)),
                (_, Some(b)) => (b.0, join(self.others, b.1)),
                (_, None) => break,
            };
            i += usize::from(self.list.get(i).is_some_and(|a| a.0 == entity));
            j += usize::from(other.list.get(j).is_some_and(|b| b.0 == entity));
            if value != others {
                list.push((entity, value));
            }
        }
        Values { list, others }
    }

    /// The entities that are not false, ascending, with their truth; of more than `most` the truest, of equal ones those with the
    /// lowest ids.
    pub fn bindings(&self, num_entities: usize, most: usize) -> Vec<(EntityId, f32)> {
        let mut bindings: Vec<(EntityId, f32)> = match self.others > 0.0 {
            false => self.list.iter().copied().filter(|(_, value)| *value > 0.0).collect(),
            true => {
                let listed = &mut self.list.iter().peekable();
                let mut unlisted = 0;
                let each = (0..num_entities as u32).map(EntityId).filter_map(|entity| {
                    match listed.next_if(|(listed, _)| *listed == entity) {
                        Some(&(_, value)) => (value > 0.0).then_some((entity, value)),
                        // Of entities that are equally true, more than `most` are never needed.
                        None => {
                            unlisted += 1;
                            (unlisted <= most).then_some((entity, self.others))
                        }
                    }
                });
                each.collect()
            }
        };
        if bindings.len() > most {
            bindings.select_nth_unstable_by(most, |a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            bindings.truncate(most);
            bindings.sort_unstable_by_key(|(entity, _)| *entity);
        }
        bindings
    }

    /// The truest entity, of equal ones that with the lowest id; `None` where all are false.
    pub fn best(&self, num_entities: usize) -> Option<(EntityId, f32)> {
        self.bindings(num_entities, 1).first().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(list: &[(u32, f32)], others: f32) -> Values {
        Values { list: list.iter().map(|&(entity, value)| (EntityId(entity), value)).collect(), others }
    }

    #[test]
    fn both_and_either_are_taken_entity_by_entity() {
        let (a, b) = (values(&[(1, 0.5), (3, 0.4)], 0.0), values(&[(1, 0.5), (2, 0.25)], 0.0));
        assert_eq!(a.and(&b, TNorm::Product), values(&[(1, 0.25)], 0.0));
        assert_eq!(a.or(&b, TNorm::Minimum), values(&[(1, 0.5), (2, 0.25), (3, 0.4)], 0.0));
        let not_b = b.negate(2.0);
        assert_eq!(not_b, values(&[(1, 0.0), (2, 0.5)], 1.0));
        assert_eq!(a.and(&not_b, TNorm::Product), values(&[(3, 0.4)], 0.0));
        assert_eq!(not_b.and(&not_b, TNorm::Product), values(&[(1, 0.0), (2, 0.25)], 1.0));
        assert_eq!([not_b.of(EntityId(2)), not_b.of(EntityId(9))], [0.5, 1.0]);
    }

    #[test]
    fn the_truest_bindings_are_kept_equal_ones_by_id() {
        let ids = |values: &Values, most| -> Vec<u32> {
            values.bindings(6, most).iter().map(|(entity, _)| entity.0).collect()
        };
        let some = values(&[(0, 0.1), (2, 0.9), (3, 0.0), (4, 0.9), (5, 0.2)], 0.0);
        assert_eq!(ids(&some, 9), [0, 2, 4, 5]);
        assert_eq!([ids(&some, 1), ids(&some, 2), ids(&some, 3)], [vec![2], vec![2, 4], vec![2, 4, 5]]);
        let all = values(&[(0, 0.1), (2, 1.0), (3, 0.0)], 0.5);
        assert_eq!(ids(&all, 9), [0, 1, 2, 4, 5]);
        assert_eq!(ids(&all, 2), [1, 2]);
        assert_eq!(all.best(6), Some((EntityId(2), 1.0)));
        assert_eq!(values(&[(3, 0.0)], 0.0).best(6), None);
    }
}
