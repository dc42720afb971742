//! The networks that may be tried: those whose weights are on this machine, and those that may be downloaded.

use rekindle_core::backbone::{Accuracy, Architecture, PretrainedWeights, architectures, find};
use rekindle_core::task::Task;

use crate::cli::{PictureArgs, RecommendArgs};
use crate::context::Context;
use crate::fetch::{self, Places};
use crate::models;
use crate::ui::{ExitCode, Failure, Unit, print_warning};

/// The network that everything begins with, if its weights are here: `train`'s own.
const USUAL: &str = "efficientnet_lite0";

/// What `--download` gets where no network is named: small to middling, of several families, often good.
const OFTEN_GOOD: [&str; 6] = [
    "efficientnet_lite0",
    "mobilenet_v3_large",
    "resnet18",
    "efficientnet_b0",
    "resnet50",
    "convnext_tiny",
];

/// A network that may be tried.
#[derive(Debug, Clone, Copy)]
pub struct Candidate {
    pub architecture: &'static Architecture,
    /// The weights that it is tried with.
    pub weights: &'static PretrainedWeights,
}

impl Candidate {
    /// Its name.
    pub fn name(&self) -> &'static str {
        self.architecture.name
    }

    /// What `--weights` has to say; nothing where these are what comes without it.
    pub fn weights_option(&self) -> Option<&'static str> {
        let usual = self.architecture.weights.first();
        let is_usual = usual.is_some_and(|usual| usual.name == self.weights.name);
        (!is_usual).then_some(self.weights.name)
    }

    /// The published share of ImageNet's photos whose likeliest answer is right.
    pub fn published(&self) -> Option<f64> {
        match self.weights.accuracy {
            Some(Accuracy::Photos { top1, .. }) => Some(f64::from(top1) / 100.0),
            _ => None,
        }
    }
}

/// A network, or a way to train it, that was not measured.
#[derive(Debug, Clone)]
pub struct LeftOut {
    /// The network; nothing if it is all of them.
    pub network: Option<String>,
    /// The way to train; nothing if it is all of them.
    pub tune: Option<String>,
    pub why: String,
}

/// Refuses names that cannot be tried, before anything is read.
///
/// # Errors
///
/// A usage error.
pub fn check(args: &RecommendArgs, context: &Context) -> anyhow::Result<()> {
    if args.download && context.global.offline {
        let message = "--download does not apply with --offline, which forbids it";
        return Err(Failure::new(ExitCode::Usage, message)
            .with_help("leave one of them out")
            .into());
    }
    for name in &args.model {
        models::is_name(name)?;
        let architecture = find(name)?;
        architecture
            .task
            .must_be(Task::Classify, "`recommend`", name)
            .map_err(|error| {
                let help = "take other networks: `rekindle models` says what each is for";
                Failure::new(ExitCode::Usage, error).with_help(help)
            })?;
        models::check_network(name, None, &pictures(args))?;
    }
    Ok(())
}

/// What networks are given.
pub fn pictures(args: &RecommendArgs) -> PictureArgs {
    PictureArgs {
        input: args.input,
        ..PictureArgs::default()
    }
}

/// The networks that may be tried, the usual one first, then the cheaper before the dearer; and those that are left
/// out.
///
/// # Errors
///
/// When there are none, or one was named whose weights are not here.
pub fn find_all(
    args: &RecommendArgs,
    context: &Context,
) -> anyhow::Result<(Vec<Candidate>, Vec<LeftOut>)> {
    let places = Places::of_this_machine();
    let is_named = !args.model.is_empty();
    let named: Vec<&'static Architecture> = match is_named {
        true => args
            .model
            .iter()
            .map(|name| find(name))
            .collect::<Result<_, _>>()?,
        false => architectures()
            .filter(|one| one.task == Task::Classify)
            .collect(),
    };
    let (mut candidates, mut left_out): (Vec<Candidate>, Vec<LeftOut>) = (Vec::new(), Vec::new());
    let (mut missing, mut wanted) = (Vec::new(), Vec::new());
    for architecture in named {
        if candidates
            .iter()
            .any(|known| known.name() == architecture.name)
        {
            continue;
        }
        if let Err(error) = models::check_network(architecture.name, None, &pictures(args)) {
            let here = architecture
                .weights
                .iter()
                .any(|weights| is_here(weights, &places));
            if here {
                left_out.push(left(architecture, format!("{error:#}")));
            }
            continue;
        }
        let mut weights = architecture.weights.iter();
        let here = weights.find(|weights| is_here(weights, &places));
        let usual = architecture.weights.first();
        match (here, usual) {
            (Some(weights), _) => candidates.push(Candidate {
                architecture,
                weights,
            }),
            (None, Some(weights)) if args.download => {
                if is_named || OFTEN_GOOD.contains(&architecture.name) {
                    wanted.push(Candidate {
                        architecture,
                        weights,
                    });
                }
            }
            _ => missing.push(architecture.name),
        }
    }
    if is_named && !missing.is_empty() {
        let whose = missing.join(", ");
        return Err(Failure::new(
            ExitCode::Data,
            format!("the weights are not on this machine: {whose}"),
        )
        .with_help("--download gets them; `rekindle models` says which are here")
        .into());
    }
    for candidate in wanted {
        match download(&candidate, &places, context) {
            Ok(()) => candidates.push(candidate),
            Err(error) => {
                // Ctrl-C ends it all; what cannot be had is done without.
                context.interrupt.check()?;
                let why = format!("its weights could not be downloaded: {error:#}");
                print_warning(&format!("{}: {why}", candidate.name()), None);
                left_out.push(left(candidate.architecture, why));
            }
        }
    }
    if candidates.is_empty() {
        let by_hand = find(USUAL)?
            .weights
            .first()
            .map(|weights| places.by_hand(&models::source(weights)))
            .unwrap_or_default();
        let message = match args.input {
            Some(side) if !left_out.is_empty() => {
                format!("no network whose weights are on this machine takes --input {side}")
            }
            _ => "no network's weights are on this machine".to_owned(),
        };
        return Err(Failure::new(ExitCode::Data, message)
            .with_help(format!(
                "--download gets some; without a network, {by_hand}"
            ))
            .into());
    }
    candidates.sort_by_cached_key(|one| (one.name() != USUAL, one.architecture.macs(), one.name()));
    Ok((candidates, left_out))
}

/// Who is asked how like ImageNet's photos are: the usual network where its weights are here, whatever else is tried,
/// for it is unsure of what it has not learnt; else the first candidate.
pub fn judge(candidates: &[Candidate]) -> Option<Candidate> {
    let places = Places::of_this_machine();
    let usual = find(USUAL).ok().and_then(|architecture| {
        let mut weights = architecture.weights.iter();
        let weights = weights.find(|weights| is_here(weights, &places))?;
        Some(Candidate {
            architecture,
            weights,
        })
    });
    usual.or_else(|| candidates.first().copied())
}

fn left(architecture: &Architecture, why: String) -> LeftOut {
    LeftOut {
        network: Some(architecture.name.to_owned()),
        tune: None,
        why,
    }
}

fn is_here(weights: &'static PretrainedWeights, places: &Places) -> bool {
    fetch::locate(&models::source(weights), places).is_some()
}

fn download(candidate: &Candidate, places: &Places, context: &Context) -> anyhow::Result<()> {
    let label = format!("{} {}", candidate.name(), candidate.weights.name);
    let mut progress = None;
    fetch::fetch(
        &models::source(candidate.weights),
        places,
        context.global.offline,
        &context.interrupt,
        &mut |transfer| {
            progress
                .get_or_insert_with(|| context.console.start(&label, Unit::Bytes, None))
                .set(transfer.received, transfer.total);
        },
    )?;
    Ok(())
}

/// What a budget of time has room for, whatever the machine: two runs with one budget try the same photos.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    /// Photos whose features are compared.
    pub photos: usize,
    /// Photos that a tuning learns from in a probe.
    pub tuned: usize,
    /// Photos held back that it is asked about.
    pub held: usize,
}

impl Room {
    /// Of a budget of so many seconds.
    pub fn of(seconds: f64) -> Self {
        let within = |each_second: f64, least: f64, most: f64| {
            (each_second * seconds).clamp(least, most) as usize
        };
        Self {
            photos: within(8.0, 256.0, 4096.0),
            tuned: within(1.5, 128.0, 2048.0),
            held: within(1.0, 128.0, 1024.0),
        }
    }
}
