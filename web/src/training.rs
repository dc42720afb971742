//! A training in the page, step by step: core's trainer over the network on its device.

use rekindle_core::image::RgbImage;
use rekindle_core::model::Model;
use rekindle_core::tune::{
    Aims, Engine as _, EpochEnd, Given, Judgement, Labels, Phase, Plan, Recipe, Trainer,
    TrainerState, Tune, TuneError, Wanted, differences,
};
use rekindle_core::weights::Tensors;
use serde_json::Value;

use crate::engine::{Engine, in_training};
use crate::error::Failure;

/// A network in training. What it sees are values at the *cut*: what stands before it does not change, and is run by
/// the compiled network.
pub struct Training {
    /// The network that it began with.
    base: Model,
    /// What stands before the cut of a later phase is what earlier ones left: that phase, and the network then.
    front: Option<(usize, Model)>,
    trainer: Trainer<Engine>,
}

/// What a page says of a training: fields of a recipe as `recipe.toml` has them under `tuning`, over what is usual for
/// its way to tune.
///
/// # Errors
///
/// When it is no such thing, or the augmentation in it is none.
pub fn recipe(said: &str) -> Result<Recipe, Failure> {
    let wrong = |error: serde_json::Error| {
        Failure::usage(
            format!("the recipe cannot be understood: {error}"),
            "Give fields of a recipe, as docs/fine-tuning.md lists them.",
        )
    };
    let said: Value = serde_json::from_str(said).map_err(wrong)?;
    let tune = match &said["tune"] {
        Value::Null => Tune::Last(Tune::USUAL_LAST),
        Value::String(way) => way.parse().map_err(|error| {
            Failure::usage(
                format!("{error}"),
                "In a page it is last, or last: and a number.",
            )
        })?,
        other => {
            return Err(Failure::usage(
                format!("the way to tune is {other}"),
                "Give a text.",
            ));
        }
    };
    let mut recipe = serde_json::to_value(Recipe::of(tune)).map_err(Failure::unexpected)?;
    if let (Value::Object(fields), Value::Object(said)) = (&mut recipe, said) {
        fields.extend(said);
    }
    serde_json::from_value(recipe).map_err(wrong)
}

impl Training {
    /// Sets one up for examples of these classes, which are places among the network's own.
    ///
    /// # Errors
    ///
    /// When the recipe does not fit the network, or a label no class.
    pub fn new(
        model: &Model,
        recipe: &Recipe,
        labels: Vec<usize>,
        seed: u64,
    ) -> Result<Self, Failure> {
        let answers = model.card.classes.len();
        if labels.is_empty() {
            return Err(Failure::usage(
                "there is nothing to train on",
                "Give each example's class.",
            ));
        }
        let plan = Plan::new(recipe, model.graph())?;
        if plan.phases.is_empty() {
            return Err(Failure::usage(
                "this recipe trains nothing but the head",
                "Call fit() for the head, or say which stages train: last, last:3.",
            ));
        }
        let weights = recipe.class_weights.resolve(&labels, answers)?;
        let graph = model
            .graph()
            .with_chance(recipe.dropout, recipe.stochastic_depth);
        let engine = in_training(graph, model)?;
        let aims = Aims::new(Labels::Classes(labels), weights, recipe.label_smoothing);
        Ok(Self {
            base: model.clone(),
            front: None,
            trainer: Trainer::new(engine, plan, aims, seed),
        })
    }

    /// The network that it began with.
    pub fn base(&self) -> &Model {
        &self.base
    }

    /// What it goes by.
    pub fn recipe(&self) -> &Recipe {
        &self.trainer.plan().recipe
    }

    /// The phase it is in, or the last one.
    pub fn phase(&self) -> &Phase {
        let phases = &self.trainer.plan().phases;
        let at = self.trainer.position().phase.min(phases.len() - 1);
        &phases[at]
    }

    /// The trainer.
    pub fn trainer(&self) -> &Trainer<Engine> {
        &self.trainer
    }

    /// Numbers of one example at the cut.
    pub fn width(&self) -> usize {
        let shape = self.base.graph().shape_of(self.phase().cut);
        shape.iter().product()
    }

    /// Values at the cut of pictures as the network sees them.
    pub async fn values_of(&mut self, crops: &[RgbImage]) -> Result<Vec<f32>, Failure> {
        let cut = self.phase().cut;
        Ok(self.front().await?.read_value(crops, cut).await?)
    }

    /// Values at the cut of normalised images, `[N, C, H, W]`.
    ///
    /// # Errors
    ///
    /// When they are no whole images, or the device fails.
    pub async fn values(&mut self, images: Vec<f32>) -> Result<Vec<f32>, Failure> {
        let shape = self.base.graph().input();
        whole(images.len(), shape.iter().product(), "an image")?;
        let cut = self.phase().cut;
        Ok(self.front().await?.read_value_of_rows(images, cut).await?)
    }

    /// The network whose front makes values at the cut.
    async fn front(&mut self) -> Result<&Model, Failure> {
        let phase = self.trainer.position().phase;
        if phase == 0 {
            return Ok(&self.base);
        }
        if self.front.as_ref().is_none_or(|(of, _)| *of != phase) {
            let tensors = self.trainer.engine().tensors(false).await?;
            self.front = Some((phase, self.base.with_tensors(&tensors)));
        }
        match &self.front {
            Some((_, model)) => Ok(model),
            None => unreachable!("it was just made"),
        }
    }

    /// Begins the step that is wanted, with the values of its batches. Nothing is read back.
    ///
    /// # Errors
    ///
    /// When no step is wanted or one is being made, or the values are not those of its batches.
    pub fn begin(&mut self, batches: Vec<Vec<f32>>) -> Result<(), Failure> {
        let (Wanted::Step(wanted), false) = (self.trainer.wanted(), self.trainer.is_making())
        else {
            return Err(Failure::usage(
                "no step is wanted",
                "Ask what is, and do that.",
            ));
        };
        let width = self.width();
        let sizes = || batches.iter().map(Vec::len);
        if !sizes().eq(wanted.iter().map(|batch| batch.len() * width)) {
            let sizes: Vec<usize> = sizes().collect();
            let wanted: Vec<usize> = wanted.iter().map(Vec::len).collect();
            return Err(Failure::usage(
                format!(
                    "batches of {wanted:?} examples with {width} numbers each are wanted, and {sizes:?} numbers came"
                ),
                "Give an array for each batch, with its examples' values one after the other.",
            ));
        }
        let size = match (self.phase().cut, self.base.graph().input()) {
            (0, &[_, height, width]) => Some([height, width]),
            _ => None,
        };
        let batches = batches
            .into_iter()
            .map(|values| self.given(values))
            .collect();
        self.trainer.begin(batches, size);
        Ok(())
    }

    /// Goes on with the step that was begun until the browser's clock shows these milliseconds, or to its end. Says
    /// whether it is over.
    pub fn go_on(&mut self, until: f64) -> bool {
        self.trainer.go_on(&mut || js_sys::Date::now() >= until)
    }

    /// What the network answers for values at the cut: logits, the head's lift taken off.
    ///
    /// # Errors
    ///
    /// When they are no whole values, or the device fails.
    pub async fn answers(&self, values: Vec<f32>) -> Result<Vec<f32>, Failure> {
        whole(values.len(), self.width(), "an example")?;
        let engine = self.trainer.engine();
        let mut logits = engine
            .answers(self.given(values), self.trainer.is_averaged())
            .await?;
        let lift = self.base.card.lift();
        logits.iter_mut().for_each(|logit| *logit -= lift);
        Ok(logits)
    }

    fn given(&self, values: Vec<f32>) -> Given {
        Given::rows(self.phase().cut, values)
    }

    /// The mean loss of the steps since it was last asked for, if there were any.
    ///
    /// # Errors
    ///
    /// When one is no number, or the device fails.
    pub async fn losses(&mut self) -> Result<Option<f64>, TuneError> {
        self.trainer.losses().await
    }

    /// Ends an epoch with how good the network is on examples held back.
    ///
    /// # Errors
    ///
    /// When no judgement is wanted, and as [`losses`](Self::losses).
    pub async fn judged(&mut self, judgement: Option<Judgement>) -> Result<EpochEnd, Failure> {
        match self.trainer.wanted() {
            Wanted::Judgement => Ok(self.trainer.judged(judgement).await?),
            _ => Err(Failure::usage(
                "no judgement is wanted: the epoch has not come to its end",
                "Ask what is wanted, and do that.",
            )),
        }
    }

    /// Where it stands, as a file's bytes, with a note.
    ///
    /// # Errors
    ///
    /// When a loss is no number, the device fails, or there is no room.
    pub async fn state(&mut self, note: Value) -> Result<Vec<u8>, Failure> {
        Ok(self.trainer.state().await?.to_bytes(note)?)
    }

    /// Goes back to where another training of the same stood. `is_same` looks at the note.
    ///
    /// # Errors
    ///
    /// When the bytes are no such state.
    pub fn restore(
        &mut self,
        bytes: &[u8],
        is_same: impl FnOnce(&Value) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let (state, note) = TrainerState::from_bytes(bytes)?;
        is_same(&note)?;
        self.check_front(&state)?;
        self.trainer.restore(state)?;
        self.front = None;
        Ok(())
    }

    /// Whether what does not change is what a state had: values at the cut follow from it.
    fn check_front(&self, state: &TrainerState) -> Result<(), Failure> {
        let phases = &self.trainer.plan().phases;
        let changes = |name: &str| {
            let mut learning = phases.iter().map(|phase| &phase.learning);
            learning.any(|all| all.parameters.contains(name) || all.statistics.contains(name))
        };
        let own = self.base.state_dict();
        let is_own = |name: &str, values: &[f32]| {
            let own = own.get(name).map(|(_, own)| own.to_vec());
            own.is_some_and(|own| own == values)
        };
        let mut tensors = state.engine.tensors.iter();
        match tensors.find(|(name, (_, values))| !changes(name) && !is_own(name, values)) {
            Some((name, _)) => Err(Failure::usage(
                format!(
                    "this training cannot go on: it is of a network with other numbers in '{name}'"
                ),
                "Load the network that it began with.",
            )),
            None => Ok(()),
        }
    }

    /// The network as it stands, or on average where averages are kept.
    ///
    /// # Errors
    ///
    /// When the device fails.
    pub async fn model(&self) -> Result<Model, Failure> {
        let engine = self.trainer.engine();
        let tensors = engine.tensors(self.trainer.is_averaged()).await?;
        Ok(self.base.with_tensors(&tensors))
    }

    /// The best epoch's judgement and network, if an epoch has been judged.
    pub fn best(&self) -> Option<(usize, Judgement, &Tensors)> {
        self.trainer.best().next()
    }
}

/// How many rows of this width some numbers are.
fn whole(numbers: usize, width: usize, what: &str) -> Result<usize, Failure> {
    match numbers.checked_div(width) {
        Some(count @ 1..) if count * width == numbers => Ok(count),
        _ => Err(Failure::usage(
            format!("{what} has {width} numbers, and {numbers} came"),
            "Give whole ones, one after the other.",
        )),
    }
}

/// Whether what a state says of its training is what another one is.
///
/// # Errors
///
/// When it is not: with the names of what differs.
pub fn is_same(said: &Value, own: &Value) -> Result<(), Failure> {
    let differs = differences(said, own).join(", ");
    match differs.is_empty() {
        true => Ok(()),
        false => Err(Failure::usage(
            format!("this training cannot go on: it differs in {differs}"),
            "Put back what changed, or begin it anew.",
        )),
    }
}
