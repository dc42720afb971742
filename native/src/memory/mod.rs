//! How much memory this process has taken and may take, and how much a network will take.

mod limits;

use rekindle_core::device::{Device, is_processor};
use rekindle_core::graph::Graph;
use rekindle_core::tune::Place;

use crate::ui::{ExitCode, Failure};

pub use limits::{allow, free_bytes, peak_bytes, resident_bytes};

/// Where a device keeps its numbers.
pub fn place(device: &Device) -> Place {
    match is_processor(device) {
        true => Place::Processor {
            threads: std::thread::available_parallelism().map_or(1, usize::from),
        },
        false => Place::Adapter,
    }
}

/// The bytes of all values that are needed at one time on the way from an image to the answers.
pub fn of_maps(graph: &Graph) -> u64 {
    let bytes = |value: usize| 4 * graph.shape_of(value).iter().product::<usize>() as u64;
    let wanted: Vec<usize> = graph.main_outputs().map(|output| output.value).collect();
    let Ok(schedule) = graph.schedule(&[0], &wanted) else {
        return 0;
    };
    let mut grows = vec![0_i128; schedule.steps().len() + 2];
    for value in 0..=graph.nodes().len() {
        if let Some([first, last]) = schedule.life(value) {
            grows[first] += i128::from(bytes(value));
            grows[last + 1] -= i128::from(bytes(value));
        }
    }
    let (mut now, mut most) = (0, 0);
    for grown in grows {
        now += grown;
        most = most.max(now);
    }
    u64::try_from(most).unwrap_or(u64::MAX)
}

/// The bytes of a network's answers for one image.
pub fn of_answers(graph: &Graph) -> u64 {
    let shapes = graph
        .main_outputs()
        .map(|output| graph.shape_of(output.value));
    shapes
        .map(|shape| 4 * shape.iter().product::<usize>() as u64)
        .sum()
}

/// Refuses what needs more memory than there is: the system would end this program in its midst, or others.
///
/// # Errors
///
/// When `bytes`, which `what` needs, are more than the machine has left.
pub fn check(bytes: u64, what: &str, help: &str) -> Result<(), Failure> {
    /// Where the system does not tell what it has.
    const UNKNOWN: u64 = 64 << 30;
    let free = free_bytes().unwrap_or(UNKNOWN);
    if bytes <= free {
        return Ok(());
    }
    let gigabytes = |bytes: u64| bytes as f64 / 1e9;
    let message = format!(
        "{what} needs {:.1} GB of memory, and {:.1} GB are free here",
        gigabytes(bytes),
        gigabytes(free)
    );
    Err(Failure::new(ExitCode::Device, message).with_help(help))
}

#[cfg(test)]
mod tests {
    use rekindle_core::backbone::find;
    use rekindle_core::graph::Options;

    use super::*;

    #[test]
    fn the_maps_of_an_image_are_counted_while_they_are_needed() {
        let vgg = find("vgg11").unwrap();
        let graph = vgg
            .whole_graph([3, 224, 224], &Options::default(), 1000)
            .unwrap();
        // The first convolution's maps, and the same behind the ReLU.
        assert_eq!(of_maps(&graph), 2 * 4 * 64 * 224 * 224);
        assert_eq!(of_answers(&graph), 4 * 1000);
    }

    #[test]
    fn what_no_machine_has_is_refused_in_words() {
        assert!(check(1 << 20, "a batch of 1", "").is_ok());
        let error = check(1 << 50, "a batch of 4096", "give a smaller --batch").unwrap_err();
        assert!(
            error
                .to_string()
                .contains("a batch of 4096 needs 1125899.9 GB"),
            "{error}"
        );
        assert_eq!(error.code(), ExitCode::Device);
    }
}
