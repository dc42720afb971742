//! From an error somewhere below to two lines and an exit code.

use std::error::Error;
use std::io;

use rekindle_core::backbone::{UnknownArchitecture, UnsupportedInput, find};
use rekindle_core::device::DeviceError;
use rekindle_core::inspect::onnx::OnnxError;
use rekindle_core::model::{Cause, ModelError};
use rekindle_core::parts::UnknownPart;
use rekindle_core::task::Task;
use rekindle_core::train::TrainError;
use rekindle_core::tune::{PlanError, RatesError, RecipeError, StateError, TuneError};

use crate::dataset::DatasetError;
use crate::fetch::FetchError;
use crate::files::WriteError;
use crate::interrupt::{self, Interrupted};
use crate::photos::PhotoError;
use crate::runs::RunError;
use crate::serve::ServeError;
use crate::ui::{ExitCode, Failure, advice, print_lines};
use crate::walk::WalkError;

/// The exit code and the advice for an error: those of a [`Failure`] anywhere in it, else those of
/// the first error in its chain that is known here. Whatever ends the program has advice.
fn describe(error: &anyhow::Error) -> (ExitCode, Option<String>) {
    // A failure given as context is no link of the chain by itself; anyhow finds it all the same.
    let (code, help) = match error.downcast_ref::<Failure>() {
        Some(failure) => (failure.code(), failure.help().map(Into::into)),
        None => error
            .chain()
            .find_map(known)
            .unwrap_or((ExitCode::Io, None)),
    };
    let general = || {
        Some(match code {
            // What to do after an interruption is known where it is told.
            ExitCode::Ok | ExitCode::Interrupted => return None,
            ExitCode::GateFailed => "train on more photos or another network, or lower the gate",
            ExitCode::Usage => "the command's --help lists what it takes",
            ExitCode::Data => "see that this is the file or folder you mean, and that it is whole",
            ExitCode::Device => "`--device cpu` always works",
            ExitCode::Io => "look at the path, the disk and the connection, and try again",
        })
    };
    (code, help.or_else(|| general().map(Into::into)))
}

fn known(error: &(dyn Error + 'static)) -> Option<(ExitCode, Option<String>)> {
    if error.is::<Interrupted>() {
        Some((ExitCode::Interrupted, None))
    } else if let Some(error) = error.downcast_ref::<PhotoError>() {
        Some((ExitCode::Data, error.help().map(Into::into)))
    } else if let Some(error) = error.downcast_ref::<DatasetError>() {
        Some((error.exit_code(), error.help()))
    } else if let Some(error) = error.downcast_ref::<WalkError>() {
        Some((error.exit_code(), error.help().map(Into::into)))
    } else if let Some(error) = error.downcast_ref::<FetchError>() {
        Some((error.exit_code(), error.help()))
    } else if let Some(error) = error.downcast_ref::<RunError>() {
        Some((error.exit_code(), Some(error.help())))
    } else if let Some(error) = error.downcast_ref::<WriteError>() {
        Some((ExitCode::Io, Some(error.help())))
    } else if let Some(error) = error.downcast_ref::<ServeError>() {
        Some((error.exit_code(), error.help()))
    } else if let Some(error) = error.downcast_ref::<DeviceError>() {
        Some(device(error))
    } else if let Some(error) = error.downcast_ref::<ModelError>() {
        Some(model(error))
    } else if let Some(error) = error.downcast_ref::<TrainError>() {
        Some(training(error))
    } else if error.is::<UnknownArchitecture>() {
        Some((
            ExitCode::Usage,
            Some("`rekindle models` lists the networks there are".into()),
        ))
    } else if let Some(error) = error.downcast_ref::<UnsupportedInput>() {
        let help = format!("give images of {0}×{0} pixels or more", error.smallest());
        Some((ExitCode::Usage, Some(help)))
    } else if error.is::<UnknownPart>() {
        let help = "`rekindle summary NETWORK --stages` lists the stages, `--parameters` the names \
                    that a part can begin with or a pattern can fit";
        Some((ExitCode::Usage, Some(help.into())))
    } else if let Some(error) = error.downcast_ref::<PlanError>() {
        let help = match error {
            PlanError::Part(_) | PlanError::Rates(RatesError::Part(_)) => {
                "`rekindle summary NETWORK --parameters` lists the names that a part can begin with"
            }
            PlanError::Rates(_) => "give it such a value, or leave it out",
            PlanError::Nothing(_) => "unfreeze something, as by --unfreeze head",
            PlanError::Stages(_) => "`rekindle summary NETWORK --stages` lists them",
            _ => "change it, or leave it out",
        };
        Some((ExitCode::Usage, Some(help.into())))
    } else if error.is::<RecipeError>() {
        let help = "give it such a value, or leave it out";
        Some((ExitCode::Usage, Some(help.into())))
    } else if let Some(error) = error.downcast_ref::<StateError>() {
        Some(match error {
            StateError::Weights(_) | StateError::NoStanding | StateError::Damaged(_) => (
                ExitCode::Data,
                Some("the checkpoint is damaged: begin the run anew".into()),
            ),
        })
    } else if let Some(TuneError::Device(error)) = error.downcast_ref::<TuneError>() {
        Some(device(error))
    } else if let Some(TuneError::State(_)) = error.downcast_ref::<TuneError>() {
        let help = "the checkpoint is of another training: begin the run anew";
        Some((ExitCode::Data, Some(help.into())))
    } else if error.is::<OnnxError>() {
        let help = "export a smaller network: `rekindle models` lists their sizes";
        Some((ExitCode::Data, Some(help.into())))
    } else {
        let error = error.downcast_ref::<io::Error>()?;
        Some(match error.kind() {
            // Whoever reads our output (`head`, a pager) may stop when it has seen enough.
            io::ErrorKind::BrokenPipe => (ExitCode::Ok, None),
            _ => (ExitCode::Io, Some(advice(error).into())),
        })
    }
}

// The core's errors wrap each other without a link in the chain (`#[error(transparent)]`), so they are
// looked into by hand.

fn device(error: &DeviceError) -> (ExitCode, Option<String>) {
    match error {
        DeviceError::UnknownPreference(_) => (ExitCode::Usage, None),
        DeviceError::NotFinite { .. } => (ExitCode::Data, Some(OVERFLOWN.into())),
        DeviceError::NotFound { .. } => (
            ExitCode::Device,
            Some("`rekindle doctor` shows what there is; `--device cpu` always works".into()),
        ),
        DeviceError::NoHalf => (
            ExitCode::Device,
            Some(
                "leave --precision out; `rekindle doctor` shows which adapter has 16-bit floats"
                    .into(),
            ),
        ),
        _ => (ExitCode::Device, Some("`--device cpu` always works".into())),
    }
}

/// What to do about weights that are numbers, and too large to compute with.
const OVERFLOWN: &str = "the weights are damaged, or their training went astray (a rate too high): take others, or an \
     earlier checkpoint; with `--precision half`, leave that out";

fn model(error: &ModelError) -> (ExitCode, Option<String>) {
    match error {
        ModelError::Weights(error) => (ExitCode::Data, Some(error.help().into())),
        ModelError::Mismatch {
            architecture,
            cause,
            ..
        } => (ExitCode::Data, Some(because(architecture, cause))),
        ModelError::NoCard => (
            ExitCode::Data,
            Some("give the network's name, and this file with --weights".into()),
        ),
        ModelError::Card(_) | ModelError::Input(_) => (
            ExitCode::Data,
            Some(
                "the file was damaged, or changed by another program: take another copy, or train the model again"
                    .into(),
            ),
        ),
        ModelError::Newer { .. } | ModelError::UnknownTask { .. } => (
            ExitCode::Data,
            Some("get the newest Rekindle, or train the model again with this one".into()),
        ),
        ModelError::Architecture(_) => (
            ExitCode::Data,
            Some("`rekindle models` lists the networks that this Rekindle knows".into()),
        ),
    }
}

/// What to do about a file that does not fit a network.
fn because(architecture: &str, cause: &Cause) -> String {
    let trains = |name: &str| find(name).is_ok_and(|network| network.task == Task::Classify);
    let is_trained = trains(architecture);
    // Only networks that classify are given new heads.
    let start = |or_else: &str| match is_trained {
        true => format!(
            "`rekindle train --model {architecture} --weights FILE` starts from it, with a new head"
        ),
        false => or_else.to_owned(),
    };
    let whole = "take one that holds all of the network";
    match cause {
        Cause::OtherHead {
            classes: Some(classes),
        } if is_trained => format!(
            "the file is {architecture}'s with a head for {classes} classes, and does not say what they are called: \
             `rekindle evaluate {architecture} DIR --weights FILE` measures it on a folder that does, and {}",
            start("")
        ),
        Cause::OtherHead {
            classes: Some(classes),
        } => format!(
            "the file is {architecture}'s with a head for {classes} classes: take one for 255 classes at most, \
             since a pixel of a mask is one byte"
        ),
        Cause::OtherHead { classes: None } => format!(
            "the file is {architecture}'s without its classifier: {}",
            start(whole)
        ),
        Cause::StrangeHead { name } => format!(
            "the file is {architecture}'s with another head than the network's own (`{name}`), which is not read: {}",
            start("take one with the network's own")
        ),
        Cause::PartOfHead { name } => {
            let new = match is_trained {
                true => format!(
                    ", or start from it with a new head: `rekindle train --model {architecture} --weights FILE`"
                ),
                false => String::new(),
            };
            format!("the file is {architecture}'s without `{name}`: {whole}{new}")
        }
        Cause::MoreLayers { name } => format!(
            "the file has more layers than {architecture} (`{name}`), and does not say what for: {}",
            start("take one that holds the network alone")
        ),
        Cause::Twice { name } => format!(
            "the file holds a part of the network twice (`{name}` and one without what wraps it), and does not say \
             which is meant: in Python, leave one of them out and save the rest"
        ),
        Cause::OtherNetwork(name) => {
            let option = match is_trained && trains(name) {
                true => format!(" (`--model {name}` when training)"),
                false => String::new(),
            };
            format!("by its names and shapes the file is {name}'s: name that network{option}")
        }
        Cause::OtherHidden => "the file has other hidden layers before its classifier, or none: \
                               `rekindle train --bare` leaves them out"
            .into(),
        Cause::Transformers => {
            "the file was saved by the library transformers, which names layers in its own way: \
                                take the network's weights from torchvision or timm"
                .into()
        }
        Cause::OtherNames => format!(
            "no name in the file is one of {architecture}'s, which `rekindle summary {architecture}` lists: \
             the file belongs to another network, or to another library's version of it"
        ),
        Cause::Unknown => {
            let option = if is_trained {
                ", and --model names one"
            } else {
                ""
            };
            format!(
                "the file belongs to another network, or to a variant of it: `rekindle models` lists those there \
                 are{option}"
            )
        }
    }
}

fn training(error: &TrainError) -> (ExitCode, Option<String>) {
    match error {
        TrainError::Device(error) => device(error),
        TrainError::Split(error) => (ExitCode::Data, error.help().map(Into::into)),
        TrainError::Mlp(_) => (
            ExitCode::Data,
            Some("lower --lr, or take --head linear, which needs no rate".into()),
        ),
        // The others say what to do themselves.
        _ => (ExitCode::Data, None),
    }
}

/// Prints `error: …` and `help: …` to stderr and returns how the program should end.
pub fn print_error(error: &anyhow::Error) -> ExitCode {
    let (code, help) = describe(error);
    if code == ExitCode::Interrupted {
        // What it was in the midst of is no news.
        interrupt::tell();
    } else if code != ExitCode::Ok {
        let message = one_line(error);
        match own_advice(&message) {
            Some((message, help)) => print_lines("error", &message, Some(help)),
            None => print_lines("error", &message, help.as_deref()),
        }
    }
    code
}

/// Errors of the core that know what to do say so at their end: `… (help: …)`.
fn own_advice(message: &str) -> Option<(String, &str)> {
    let (before, rest) = message.split_once(" (help: ")?;
    let (help, after) = rest.rsplit_once(')')?;
    Some((format!("{before}{after}"), help))
}

/// The whole chain on one line; a cause that its error already quotes is not said twice.
fn one_line(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text += &format!(": {cause}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use anyhow::Context as _;

    use super::*;
    use crate::photos::PhotoProblem;

    #[test]
    fn the_first_known_error_of_a_chain_decides() {
        let photo = PhotoError::new(Path::new("cat.jpg"), PhotoProblem::Truncated);
        let error = Err::<(), _>(photo).context("cannot classify").unwrap_err();
        let (code, help) = describe(&error);
        assert_eq!(code, ExitCode::Data);
        assert!(help.is_some_and(|help| help.contains("again")));
        assert_eq!(
            one_line(&error),
            "cannot classify: the file is cut off: the picture ends early: cat.jpg"
        );
    }

    #[test]
    fn an_interruption_is_one_whatever_it_interrupts() {
        let (code, _) = describe(&anyhow::Error::new(Interrupted).context("training"));
        assert_eq!(code, ExitCode::Interrupted);
    }

    #[test]
    fn training_is_advised_for_networks_that_are_trained_alone() {
        let name = "classifier.0.weight".to_owned();
        let causes = [
            Cause::OtherHead { classes: Some(300) },
            Cause::OtherHead { classes: None },
            Cause::StrangeHead { name: name.clone() },
            Cause::PartOfHead { name: name.clone() },
            Cause::MoreLayers { name },
            Cause::OtherNetwork("fcn_resnet50"),
            Cause::Unknown,
        ];
        for cause in &causes {
            let told = because("deeplabv3_resnet50", cause);
            assert!(
                !told.contains("train") && !told.contains("--model"),
                "{told}"
            );
            let is_start = !matches!(cause, Cause::OtherNetwork(_) | Cause::Unknown);
            let told = because("resnet50", cause);
            assert_eq!(
                told.contains("rekindle train --model resnet50"),
                is_start,
                "{told}"
            );
        }
        let other = because("resnet50", &Cause::OtherNetwork("resnet34"));
        assert!(other.contains("`--model resnet34`"), "{other}");
        let other = because("resnet50", &Cause::OtherNetwork("fcn_resnet50"));
        assert!(!other.contains("--model"), "{other}");
    }

    #[test]
    fn a_failure_given_as_context_decides_too() {
        let photo = PhotoError::new(Path::new("cat.jpg"), PhotoProblem::Truncated);
        let failure = Failure::new(ExitCode::Device, "out of memory").with_help("smaller batches");
        let error = Err::<(), _>(photo)
            .context(failure)
            .context("training failed");
        let expected = (ExitCode::Device, Some("smaller batches".into()));
        assert_eq!(describe(&error.unwrap_err()), expected);
    }

    #[test]
    fn failures_interrupts_and_closed_pipes_end_as_documented() {
        assert_eq!(
            own_advice("cannot split: 0.5 folds (help: use 2 (or more))"),
            Some(("cannot split: 0.5 folds".to_owned(), "use 2 (or more)"))
        );
        for code in [
            ExitCode::GateFailed,
            ExitCode::Usage,
            ExitCode::Data,
            ExitCode::Device,
            ExitCode::Io,
        ] {
            assert!(describe(&Failure::new(code, "x").into()).1.is_some());
        }
        let failure = Failure::new(ExitCode::GateFailed, "accuracy 0.5 is under 0.9")
            .with_help("more photos");
        assert_eq!(
            describe(&failure.into()),
            (ExitCode::GateFailed, Some("more photos".into()))
        );
        assert_eq!(describe(&Interrupted.into()).0.code(), 130);
        let pipe = io::Error::from(io::ErrorKind::BrokenPipe);
        assert_eq!(describe(&pipe.into()).0, ExitCode::Ok);
        assert_eq!(
            describe(&io::Error::from(io::ErrorKind::StorageFull).into()).0,
            ExitCode::Io
        );
    }
}
