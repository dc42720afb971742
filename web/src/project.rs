//! What a person has taught so far: classes and examples. Photos are not kept, only their features.

use rekindle_core::train::FeatureCache;
use rekindle_core::train::logistic::LinearSolution;
use serde::Serialize;

/// Classes and the features of their examples.
#[derive(Debug)]
pub struct Project {
    classes: Vec<String>,
    cache: FeatureCache,
    /// The examples' ids, in the cache's order.
    ids: Vec<u32>,
    next_id: u32,
    /// The last linear solution, where the next solve starts, as long as the classes are the same.
    pub last: Option<LinearSolution>,
}

/// A class as the page shows it.
#[derive(Debug, Serialize)]
pub struct ClassInfo {
    name: String,
    examples: usize,
}

impl Project {
    /// An empty project for features of this width.
    pub fn new(width: usize) -> Self {
        Self {
            classes: Vec::new(),
            cache: FeatureCache::new(width, 1),
            ids: Vec::new(),
            next_id: 1,
            last: None,
        }
    }

    /// The names of the classes.
    pub fn names(&self) -> &[String] {
        &self.classes
    }

    /// The features.
    pub fn cache(&self) -> &FeatureCache {
        &self.cache
    }

    /// The classes with the number of their examples.
    pub fn classes(&self) -> Vec<ClassInfo> {
        let labels = self.cache.labels();
        let count = |class| labels.iter().filter(|&&label| label == class).count();
        self.classes
            .iter()
            .enumerate()
            .map(|(class, name)| ClassInfo {
                name: name.clone(),
                examples: count(class),
            })
            .collect()
    }

    /// Adds a class and returns its number.
    pub fn add_class(&mut self, name: String) -> usize {
        self.last = None;
        self.classes.push(name);
        self.classes.len() - 1
    }

    /// Gives a class another name; says whether there is such a class.
    pub fn rename_class(&mut self, class: usize, name: String) -> bool {
        self.classes.get_mut(class).map(|old| *old = name).is_some()
    }

    /// Forgets a class and its examples; those after it move up. Says whether there was such a class.
    pub fn remove_class(&mut self, class: usize) -> bool {
        if class >= self.classes.len() {
            return false;
        }
        self.last = None;
        self.classes.remove(class);
        for image in (0..self.cache.len()).rev() {
            match self.cache.labels()[image] {
                label if label == class => {
                    self.cache.remove(image);
                    self.ids.remove(image);
                }
                label if label > class => self.cache.relabel(image, label - 1),
                _ => {}
            }
        }
        true
    }

    /// Adds an example and returns its id.
    ///
    /// # Errors
    ///
    /// When the features are not those of this project's network, or not finite.
    pub fn add_example(
        &mut self,
        class: usize,
        features: &[f32],
    ) -> Result<u32, rekindle_core::train::FeatureError> {
        self.cache.push(class, features)?;
        let id = self.next_id;
        self.next_id += 1;
        self.ids.push(id);
        Ok(id)
    }

    /// Forgets an example; says whether there was one of that id.
    pub fn remove_example(&mut self, id: u32) -> bool {
        let Some(image) = self.ids.iter().position(|&known| known == id) else {
            return false;
        };
        self.ids.remove(image);
        self.cache.remove(image);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removing_a_class_moves_the_later_ones_up_with_their_examples() {
        let mut project = Project::new(1);
        for name in ["a", "b", "c"] {
            project.add_class(name.to_owned());
        }
        let ids: Vec<_> = (0..6)
            .map(|i| project.add_example(i % 3, &[i as f32]).unwrap())
            .collect();
        assert!(project.remove_class(1));
        assert_eq!(project.cache().labels(), [0, 1, 0, 1]);
        assert_eq!(project.cache().plain(&[1, 3]).features, [2.0, 5.0]);
        assert!(project.remove_example(ids[5]) && !project.remove_example(ids[1]));
        assert!(!project.remove_class(2));
    }
}
