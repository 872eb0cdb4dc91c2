//! Values under keys that are not used twice.

/// Holds values under keys that combine a place with its generation, so that a key of a value that has gone finds nothing.
pub(super) struct Slab<T> {
    places: Vec<Place<T>>,
    free: Vec<u32>,
}

struct Place<T> {
    generation: u32,
    value: Option<T>,
}

impl<T> Slab<T> {
    pub(super) fn new() -> Self {
        Self { places: Vec::new(), free: Vec::new() }
    }

    pub(super) fn insert(&mut self, value: T) -> u64 {
        let index = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place { generation: 0, value: None });
            u32::try_from(self.places.len() - 1).expect("far fewer than 2^32 values at once")
        });
        let place = &mut self.places[index as usize];
        place.value = Some(value);
        u64::from(place.generation) << 32 | u64::from(index)
    }

    pub(super) fn get(&self, key: u64) -> Option<&T> {
        self.places.get(index(key)).filter(|place| place.generation == generation(key))?.value.as_ref()
    }

    pub(super) fn get_mut(&mut self, key: u64) -> Option<&mut T> {
        self.places.get_mut(index(key)).filter(|place| place.generation == generation(key))?.value.as_mut()
    }

    pub(super) fn remove(&mut self, key: u64) -> Option<T> {
        let place = self.places.get_mut(index(key)).filter(|place| place.generation == generation(key))?;
        let value = place.value.take()?;
        // A place whose generations are used up is left empty for ever rather than give out a key again.
        if let Some(next) = place.generation.checked_add(1) {
            place.generation = next;
            self.free.push(index(key) as u32);
        }
        Some(value)
    }

    pub(super) fn keys(&self) -> Vec<u64> {
        let occupied = self.places.iter().enumerate().filter(|(_, place)| place.value.is_some());
        occupied.map(|(index, place)| u64::from(place.generation) << 32 | index as u64).collect()
    }
}

fn index(key: u64) -> usize {
    (key & u64::from(u32::MAX)) as usize
}

fn generation(key: u64) -> u32 {
    (key >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::Slab;

    #[test]
    fn a_key_of_a_removed_value_finds_nothing_although_its_place_is_used_again() {
        let mut slab = Slab::new();
        let first = slab.insert('a');
        assert_eq!(slab.remove(first), Some('a'));
        let second = slab.insert('b');
        assert_ne!(first, second);
        assert_eq!(slab.get(first), None);
        assert_eq!(slab.remove(first), None);
        assert_eq!(slab.keys(), [second]);
        assert_eq!(slab.remove(second), Some('b'));
        assert!(slab.keys().is_empty());
    }
}
