//! What tells one training from another: a state is taken up only by the training that it is of. Shells say what that is.

use serde_json::Value;

/// The names of what differs between two objects; of what is an object itself, which of its parts.
pub fn differences(one: &Value, other: &Value) -> Vec<String> {
    let names = |value: &Value| -> Vec<String> {
        let fields = value.as_object();
        fields.map_or_else(Vec::new, |fields| fields.keys().cloned().collect())
    };
    let mut all = names(one);
    all.extend(names(other));
    all.sort();
    all.dedup();
    all.retain(|name| one.get(name) != other.get(name));
    let within = |name: String| match (&one[&name], &other[&name]) {
        (Value::Object(_), Value::Object(_)) => {
            let parts = differences(&one[&name], &other[&name]).join(", ");
            format!("{name} ({parts})")
        }
        _ => name,
    };
    all.into_iter().map(within).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_differs_is_named() {
        let one = json!({"photos": "a", "classes": ["x", "y"], "recipe": {"lr": 1}});
        assert!(differences(&one, &one).is_empty());
        let other =
            json!({"photos": "a", "classes": ["y", "x"], "device": "cpu", "recipe": {"lr": 2}});
        assert_eq!(
            differences(&one, &other),
            ["classes", "device", "recipe (lr)"]
        );
    }
}
