use rekindle_core::train::ClassWeights;
use rekindle_core::tune::Schedule;

use super::*;

fn parse(text: &str, tune: Tune) -> Result<Recipe, String> {
    tuning(Parts::of(text.parse().unwrap())?.tuning, tune)
}

#[test]
fn a_head_is_read_whole_and_what_is_unknown_in_it_is_named() {
    let head = |text: &str| Parts::of(text.parse().unwrap()).unwrap().head();
    assert_eq!(head("[tuning]"), Ok(HeadRecipe::linear()));
    let mlp = "[head]\nkind = \"mlp\"\nhidden = 16\ndropout = 0.2\nrate = 0.01\nclass_weights = \"balanced\"";
    let HeadRecipe::Mlp {
        hidden,
        dropout,
        training,
        class_weights,
    } = head(mlp).unwrap()
    else {
        panic!("a two-layer head")
    };
    assert_eq!((hidden, dropout, training.rate), (Some(16), 0.2, 0.01));
    assert_eq!(
        (training.epochs, class_weights),
        (30, ClassWeights::Balanced)
    );
    for (text, words) in [
        ("[head]\nfoo = 3", "`foo`"),
        ("[head]\nhidden = 3", "`hidden`"),
        ("[head]\nc = -1.0", "`c` is -1"),
        ("[head]\nkind = \"deep\"", "it may be linear, mlp"),
        ("[head]\nkind = \"mlp\"\nepochs = 0", "`epochs` is 0"),
        ("[head]\nclass_weights = \"some\"", "some"),
    ] {
        let told = head(text).unwrap_err();
        assert!(told.contains(words), "{text}: {told}");
    }
}

#[test]
fn a_tuning_says_what_it_tunes_once() {
    let check = |text: &str, given| Parts::of(text.parse().unwrap()).unwrap().check(given);
    assert_eq!(
        check("model = \"x\"\nviews = 0\n[head]\nkind = \"linear\"", false),
        Ok(())
    );
    assert!(check("lr = 1e-3", false).unwrap_err().contains("no `tune`"));
    assert_eq!(check("lr = 1e-3", true), Ok(()));
    let phases = "tune = \"full\"\nphases = []";
    assert_eq!(check(phases, false), Ok(()));
    assert!(check(phases, true).unwrap_err().contains("`phases`"));
}

#[test]
fn what_a_file_leaves_out_is_usual_and_what_is_unknown_is_named() {
    let usual = Recipe::of(Tune::Full);
    assert_eq!(parse("", Tune::Full).unwrap(), usual);
    let changed = parse("lr = 1e-3\nepochs = 2\naugment = \"none\"", Tune::Full).unwrap();
    assert_eq!(
        (changed.lr, changed.epochs, changed.batch),
        (1e-3, 2, usual.batch)
    );
    let whole = toml::to_string(&Table::from_iter([(
        "tuning".to_owned(),
        Value::try_from(&changed).unwrap(),
    )]));
    assert_eq!(parse(&whole.unwrap(), Tune::Full).unwrap(), changed);
    for (text, words) in [
        ("learning_rate = 1", "learning_rate"),
        (
            "batch = 1000000000",
            "`batch` is 1000000000; it must be at most 8192",
        ),
        ("[augment.crop]\nscale = [0.5, 1.5]", "crop.scale"),
        ("[augment.crop]\nratio = [0.0, 1.0]", "crop.ratio"),
        ("[augment.crop]\nratio = [-1.0, 1.0]", "crop.ratio"),
        ("augment = { flip = 1.5 }", "flip"),
        ("lr = -1.0", "`lr`"),
        ("modle = \"x\"\n[tuning]", "modle"),
        ("tuning = 3", "must be a table"),
    ] {
        let told = parse(text, Tune::Full).unwrap_err();
        assert!(told.contains(words), "{text}: {told}");
    }
}

#[test]
fn what_the_command_line_calls_by_a_name_a_recipe_may_call_so_too() {
    let short = "optimizer = \"sgd\"\nschedule = \"cosine\"\nema = 0.99\nwarmup = 0.1";
    let long = "optimizer = { kind = \"sgd\", momentum = 0.9 }\nschedule = { kind = \"cosine\" }\n\
                ema = { decay = 0.99 }\nwarmup = { share = 0.1, start = 0.01 }";
    let read = |text: &str| parse(text, Tune::Full).unwrap();
    assert_eq!(read(short), read(long));
    assert_eq!(read("warmup = 0"), Recipe::of(Tune::Full));
    let step = read("schedule = \"step\"\nepochs = 9").schedule;
    assert_eq!(
        step,
        Schedule::Step {
            every: 3,
            gamma: 0.1
        }
    );
    for (text, words) in [
        ("optimizer = \"sdg\"", "`optimizer` is sdg; it may be adamw"),
        ("schedule = \"linear\"", "it may be one-cycle"),
        ("mixup = 0.2", "mixing = {"),
        ("weight_decay = 0.1", "optimizer = {"),
        ("layer_decay = 0.1", "rates = {"),
        ("optimizer = 3", "`optimizer`"),
        ("ema = \"much\"", "a share such as 0.99"),
        ("epochs = 1.5", "`epochs`: "),
        ("epochs = 1.5", "a whole number is expected"),
        ("lr = \"high\"", "a number is expected"),
    ] {
        let told = parse(text, Tune::Full).unwrap_err();
        assert!(told.contains(words), "{text}: {told}");
    }
}

#[test]
fn what_an_option_cannot_be_is_said_in_the_recipes_words() {
    let told = unfit("channels", "--grey=pink").unwrap();
    assert!(
        told.starts_with("`channels` is pink; it may be rgb, "),
        "{told}"
    );
    let told = unfit("bare", "--bare=yes").unwrap();
    assert_eq!(told, "`bare` is yes; it may be true or false");
    assert!(
        unfit("seed", "--seed=-1")
            .unwrap()
            .starts_with("`seed` is -1; it must be ")
    );
    assert_eq!(unfit("seed", "--seed=1"), None);
    let text = "model = \"x\"\nchannels = \"pink\"\n";
    assert!(with_line(text, "`channels` is pink").starts_with("line 2: "));
}

#[test]
fn the_recipes_that_come_along_are_recipes() {
    for (name, text) in PRESETS {
        assert!(text.starts_with(&format!("# {name}: ")));
        let table: Table = text.parse().unwrap();
        let tune = table["tuning"]["tune"].as_str().unwrap().parse().unwrap();
        let recipe = parse(text, tune).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(recipe.tune, tune);
    }
}
