//! Which option of which command applies when. An option that would have no effect is a usage error:
//! whoever gives it expects one.

use clap::ArgMatches;
use clap::parser::ValueSource;
use rekindle_core::device::Preference;
use rekindle_core::task::Task;
use rekindle_core::tune::Tune;

use crate::cli::{
    BenchArgs, ClassWeightChoice, Cli, Command, CompareArgs, DataArgs, DoctorArgs, HeadChoice,
    InspectArgs, KernelChoice, SummaryArgs, TierChoice, TrainArgs,
};
use crate::ui::{ExitCode, Failure};

/// When an option has an effect.
enum Applies {
    /// In every combination.
    Always,
    /// In no combination of this command; it belongs to what is named.
    Never(&'static str),
    /// Where the condition holds; it belongs to what is named.
    Where(bool, &'static str),
}

use Applies::{Always, Never, Where};

/// Refuses the first option on the command line that does not apply in its combination.
///
/// What depends on files is refused where they are read: `--split` beside a folder `val/` or for a folder that
/// is not divided, `--seed` where nothing is drawn, `--weights` beside a model file, `--bare` and `--small-stem`
/// for networks that have nothing of the kind, `doctor --batch` where the device is the processor.
///
/// # Errors
///
/// A usage error that names the option and what it belongs to.
pub fn check(cli: &Cli, matches: &ArgMatches) -> Result<(), Failure> {
    let Some((command, given)) = matches.subcommand() else {
        return Ok(());
    };
    for id in given.ids() {
        let option = id.as_str().replace('_', "-");
        if given.value_source(id.as_str()) != Some(ValueSource::CommandLine) {
            continue;
        }
        let belongs_to = match applies(cli, &option) {
            None | Some(Always | Where(true, _)) => continue,
            Some(Never(to) | Where(false, to)) => to,
        };
        return Err(Failure::new(
            ExitCode::Usage,
            format!("--{option} does not apply to this `{command}`: it belongs to {belongs_to}"),
        )
        .with_help("leave it out, or give what it belongs to"));
    }
    Ok(())
}

/// The rule of an option; `None` for what the command does not have.
fn applies(cli: &Cli, option: &str) -> Option<Applies> {
    let command = &cli.command;
    match option {
        "device" => Some(device(command)),
        "precision" => Some(precision(command)),
        "json" => Some(match command {
            Command::Serve(_) | Command::Completions { .. } => {
                Never("the commands that print results")
            }
            _ => Always,
        }),
        // Promises that every command keeps, those too that have nothing to show or to download.
        "quiet" | "offline" => Some(Always),
        _ => match command {
            Command::Train(args) => train(args, option),
            Command::LrFind(args) => match option {
                "model" | "weights" | "input" | "grey" | "bare" | "small-stem" | "tune"
                | "batch" | "steps" | "augment" | "memory-limit" | "out" | "name" => Some(Always),
                _ => data(args, "an lr-find without --no-cache", option),
            },
            Command::Recommend(args) => match option {
                "budget" | "model" | "download" | "input" => Some(Always),
                _ => data(args, "a recommend without --no-cache", option),
            },
            Command::Predict(_) => {
                listed(option, &["weights", "top", "out", "strict", "max-pixels"])
            }
            Command::Evaluate(args) => match option {
                "path-column" | "label-column" | "split-column" => {
                    Some(Where(args.labels.labels.is_some(), "--labels"))
                }
                _ => listed(
                    option,
                    &[
                        "weights",
                        "split",
                        "strict",
                        "min-accuracy",
                        "max-pixels",
                        "labels",
                    ],
                ),
            },
            Command::Summary(args) => summary(args, cli.global.json, option),
            Command::Diagram(args) => match option {
                "out" => Some(Always),
                _ => inspect(&args.inspect, option),
            },
            Command::Export(_) => listed(option, &["weights", "onnx", "input", "out"]),
            Command::Compare(args) => compare(args, option),
            Command::Bench(args) => bench(args, option),
            Command::Doctor(args) => doctor(args, cli.global.device, option),
            Command::Serve(_) => listed(option, &["port"]),
            Command::Models | Command::Replay(_) | Command::Completions { .. } => None,
        },
    }
}

/// The rule of an option that says what is learnt from, and what of it is kept by `caching` commands.
fn data(args: &DataArgs, caching: &'static str, option: &str) -> Option<Applies> {
    Some(match option {
        "max-pixels" | "strict" | "seed" | "no-cache" | "labels" => Always,
        "cache-budget" => Where(!args.cache.no_cache, caching),
        "path-column" | "label-column" | "split-column" | "group-column" | "task" => {
            Where(args.labels.file.labels.is_some(), "--labels")
        }
        _ => return None,
    })
}

fn listed(option: &str, always: &[&str]) -> Option<Applies> {
    always.contains(&option).then_some(Always)
}

fn device(command: &Command) -> Applies {
    match command {
        Command::Train(_)
        | Command::LrFind(_)
        | Command::Recommend(_)
        | Command::Predict(_)
        | Command::Evaluate(_)
        | Command::Bench(_) => Always,
        Command::Compare(args) => measured(args),
        Command::Doctor(DoctorArgs { tier, .. }) => Where(
            tier.is_none(),
            "doctor without --tier, which names no device",
        ),
        Command::Models
        | Command::Summary(_)
        | Command::Diagram(_)
        | Command::Replay(_)
        | Command::Export(_)
        | Command::Serve(_)
        | Command::Completions { .. } => Never(
            "the commands that compute: train, lr-find, recommend, predict, evaluate, compare, bench, doctor",
        ),
    }
}

fn precision(command: &Command) -> Applies {
    match command {
        Command::Predict(_) | Command::Evaluate(_) => Always,
        Command::Compare(args) => measured(args),
        Command::Bench(args) => Where(
            args.kernels == KernelChoice::Ours,
            "--kernels ours: Burn's own keep numbers in 32 bits",
        ),
        Command::Train(_) | Command::LrFind(_) | Command::Recommend(_) => {
            Never("predict, evaluate, compare and bench: training keeps numbers in 32 bits")
        }
        _ => Never("predict, evaluate, compare and bench, where a network answers"),
    }
}

fn train(args: &TrainArgs, option: &str) -> Option<Applies> {
    match (args.tuning.resume.is_some(), option) {
        // How much memory there is now does not change what comes out.
        (_, "resume") | (true, "memory-limit" | "recompute") => Some(Always),
        (false, _) => new_training(args, option),
        (true, _) => new_training(args, option)
            .map(|_| Never("a new training: one that goes on has the options it began with")),
    }
}

fn new_training(args: &TrainArgs, option: &str) -> Option<Applies> {
    Some(match option {
        "weights" => Where(
            args.tuning.tune != Tune::Scratch,
            "--tune head, last, full and gradual, which start from pretrained weights",
        ),
        "model" | "input" | "grey" | "bare" | "small-stem" | "head" | "class-weights" | "out"
        | "name" | "folds" | "min-accuracy" | "recipe" => Always,
        "views" => Where(
            args.tuning.tune.is_head() || args.views > 0,
            "--tune head, which the plain photos are enough for: a tuning has one view or more",
        ),
        "split" => Where(
            args.folds.is_none(),
            "a measurement on held-out photos, without --folds",
        ),
        "c" => Where(args.head == HeadChoice::Linear, "--head linear"),
        "hidden" => Where(args.head == HeadChoice::Mlp, "--head mlp"),
        "epochs" | "batch" | "lr" | "weight-decay" | "dropout" => Where(
            args.head == HeadChoice::Mlp || !args.tuning.tune.is_head(),
            "--head mlp and --tune",
        ),
        "tune" => Always,
        // What the recipe in a file makes of `warmup` and `momentum`, is known where it is read.
        "optimizer" | "momentum" | "schedule" | "warmup" | "layer-decay" | "lr-of" | "clip"
        | "accumulate" | "label-smoothing" | "mixup" | "cutmix" | "ema" | "stochastic-depth"
        | "bn" | "freeze-bn-affine" | "balanced" | "augment" | "patience" | "keep" | "soup"
        | "freeze" | "unfreeze" | "checkpoint-every" | "events" | "memory-limit" | "recompute"
        | "tensorboard" => Where(
            !args.tuning.tune.is_head(),
            "--tune last, full, gradual and scratch",
        ),
        // Whether anything is drawn by the seed, the folder says: `draws`.
        _ => return data(args, "a training without --no-cache", option),
    })
}

/// Whether a training draws anything, be it that the folder says itself what is held back.
fn draws(args: &TrainArgs, folder_divides: bool) -> bool {
    args.head == HeadChoice::Mlp
        || !args.tuning.tune.is_head()
        || args.views > 0
        || args.folds.is_some()
        || args.weights.weights.as_deref() == Some("random")
        || !folder_divides
}

/// Refuses options of `train` that the task of the labels does not have.
///
/// # Errors
///
/// A usage error that names the option and what it belongs to.
pub fn check_task(args: &TrainArgs, task: Task) -> Result<(), Failure> {
    if task == Task::Classify {
        return Ok(());
    }
    let balanced = args.class_weights == Some(ClassWeightChoice::Auto);
    let refused = [
        (args.head == HeadChoice::Mlp, "--head mlp"),
        (args.min_accuracy.is_some(), "--min-accuracy"),
        (task == Task::Regress && balanced, "--class-weights auto"),
    ];
    let Some((_, option)) = refused.into_iter().find(|(given, _)| *given) else {
        return Ok(());
    };
    let found = match task {
        Task::MultiLabel => "photos have several labels here",
        _ => "values are learnt here",
    };
    let message = format!("{option} does not apply here: it belongs to classes, and {found}");
    Err(Failure::new(ExitCode::Usage, message)
        .with_help("leave it out, or give --task classify if each label names one class"))
}

/// Refuses options of `train` that have no effect on a folder which says itself what is held back.
///
/// # Errors
///
/// A usage error that names the option and what it belongs to.
pub fn check_folder(args: &TrainArgs, folder_divides: bool) -> Result<(), Failure> {
    let refuse =
        |message: &str, help: &str| Err(Failure::new(ExitCode::Usage, message).with_help(help));
    if args.split.is_some() && folder_divides {
        return refuse(
            "--split does not apply here: it belongs to folders without val/ and test/",
            "leave it out: the folder says itself what is held back",
        );
    }
    if args.seed.is_some() && !draws(args, folder_divides) {
        return refuse(
            "--seed does not apply here, where nothing is drawn: it belongs to photos that are held back, \
             --folds, --views, --head mlp and --weights random",
            "leave it out: the folder says itself what is held back, and a linear head is the same every time",
        );
    }
    Ok(())
}

fn inspect(args: &InspectArgs, option: &str) -> Option<Applies> {
    Some(match option {
        "input" | "classes" | "bare" | "freeze" => Always,
        "unfreeze" => Where(!args.freeze.is_empty(), "--freeze"),
        _ => return None,
    })
}

fn summary(args: &SummaryArgs, json: bool, option: &str) -> Option<Applies> {
    Some(match option {
        "batch" => Where(
            !(args.stages || args.parameters),
            "the list of layers, without --stages and --parameters",
        ),
        "stages" | "parameters" => Where(!json, "the table for people: --json prints everything"),
        _ => return inspect(&args.inspect, option),
    })
}

fn compare(args: &CompareArgs, option: &str) -> Option<Applies> {
    Some(match option {
        "batch" | "runs" => measured(args),
        "no-measure" => Always,
        _ => return None,
    })
}

fn doctor(args: &DoctorArgs, device: Preference, option: &str) -> Option<Applies> {
    let processor = match args.tier {
        Some(tier) => tier == TierChoice::Cpu,
        None => device == Preference::Cpu,
    };
    Some(match option {
        // That these two belong to --kernels is said where they are declared.
        "kernels" | "tier" | "train" => Always,
        "batch" if args.train => Always,
        "batch" => Where(
            !processor,
            "adapters (--tier): the processor's kernels are the same for any number of photos",
        ),
        _ => return None,
    })
}

/// What belongs to the measurement of `compare`.
fn measured(args: &CompareArgs) -> Applies {
    Where(
        !args.no_measure,
        "the measurement, which --no-measure leaves out",
    )
}

fn bench(args: &BenchArgs, option: &str) -> Option<Applies> {
    Some(match option {
        "weights" | "batch" | "runs" | "train" | "kernels" => Always,
        "bn" | "recompute" => Where(args.train, "--train"),
        "layers" => Where(
            args.kernels == KernelChoice::Ours,
            "--kernels ours, whose layers are measured",
        ),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, FromArgMatches as _};

    use super::*;

    fn checked(line: &str) -> Result<(), String> {
        let words = std::iter::once("rekindle").chain(line.split_whitespace());
        let matches = Cli::command().try_get_matches_from(words);
        let matches = matches.map_err(|error| error.to_string())?;
        let cli = Cli::from_arg_matches(&matches).map_err(|error| error.to_string())?;
        check(&cli, &matches).map_err(|failure| failure.to_string())
    }

    /// The table: each line an option, where it applies and where not. A command line with `!` in front
    /// is refused, with the option and the words after `:` in its message.
    const TABLE: &str = "
        train d --c 1
        ! train d --head mlp --c 1 : --head linear
        train d --head mlp --epochs 3 --batch 4 --lr 0.1 --weight-decay 0 --hidden 8 --dropout 0.1
        ! train d --epochs 3 : --head mlp
        ! train d --epochs 30 : --head mlp
        ! train d --head linear --batch 4 : --head mlp
        ! train d --lr 0.1 : --head mlp
        ! train d --weight-decay 0 : --head mlp
        ! train d --hidden 8 : --head mlp
        ! train d --dropout 0.1 : --head mlp
        train d --tune full --epochs 3 --batch 4 --lr 0.1 --weight-decay 0 --dropout 0.1 --optimizer sgd --momentum 0.9
        train d --tune last:3 --schedule cosine --warmup 0.1 --layer-decay 0.75 --lr-of head=1e-3 --clip 1 --accumulate 2
        train d --tune full --label-smoothing 0.1 --mixup 0.2 --cutmix 1 --ema 0.99 --stochastic-depth 0.1 --bn train
        train d --tune full --freeze-bn-affine --balanced --augment flip --patience 3 --keep last --soup --recipe r
        train d --tune gradual --freeze stem --unfreeze head --checkpoint-every 5 --events
        train --resume r
        train --resume r --memory-limit 2GB
        train d --tune full --memory-limit 2GB
        ! train d --memory-limit 2GB : --tune
        train --resume r --recompute
        train d --tune full --recompute
        ! train d --recompute : --tune
        ! train --resume r --epochs 3 : options it began with
        ! train --resume r --tune full : options it began with
        train d --tune full --warmup 0.1
        train d --recipe r
        ! train d --tune last --views 0 : one view or more
        ! train d --tune scratch --weights f : pretrained
        train d --tune full --folds 3 --tensorboard
        ! train d --tensorboard : --tune
        ! train d --optimizer sgd : --tune
        ! train d --checkpoint-every 5 : --tune
        ! train d --events : --tune
        train d --max-pixels 9000000 --split 0.3 --seed 3 --views 2 --class-weights auto --strict --min-accuracy 0.5
        ! train d --folds 3 --split 0.3 : --folds
        train d --no-cache
        train d --cache-budget 20GB
        ! train d --no-cache --cache-budget 20GB : --no-cache
        train d -m resnet18 --weights random --input 64 --grey mean --bare --small-stem --out o --name n
        ! train d --precision half : predict
        ! train d --precision full : predict
        ! --precision half train d : predict
        train d --labels f --path-column p --label-column a,b --split-column s --group-column g --task regress
        ! train d --path-column p : --labels
        ! train d --label-column p : --labels
        ! train d --split-column p : --labels
        ! train d --group-column p : --labels
        ! train d --task classify : --labels
        evaluate m d --labels f --path-column p --label-column a,b --split-column s
        ! evaluate m d --path-column p : --labels
        ! evaluate m d --label-column p : --labels
        ! evaluate m d --split-column p : --labels
        train d --device cpu --json --quiet --offline
        lr-find d -m resnet18 --weights random --input 64 --grey mean --bare --small-stem --out o --name n --device cpu
        lr-find d --tune last:3 --batch 8 --steps 20 --seed 1 --augment flip --strict --max-pixels 9M --no-cache --json
        lr-find d --tune gradual --cache-budget 1GB --memory-limit 2GB
        lr-find d --labels f --path-column p --label-column a,b --split-column s --group-column g --task regress
        ! lr-find d --path-column p : --labels
        ! lr-find d --label-column p : --labels
        ! lr-find d --split-column p : --labels
        ! lr-find d --group-column p : --labels
        ! lr-find d --task classify : --labels
        ! lr-find d --no-cache --cache-budget 1GB : --no-cache
        ! lr-find d --precision half : predict
        recommend d -m resnet18,resnet50 --budget 90s --download --input 96 --seed 1 --strict --max-pixels 9M --no-cache
        recommend d --cache-budget 1GB --device cpu --json --quiet --offline
        recommend d --labels f --path-column p --label-column a,b --split-column s --group-column g --task classify
        ! recommend d --no-cache --cache-budget 1GB : --no-cache
        ! recommend d --path-column p : --labels
        ! recommend d --label-column p : --labels
        ! recommend d --split-column p : --labels
        ! recommend d --group-column p : --labels
        ! recommend d --task classify : --labels
        ! recommend d --precision half : predict
        predict m i --max-pixels 9000000 --weights random --top 3 --out o --strict --precision half --device cpu --json
        evaluate m d --max-pixels 9000000 --weights w.pth --split val --strict --min-accuracy 0.5 --precision half --device cpu --json
        ! models --device cpu : train
        ! models --precision full : predict
        models --json --quiet --offline
        summary m --batch 2 --input 64 --classes 3 --bare --freeze all --unfreeze head --json
        summary m --stages --freeze all
        summary m --parameters
        ! summary m --stages --json : --json
        ! summary m --parameters --json : --json
        ! summary m --stages --batch 2 : --stages
        ! summary m --parameters --batch 2 : --parameters
        ! summary m --unfreeze head : --freeze
        ! summary m --device cpu : train
        ! summary m --precision half : predict
        diagram m --input 64 --classes 3 --bare --freeze all --unfreeze head --out o --json
        ! diagram m --unfreeze head : --freeze
        ! diagram m --device cpu : train
        ! diagram m --precision half : predict
        export m --onnx --weights random --input 96x128 --out o --json
        ! export m --onnx --precision half : predict
        ! export m --onnx --device cpu : train
        compare m --batch 2 --runs 2 --precision half --device cpu --json
        compare m --no-measure
        ! compare m --no-measure --batch 2 : --no-measure
        ! compare m --no-measure --runs 2 : --no-measure
        ! compare m --no-measure --device cpu : --no-measure
        ! compare m --no-measure --precision half : --no-measure
        bench m --weights random --batch 2 --runs 2 --train --layers --precision half --device cpu --json
        bench m --kernels burn --train
        bench m --train --bn frozen
        ! bench m --bn frozen : --train
        bench m --train --recompute
        ! bench m --recompute : --train
        ! bench m --kernels burn --layers : --kernels ours
        ! bench m --kernels burn --precision half : --kernels ours
        replay r --json --quiet --offline
        ! replay r --device cpu : train
        ! replay r --precision half : predict
        doctor --device cpu --json
        ! doctor --precision half : predict
        doctor --kernels resnet18 --device cpu
        doctor --kernels resnet18 --train --batch 2 --device cpu
        ! doctor --kernels resnet18 --train --tier roomy : --tier
        ! doctor --train : --kernels
        doctor --kernels resnet18 --batch 2 --device gpu
        doctor --kernels resnet18 --tier roomy --batch 2
        ! doctor --kernels resnet18 --batch 2 --device cpu : processor
        ! doctor --kernels resnet18 --tier cpu --batch 2 : processor
        ! doctor --kernels resnet18 --tier cpu --device cpu : --tier
        ! doctor --kernels resnet18 --precision half : predict
        ! doctor --tier cpu : --kernels
        ! doctor --batch 2 : --kernels
        serve d --port 1 --quiet --offline
        ! serve d --json : results
        ! serve d --device cpu : train
        ! serve d --precision half : predict
        completions bash --quiet
        ! completions bash --json : results
        ! completions bash --device cpu : train
        ! completions bash --precision half : predict
    ";

    #[test]
    fn options_apply_or_are_refused_by_name_with_what_they_belong_to() {
        for line in TABLE.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let Some(refused) = line.strip_prefix('!') else {
                assert_eq!(checked(line), Ok(()), "{line}");
                continue;
            };
            let (refused, words) = refused.split_once(" : ").expect("what it belongs to");
            let message = checked(refused).expect_err(refused);
            assert!(message.contains(words), "{line}\n{message}");
            let option = refused.split(' ').filter(|word| word.starts_with("--"));
            assert!(
                option.into_iter().any(|option| message.contains(option)),
                "{line}\n{message}"
            );
        }
    }

    #[test]
    fn options_are_refused_where_the_folder_leaves_them_nothing_to_do() {
        let refused = |line: &str, folder_divides: bool| {
            let words = std::iter::once("rekindle").chain(line.split_whitespace());
            let cli = Cli::from_arg_matches(&Cli::command().get_matches_from(words)).unwrap();
            let Command::Train(args) = &cli.command else {
                panic!("{line}")
            };
            let refused = check_folder(args, folder_divides);
            refused.map_or_else(|failure| failure.to_string(), |()| String::new())
        };
        for line in ["train d --seed 3", "train d --split 0.3"] {
            assert_eq!(refused(line, false), "", "{line}");
            let option = line.split(' ').nth(2).unwrap();
            assert!(refused(line, true).starts_with(option), "{line}");
        }
        for more in ["--head mlp", "--views 1", "--folds 3", "--weights random"] {
            assert_eq!(refused(&format!("train d --seed 0 {more}"), true), "");
        }
        assert_eq!(refused("train d --views 0", true), "");
        assert!(refused("train d --seed 0 --views 0", true).contains("--views"));
    }

    #[test]
    fn every_option_of_every_command_has_a_rule_and_a_line_in_the_table() {
        let mut program = Cli::command();
        program.build();
        for command in program.get_subcommands() {
            let name = command.get_name();
            let line = match name {
                "predict" => "predict m i",
                "train" => "train d",
                "replay" => "replay r",
                "lr-find" => "lr-find d",
                "recommend" => "recommend d",
                "evaluate" => "evaluate m d",
                "summary" | "diagram" | "compare" | "bench" => &format!("{name} m"),
                "export" => "export m --onnx",
                "completions" => "completions bash",
                "help" => continue,
                other => other,
            };
            let words = std::iter::once("rekindle").chain(line.split(' '));
            let cli = Cli::command().try_get_matches_from(words);
            let cli = Cli::from_arg_matches(&cli.unwrap()).unwrap();
            let options = command.get_arguments().filter(|arg| !arg.is_positional());
            for option in options.filter_map(|option| option.get_long()) {
                if matches!(option, "help" | "version") {
                    continue;
                }
                assert!(
                    applies(&cli, option).is_some(),
                    "{name} --{option} has no rule in native/src/options.rs"
                );
                let tried = TABLE.lines().any(|row| {
                    let mut words = row.split_whitespace().skip_while(|&word| word == "!");
                    let of_this = words.clone().any(|word| word == name);
                    of_this
                        && (words.any(|word| word == format!("--{option}"))
                            || matches!(option, "quiet" | "offline" | "model"))
                });
                assert!(
                    tried,
                    "{name} --{option} has no line in the table of this test"
                );
            }
        }
    }
}
