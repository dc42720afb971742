//! What a person has taught so far: classes and examples, by ids that nothing ever changes or takes up again.
//! Photos are not kept, only their features.

use rekindle_core::model::PhotoHashes;
use rekindle_core::train::{FeatureError, PhotoSpace};
use serde::Serialize;

use crate::error::Failure;

/// Classes and the features of their examples.
#[derive(Debug)]
pub struct Project {
    classes: Vec<Class>,
    photos: PhotoSpace,
    /// The examples' ids, in the photos' order.
    ids: Vec<u32>,
    /// The SHA-256 of the file that each was read from, where there is one: a camera's pictures have none.
    files: Vec<Option<[u8; 32]>>,
    next_class: u32,
    next_example: u32,
}

/// A class. Its place in the list is where a fit has it; its id is what it is known by.
#[derive(Debug)]
struct Class {
    id: u32,
    name: String,
}

/// A class as the page shows it.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct ClassInfo {
    id: u32,
    name: String,
    examples: usize,
}

impl Project {
    /// An empty project for features of this width.
    pub fn new(width: usize) -> Self {
        Self {
            classes: Vec::new(),
            photos: PhotoSpace::new(width),
            ids: Vec::new(),
            files: Vec::new(),
            next_class: 1,
            next_example: 1,
        }
    }

    /// Nothing taught any more, for features of this width. Ids go on from where they were: who still has an old
    /// one must not meet a new class with it.
    pub fn emptied(&self, width: usize) -> Self {
        Self {
            next_class: self.next_class,
            next_example: self.next_example,
            ..Self::new(width)
        }
    }

    /// The ids that the next class and the next example will have.
    pub fn next_ids(&self) -> [u32; 2] {
        [self.next_class, self.next_example]
    }

    /// Goes on with ids from these on, if they are not behind already.
    #[cfg(feature = "training")]
    pub fn go_on_from(&mut self, [class, example]: [u32; 2]) {
        self.next_class = self.next_class.max(class);
        self.next_example = self.next_example.max(example);
    }

    /// The photos' features, under the ids of their classes.
    pub fn photos(&self) -> &PhotoSpace {
        &self.photos
    }

    /// The same, for a solution to be kept.
    pub fn photos_mut(&mut self) -> &mut PhotoSpace {
        &mut self.photos
    }

    /// The ids of the classes, in the order they were added.
    pub fn class_ids(&self) -> Vec<u32> {
        self.classes.iter().map(|class| class.id).collect()
    }

    /// The ids of the examples, in the photos' order.
    #[cfg(feature = "training")]
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// What tells the photos' contents, in their order: as natively a file's hash, or else its features.
    #[cfg(feature = "training")]
    pub fn keys(&self) -> Vec<u64> {
        let of_features = |photo: usize| {
            let bits = self
                .photos
                .features(photo)
                .iter()
                .map(|x| u64::from(x.to_bits()));
            // FNV-1a.
            bits.fold(0xcbf2_9ce4_8422_2325, |sum: u64, bits| {
                (sum ^ bits).wrapping_mul(0x0100_0000_01b3)
            })
        };
        let files = self.files.iter().enumerate();
        let key = files.map(|(photo, file)| match file {
            Some([a, b, c, d, e, f, g, h, ..]) => {
                u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h])
            }
            None => of_features(photo),
        });
        key.collect()
    }

    /// The names of some classes; one that has gone has none.
    pub fn names(&self, ids: &[u32]) -> Vec<String> {
        let name = |id| self.classes.iter().find(|class| class.id == id);
        ids.iter()
            .map(|&id| name(id).map_or_else(String::new, |class| class.name.clone()))
            .collect()
    }

    /// The classes with the number of their examples.
    pub fn classes(&self) -> Vec<ClassInfo> {
        let labels = self.photos.labels();
        let of = |id| labels.iter().filter(move |&&label| label == label_of(id));
        self.classes
            .iter()
            .map(|class| ClassInfo {
                id: class.id,
                name: class.name.clone(),
                examples: of(class.id).count(),
            })
            .collect()
    }

    /// Adds a class and returns its id.
    ///
    /// # Errors
    ///
    /// When the name is empty or another class has it.
    pub fn add_class(&mut self, name: &str) -> Result<u32, Failure> {
        let id = self.next_class;
        self.restore_class(id, name)?;
        Ok(id)
    }

    /// Adds a class that another session had, under the id it had there.
    ///
    /// # Errors
    ///
    /// As [`add_class`](Self::add_class), and when the id is in use.
    pub fn restore_class(&mut self, id: u32, name: &str) -> Result<(), Failure> {
        let name = self.free_name(name, None)?;
        if self.knows(id) {
            return Err(in_use("class", id));
        }
        self.next_class = self.next_class.max(id.saturating_add(1));
        self.classes.push(Class { id, name });
        Ok(())
    }

    /// Gives a class another name.
    ///
    /// # Errors
    ///
    /// When there is no such class, the name is empty, or another class has it.
    pub fn rename_class(&mut self, id: u32, name: &str) -> Result<(), Failure> {
        let name = self.free_name(name, Some(id))?;
        let class = self.classes.iter_mut().find(|class| class.id == id);
        class.ok_or_else(|| no_class(id))?.name = name;
        Ok(())
    }

    /// Forgets a class and its examples.
    ///
    /// # Errors
    ///
    /// When there is no such class.
    pub fn remove_class(&mut self, id: u32) -> Result<(), Failure> {
        self.check(id)?;
        self.classes.retain(|class| class.id != id);
        // From the last: those after a photo that goes move up.
        for position in self.photos.remove_label(label_of(id)).into_iter().rev() {
            self.ids.remove(position);
            self.files.remove(position);
        }
        Ok(())
    }

    /// Adds an example and returns its id.
    ///
    /// # Errors
    ///
    /// When there is no such class, or the features are not those of this project's network, or not finite.
    pub fn add_example(&mut self, class: u32, features: &[f32]) -> Result<u32, Failure> {
        let id = self.next_example;
        self.restore_example(id, class, features)?;
        Ok(id)
    }

    /// Adds an example that another session had, under the id it had there.
    ///
    /// # Errors
    ///
    /// As [`add_example`](Self::add_example), and when the id is in use.
    pub fn restore_example(
        &mut self,
        id: u32,
        class: u32,
        features: &[f32],
    ) -> Result<(), Failure> {
        self.check(class)?;
        if self.ids.contains(&id) {
            return Err(in_use("example", id));
        }
        let pushed: Result<_, FeatureError> = self.photos.push(label_of(class), features);
        pushed?;
        self.ids.push(id);
        self.files.push(None);
        self.next_example = self.next_example.max(id.saturating_add(1));
        Ok(())
    }

    /// Forgets an example.
    ///
    /// # Errors
    ///
    /// When there is none of that id.
    pub fn remove_example(&mut self, id: u32) -> Result<(), Failure> {
        let position = self.position(id)?;
        self.ids.remove(position);
        self.files.remove(position);
        self.photos.remove(position);
        Ok(())
    }

    /// Says which file an example was read from, by its SHA-256.
    ///
    /// # Errors
    ///
    /// When there is no such example, or the hash is none.
    pub fn set_file(&mut self, id: u32, sha256: &[u8]) -> Result<(), Failure> {
        let position = self.position(id)?;
        let hash = sha256.try_into().map_err(|_| {
            Failure::usage(
                format!("a SHA-256 has 32 bytes, not {}", sha256.len()),
                "Hash the whole file.",
            )
        })?;
        self.files[position] = Some(hash);
        Ok(())
    }

    /// The files that examples were read from, as far as they are known and a model file lists them.
    pub fn files(&self) -> Option<PhotoHashes> {
        self.files_of(&self.ids)
    }

    /// The same of some examples.
    pub fn files_of(&self, ids: &[u32]) -> Option<PhotoHashes> {
        let all = self.ids.iter().zip(&self.files);
        let some = all.filter(|(id, _)| ids.contains(id));
        let files = PhotoHashes::new(some.filter_map(|(_, file)| *file));
        (1..=PhotoHashes::MOST)
            .contains(&files.len())
            .then_some(files)
    }

    /// The features of an example.
    ///
    /// # Errors
    ///
    /// When there is none of that id.
    pub fn features(&self, id: u32) -> Result<&[f32], Failure> {
        Ok(self.photos.features(self.position(id)?))
    }

    /// Whether there is a class of that id.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn check(&self, id: u32) -> Result<(), Failure> {
        match self.knows(id) {
            true => Ok(()),
            false => Err(no_class(id)),
        }
    }

    fn knows(&self, id: u32) -> bool {
        self.classes.iter().any(|class| class.id == id)
    }

    fn position(&self, id: u32) -> Result<usize, Failure> {
        let found = self.ids.iter().position(|&known| known == id);
        found.ok_or_else(|| {
            let help = "Reload the page if it shows photos that are gone.";
            Failure::usage(format!("there is no example {id}"), help)
        })
    }

    /// A name as it is kept, if no class but `except` has it.
    fn free_name(&self, name: &str, except: Option<u32>) -> Result<String, Failure> {
        let name = name.trim();
        if name.is_empty() {
            return Err(Failure::usage(
                "a class needs a name",
                "Give at least one letter.",
            ));
        }
        let mut others = self.classes.iter().filter(|class| Some(class.id) != except);
        match others.any(|class| class.name == name) {
            true => Err(Failure::usage(
                format!("there is a class “{name}” already"),
                "Choose another name.",
            )),
            false => Ok(name.to_owned()),
        }
    }
}

/// What the photos of a class are labelled with.
pub fn label_of(class: u32) -> usize {
    class as usize
}

fn no_class(id: u32) -> Failure {
    Failure::usage(format!("there is no class {id}"), "Add the class first.")
}

fn in_use(what: &str, id: u32) -> Failure {
    Failure::usage(
        format!("the id {id} belongs to another {what}"),
        "Restore into an empty session.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Classes a, b and c with two photos each, whose features are 0 to 5.
    fn taught() -> (Project, Vec<u32>, Vec<u32>) {
        let mut project = Project::new(1);
        let classes: Vec<_> = ["a", "b", "c"]
            .map(|name| project.add_class(name).unwrap())
            .into();
        let examples = (0..6)
            .map(|i| project.add_example(classes[i % 3], &[i as f32]).unwrap())
            .collect();
        (project, classes, examples)
    }

    #[test]
    fn a_class_that_goes_leaves_the_others_their_ids_and_examples() {
        let (mut project, classes, examples) = taught();
        project.remove_class(classes[1]).unwrap();
        assert_eq!(project.class_ids(), [classes[0], classes[2]]);
        assert_eq!(project.names(&classes), ["a", "", "c"]);
        assert_eq!(project.features(examples[2]).unwrap(), [2.0]);
        assert_eq!(project.features(examples[5]).unwrap(), [5.0]);
        assert!(project.features(examples[1]).is_err());
        project.remove_example(examples[5]).unwrap();
        assert!(project.remove_example(examples[1]).is_err());
        assert!(project.remove_class(classes[1]).is_err());
        let counts: Vec<_> = project.classes().iter().map(|c| c.examples).collect();
        assert_eq!(counts, [2, 1]);
    }

    #[test]
    fn no_id_is_given_twice() {
        let (mut project, classes, examples) = taught();
        project.remove_class(classes[2]).unwrap();
        assert!(!classes.contains(&project.add_class("c").unwrap()));
        let mut next = project.emptied(2);
        assert!(next.classes().is_empty() && next.photos().is_empty());
        let class = next.add_class("a").unwrap();
        assert!(!classes.contains(&class));
        assert!(!examples.contains(&next.add_example(class, &[1.0, 2.0]).unwrap()));
        assert!(next.add_example(classes[0], &[1.0, 2.0]).is_err());
    }

    #[test]
    fn files_are_known_as_long_as_their_photos_are() {
        let (mut project, classes, examples) = taught();
        assert_eq!(project.files(), None);
        for (at, &id) in examples[..3].iter().enumerate() {
            project.set_file(id, &[at as u8; 32]).unwrap();
        }
        project.remove_class(classes[1]).unwrap();
        project.remove_example(examples[2]).unwrap();
        assert_eq!(project.files(), Some(PhotoHashes::new([[0; 32]])));
        for (id, hash) in [(examples[1], &[1; 32][..]), (examples[0], &[1; 31])] {
            assert!(project.set_file(id, hash).is_err());
        }
        assert_eq!(project.emptied(1).files(), None);
    }

    #[test]
    fn names_are_unique_and_not_empty() {
        let (mut project, classes, _) = taught();
        for wrong in ["", "  ", "b", " b "] {
            assert!(project.add_class(wrong).is_err(), "{wrong:?}");
            assert!(
                project.rename_class(classes[0], wrong).is_err(),
                "{wrong:?}"
            );
        }
        project.rename_class(classes[0], "a").unwrap();
        project.rename_class(classes[0], " z ").unwrap();
        assert_eq!(project.names(&classes), ["z", "b", "c"]);
        assert!(project.rename_class(99, "y").is_err());
    }

    #[test]
    fn what_another_session_had_comes_back_under_its_ids() {
        let mut project = Project::new(1);
        project.restore_class(7, "a").unwrap();
        project.restore_example(12, 7, &[3.0]).unwrap();
        assert!(project.restore_class(7, "b").is_err());
        assert!(project.restore_example(12, 7, &[4.0]).is_err());
        assert!(project.restore_example(13, 8, &[4.0]).is_err());
        assert_eq!(project.add_class("b").map_err(|_| ()), Ok(8));
        assert_eq!(project.add_example(8, &[1.0]).map_err(|_| ()), Ok(13));
    }
}
