//! Curves drawn as SVG: a picture that stands alone and in a page, light or dark as the reader has it, and readable at
//! the width of a phone.

use std::fmt::Write as _;

use rekindle_core::inspect::escape;

/// A line through points.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    /// What it shows, for the legend.
    pub name: String,
    /// The points, from left to right, in the units of the axes. Where one is no finite number, or cannot stand on a
    /// logarithmic axis, the line is broken.
    pub points: Vec<(f64, f64)>,
}

/// A place on the horizontal axis that is pointed out.
#[derive(Debug, Clone, PartialEq)]
pub struct Mark {
    /// What is there.
    pub name: String,
    /// Where, in the units of the horizontal axis.
    pub x: f64,
    /// The height at which a dot is drawn, if one is.
    pub y: Option<f64>,
}

/// A height that is pointed out: a dashed line from side to side.
#[derive(Debug, Clone, PartialEq)]
pub struct Level {
    /// What is there.
    pub name: String,
    /// Where, in the units of the vertical axis.
    pub y: f64,
}

/// What the numbers along an axis are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// Any numbers.
    Plain,
    /// Positive ones, drawn by their logarithms; of horizontal axes.
    Logarithmic,
    /// Whole ones, such as epochs.
    Whole,
    /// Shares of 0 to 1, as percent.
    Share,
    /// The same, as fractions.
    Fraction,
    /// Numbers of which 1 is the most there can be.
    UpToOne,
}

impl Scale {
    /// The least and the greatest number that there can be.
    fn limits(self) -> [f64; 2] {
        match self {
            Self::Share | Self::Fraction => [0.0, 1.0],
            Self::UpToOne => [f64::NEG_INFINITY, 1.0],
            Self::Plain | Self::Logarithmic | Self::Whole => [f64::NEG_INFINITY, f64::INFINITY],
        }
    }

    /// The numbers that stand at an axis between bounds, and how they are written.
    fn ticks(self, bounds: [f64; 2], most: usize) -> Vec<(f64, String)> {
        let [least, greatest] = self.limits();
        let mut all = match self {
            Self::Logarithmic => return decades(bounds),
            Self::Share => {
                let percent = bounds.map(|bound| 100.0 * bound);
                let of_share =
                    |(value, words): (f64, String)| (value / 100.0, format!("{words} %"));
                ticks(percent, most).into_iter().map(of_share).collect()
            }
            _ => ticks(bounds, most),
        };
        const ROUNDING: f64 = 1e-9;
        all.retain(|(value, _)| {
            let is_whole = (value - value.round()).abs() < ROUNDING;
            (least - ROUNDING..=greatest + ROUNDING).contains(value)
                && (self != Self::Whole || is_whole)
        });
        if self == Self::Whole {
            for (value, words) in &mut all {
                *words = format!("{value:.0}");
            }
        }
        all
    }
}

/// What the two axes are, and what stands over them.
#[derive(Debug, Clone, Copy)]
pub struct Axes<'a> {
    /// The title of the picture.
    pub title: &'a str,
    /// What the horizontal axis is called.
    pub x_label: &'a str,
    /// What the vertical axis is called.
    pub y_label: &'a str,
    /// What is along the horizontal axis.
    pub x: Scale,
    /// What is along the vertical axis.
    pub y: Scale,
}

impl<'a> Axes<'a> {
    /// Of a figure from one epoch to the next.
    pub fn of_epochs(title: &'a str, figure: &'a str, y: Scale) -> Self {
        Self {
            title,
            x_label: "epoch",
            y_label: figure,
            x: Scale::Whole,
            y,
        }
    }
}

/// The size in units of the picture, which is as wide as what it stands in, and 600 pixels at most. Letters of 15 units
/// are 11 pixels high on a phone.
const WIDTH: f64 = 500.0;
const MOST_PIXELS: usize = 600;
const LETTERS: f64 = 15.0;
/// Width of a letter on average, in units.
const LETTER: f64 = 0.56 * LETTERS;
const LEFT: f64 = 80.0;
const RIGHT: f64 = 16.0;
/// Height of what the lines are drawn in.
const HEIGHT: f64 = 250.0;
const ROW: f64 = 24.0;
/// Below what the lines are drawn in: numbers and the axis's name.
const BELOW: f64 = 58.0;

/// The colours of lines and of marks in light and in dark pages: apart from each other for colour-blind readers too
/// (Okabe and Ito's, darker or lighter), and from the page. Lines also differ in their dashes.
const COLOURS: [(&str, &str); 5] = [
    ("#b8430a", "#ff9a5c"),
    ("#0063a6", "#6cb8f0"),
    ("#00795a", "#4fcfa6"),
    ("#8a3f78", "#e29bd0"),
    ("#6b5d00", "#e0cf5a"),
];
const DASHES: [&str; 5] = ["", "7 4", "2 4", "10 4 2 4", "14 5"];

/// The style, under a class of its own, so that it does no harm to a page around it.
fn style() -> String {
    let (mut light, mut dark) = (String::new(), String::new());
    for (index, (on_light, on_dark)) in COLOURS.iter().enumerate() {
        let _ = write!(light, "--c{index}:{on_light};");
        let _ = write!(dark, "--c{index}:{on_dark};");
    }
    format!(
        "<style>.rk-curves{{color-scheme:light dark;--paper:#fff;--ink:#1a1a1a;--soft:#595959;--grid:#e3e3e3;{light}\
         max-width:{MOST_PIXELS}px;width:100%;height:auto;background:var(--paper);font:{LETTERS}px system-ui,sans-serif}}\
         @media(prefers-color-scheme:dark){{.rk-curves{{--paper:#1b1b1b;--ink:#f0f0f0;--soft:#b5b5b5;--grid:#3a3a3a;{dark}}}}}\
         .rk-curves text{{fill:var(--ink)}}.rk-curves .soft{{fill:var(--soft)}}</style>"
    )
}

/// Draws curves over one pair of axes. Levels are dashed lines from side to side; marks are dashed lines from top to bottom,
/// with a dot where they say one.
///
/// What is not drawable (no finite number, or nothing above zero on a logarithmic axis) is left out.
pub fn svg(axes: &Axes<'_>, curves: &[Curve], levels: &[Level], marks: &[Mark]) -> String {
    let Axes {
        title,
        x_label,
        y_label,
        ..
    } = *axes;
    let log_x = axes.x == Scale::Logarithmic;
    let across = |x: f64| if log_x { x.log10() } else { x };
    let is_drawn = |&(x, y): &(f64, f64)| across(x).is_finite() && y.is_finite();
    let points = || {
        curves
            .iter()
            .flat_map(|curve| &curve.points)
            .filter(|point| is_drawn(point))
    };
    let marks: Vec<&Mark> = marks
        .iter()
        .filter(|mark| across(mark.x).is_finite())
        .collect();
    let marked = marks.iter().map(|mark| across(mark.x));
    let xs = bounds(points().map(|point| across(point.0)).chain(marked));
    let levels: Vec<&Level> = levels.iter().filter(|level| level.y.is_finite()).collect();
    let heights = levels.iter().map(|level| level.y);
    let ys = within(bounds(points().map(|point| point.1).chain(heights)), axes.y);
    let (x_ticks, y_ticks) = (axes.x.ticks(xs, 7), axes.y.ticks(ys, 6));
    let ys = widened(ys, &y_ticks);
    // Decades stand within the axis.
    let xs = if log_x { xs } else { widened(xs, &x_ticks) };

    let names: Vec<Entry<'_>> = entries(curves, &levels, &marks);
    let rows = names.iter().map(|entry| entry.row + 1).max().unwrap_or(0);
    let top = 20.0 + ROW * (1.0 + rows as f64);
    let bottom = top + HEIGHT;
    let height = bottom + BELOW;
    let place = |x: f64, y: f64| {
        let share = |value: f64, [low, high]: [f64; 2]| (value - low) / (high - low);
        (
            LEFT + share(x, xs) * (WIDTH - LEFT - RIGHT),
            bottom - share(y, ys).clamp(0.0, 1.0) * HEIGHT,
        )
    };

    // Writing to a string cannot fail.
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"rk-curves\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" \
         aria-label=\"{title}\">{}<text x=\"{LEFT}\" y=\"26\" font-size=\"{size:.1}\" font-weight=\"600\">{title}</text>",
        style(),
        title = escape(title),
        size = (1.2 * LETTERS)
            .min((WIDTH - LEFT - RIGHT) / (0.56 * title.chars().count().max(1) as f64)),
    );
    for entry in &names {
        let (x, y) = (LEFT + entry.x, 20.0 + ROW * (entry.row as f64 + 1.4));
        let _ = write!(
            svg,
            "<path d=\"M{x:.1} {:.1}h26\" {}/><text x=\"{:.1}\" y=\"{y:.1}\">{}</text>",
            y - 5.0,
            entry.stroke,
            x + 32.0,
            escape(entry.name),
        );
    }
    for (value, words) in &y_ticks {
        let (_, y) = place(xs[0], *value);
        let _ = write!(
            svg,
            "<path d=\"M{LEFT} {y:.1}H{}\" stroke=\"var(--grid)\"/>\
             <text class=\"soft\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{words}</text>",
            WIDTH - RIGHT,
            LEFT - 8.0,
            y + 5.0,
        );
    }
    for (value, words) in &x_ticks {
        let (x, _) = place(*value, ys[0]);
        let _ = write!(
            svg,
            "<path d=\"M{x:.1} {bottom}v5\" stroke=\"var(--soft)\"/>\
             <text class=\"soft\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{words}</text>",
            bottom + 22.0,
        );
    }
    let _ = write!(
        svg,
        "<path d=\"M{LEFT} {top}V{bottom}H{}\" fill=\"none\" stroke=\"var(--soft)\"/>\
         <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\
         <text x=\"16\" y=\"{:.1}\" text-anchor=\"middle\" transform=\"rotate(-90 16 {:.1})\">{}</text>",
        WIDTH - RIGHT,
        (LEFT + WIDTH - RIGHT) / 2.0,
        bottom + 46.0,
        escape(x_label),
        top + HEIGHT / 2.0,
        top + HEIGHT / 2.0,
        escape(y_label),
    );
    for (index, level) in levels.iter().enumerate() {
        let (_, y) = place(xs[0], level.y);
        let stroke = stroke(curves.len() + index);
        let _ = write!(
            svg,
            "<path d=\"M{LEFT} {y:.1}H{}\" {stroke}/>",
            WIDTH - RIGHT
        );
    }
    let before = curves.len() + levels.len();
    for (index, mark) in marks.iter().enumerate() {
        let (x, _) = place(across(mark.x), ys[0]);
        let stroke = stroke(before + index);
        let _ = write!(svg, "<path d=\"M{x:.1} {top}V{bottom}\" {stroke}/>");
    }
    for (index, curve) in curves.iter().enumerate() {
        let mut path = String::new();
        let mut is_begun = false;
        for point in &curve.points {
            if !is_drawn(point) {
                is_begun = false;
                continue;
            }
            let (x, y) = place(across(point.0), point.1);
            let _ = write!(path, "{}{x:.1} {y:.1}", if is_begun { 'L' } else { 'M' });
            is_begun = true;
        }
        // A line of one point has no length; round ends show it as a dot.
        let _ = write!(
            svg,
            "<path d=\"{path}{}\" {} stroke-linejoin=\"round\" stroke-linecap=\"round\"/>",
            if is_begun { "h0" } else { "" },
            stroke(index),
        );
    }
    for (index, mark) in marks.iter().enumerate() {
        if let Some(y) = mark.y.filter(|y| y.is_finite()) {
            let (x, y) = place(across(mark.x), y);
            let colour = (before + index) % COLOURS.len();
            let _ = write!(
                svg,
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"6\" fill=\"var(--c{colour})\" stroke=\"var(--paper)\" \
                 stroke-width=\"2\"/>"
            );
        }
    }
    svg + "</svg>"
}

/// How the line of a curve, or of a level or a mark behind the curves, is drawn.
fn stroke(index: usize) -> String {
    let place = index % COLOURS.len();
    format!(
        "fill=\"none\" stroke=\"var(--c{place})\" stroke-width=\"2.5\" stroke-dasharray=\"{}\"",
        DASHES[place]
    )
}

/// A name in the legend.
struct Entry<'a> {
    name: &'a str,
    stroke: String,
    /// Where it begins, from the left edge of the lines.
    x: f64,
    row: usize,
}

/// The names of curves, levels and marks, as many in a row as there is room for.
fn entries<'a>(curves: &'a [Curve], levels: &[&'a Level], marks: &[&'a Mark]) -> Vec<Entry<'a>> {
    let names = curves.iter().map(|curve| curve.name.as_str());
    let names = names.chain(levels.iter().map(|level| level.name.as_str()));
    let names = names.chain(marks.iter().map(|mark| mark.name.as_str()));
    let (mut x, mut row) = (0.0, 0);
    let mut entries = Vec::new();
    for (index, name) in names.enumerate() {
        let width = 56.0 + LETTER * name.chars().count() as f64;
        if x > 0.0 && x + width > WIDTH - LEFT - RIGHT {
            (x, row) = (0.0, row + 1);
        }
        let stroke = stroke(index);
        entries.push(Entry {
            name,
            stroke,
            x,
            row,
        });
        x += width;
    }
    entries
}

/// The least and the greatest number, apart from each other; 0 and 1 where there is none.
fn bounds(values: impl Iterator<Item = f64>) -> [f64; 2] {
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
        (low.min(value), high.max(value))
    });
    match (low.is_finite(), high - low) {
        (false, _) => [0.0, 1.0],
        (true, wide) if wide > 1e-9 * low.abs().max(high.abs()) && wide.is_finite() => [low, high],
        (true, _) => {
            let half = (0.5 * low.abs()).clamp(0.5, f64::MAX / 4.0);
            [
                low.clamp(f64::MIN / 4.0, f64::MAX / 4.0) - half,
                low.clamp(f64::MIN / 4.0, f64::MAX / 4.0) + half,
            ]
        }
    }
}

/// Bounds no wider than what a scale can have, where that leaves anything between them.
fn within([low, high]: [f64; 2], scale: Scale) -> [f64; 2] {
    let [least, greatest] = scale.limits();
    match (low.max(least), high.min(greatest)) {
        (low, high) if low < high => [low, high],
        _ => [low, high],
    }
}

/// Bounds out to the first and the last of the ticks.
fn widened([low, high]: [f64; 2], ticks: &[(f64, String)]) -> [f64; 2] {
    let first = ticks.first().map_or(low, |tick| tick.0);
    let last = ticks.last().map_or(high, |tick| tick.0);
    [low.min(first), high.max(last)]
}

/// Round numbers between bounds, and one beyond each end where there is a rest: 1, 2 or 5 times a power of ten apart.
fn ticks([low, high]: [f64; 2], most: usize) -> Vec<(f64, String)> {
    let rough = (high - low) / most as f64;
    let ten = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * ten)
        .find(|&step| step >= rough)
        .unwrap_or(10.0 * ten);
    let first = (low / step).floor();
    let count = ((high / step).ceil() - first).clamp(0.0, 2.0 * most as f64) as usize;
    let digits = (-step.log10().floor()).clamp(0.0, 12.0) as usize;
    let is_large = high.abs().max(low.abs()) >= 1e6 || step < 1e-6;
    let word = |value: f64| match is_large {
        true => format!("{value:.1e}"),
        // No minus before a zero.
        false => format!("{:.digits$}", value + 0.0),
    };
    (0..=count)
        .map(|tick| (first + tick as f64) * step)
        .filter(|value| value.is_finite())
        .map(|value| (value, word(value)))
        .collect()
}

/// Powers of ten within bounds that are logarithms; of many, some.
fn decades([low, high]: [f64; 2]) -> Vec<(f64, String)> {
    let (first, last) = ((low - 1e-9).ceil() as i64, (high + 1e-9).floor() as i64);
    if last <= first {
        let words = |tick: (f64, String)| (tick.0, format!("{:.1e}", 10_f64.powf(tick.0)));
        return vec![words((low, String::new())), words((high, String::new()))];
    }
    let every = (last - first) / 12 + 1;
    let all = (first..=last).step_by(every.max(1) as usize);
    let word = |power: i64| match power {
        -3..=3 => format!("{}", 10_f64.powi(power as i32)),
        _ => format!("1e{power}"),
    };
    all.map(|power| (power as f64, word(power))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(name: &str, points: &[(f64, f64)]) -> Curve {
        Curve {
            name: name.to_owned(),
            points: points.to_vec(),
        }
    }

    fn mark(name: &str, x: f64, y: Option<f64>) -> Mark {
        Mark {
            name: name.to_owned(),
            x,
            y,
        }
    }

    const PLAIN: Axes<'static> = Axes {
        title: "t",
        x_label: "x",
        y_label: "y",
        x: Scale::Plain,
        y: Scale::Plain,
    };

    /// The numbers of a path's points.
    fn drawn(svg: &str) -> Vec<(char, f64, f64)> {
        let path = svg
            .split("<path d=\"")
            .find(|path| path.contains("stroke-linejoin"))
            .unwrap();
        let path = path.split('"').next().unwrap().trim_end_matches("h0");
        let starts: Vec<char> = path.chars().filter(|c| matches!(c, 'M' | 'L')).collect();
        let numbers = path.split(['M', 'L']).filter(|part| !part.is_empty());
        let numbers = numbers.map(|pair| pair.split_once(' ').unwrap());
        let read = |text: &str| text.parse::<f64>().unwrap();
        starts
            .into_iter()
            .zip(numbers)
            .map(|(start, (x, y))| (start, read(x), read(y)))
            .collect()
    }

    #[test]
    fn points_stand_where_the_axes_say() {
        let points = [(1e-4, 0.0), (1e-3, 5.0), (1e-2, 10.0)];
        let drawn = drawn(&svg(
            &Axes {
                x: Scale::Logarithmic,
                ..PLAIN
            },
            &[curve("a", &points)],
            &[],
            &[],
        ));
        let [first, middle, last] = drawn[..] else {
            panic!("{drawn:?}")
        };
        assert_eq!((first.1, last.1), (LEFT, WIDTH - RIGHT));
        assert!((middle.1 - (first.1 + last.1) / 2.0).abs() < 0.1);
        assert!((middle.2 - (first.2 + last.2) / 2.0).abs() < 0.1);
        assert!((first.2 - last.2 - HEIGHT).abs() < 0.1, "upwards is more");
    }

    #[test]
    fn a_line_is_broken_where_there_is_no_number() {
        let points = [
            (1.0, 1.0),
            (2.0, f64::NAN),
            (3.0, 2.0),
            (4.0, f64::INFINITY),
            (5.0, 1.0),
        ];
        let svg = svg(&PLAIN, &[curve("a", &points)], &[], &[]);
        let starts: Vec<char> = drawn(&svg).iter().map(|point| point.0).collect();
        assert_eq!(starts, ['M', 'M', 'M']);
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }

    #[test]
    fn anything_can_be_drawn_and_nothing_is_markup() {
        let odd = [
            vec![],
            vec![(0.0, 0.0)],
            vec![(1.0, 7.0), (2.0, 7.0)],
            vec![(f64::NAN, f64::NAN)],
            vec![(1e300, 1e300), (-1e300, -1e300), (2.0, f64::MAX)],
            vec![(1e-300, 1e-300), (2e-300, 3e-300)],
            vec![(5.0, f64::MAX)],
        ];
        for points in &odd {
            for x in [Scale::Logarithmic, Scale::Plain, Scale::Whole, Scale::Share] {
                let axes = Axes {
                    title: "<t>",
                    x_label: "<x>",
                    y_label: "<y>",
                    x,
                    y: if x == Scale::Whole {
                        Scale::UpToOne
                    } else {
                        Scale::Fraction
                    },
                };
                let levels = [f64::NAN, 0.5, 1e300].map(|y| Level {
                    name: "<l>".to_owned(),
                    y,
                });
                let marks = [mark("<m>", 1e-3, Some(f64::NAN)), mark("n", -1.0, None)];
                let curves = [curve("<script>", points), curve("b & \"c\"", &[])];
                let svg = svg(&axes, &curves, &levels, &marks);
                assert!(
                    !svg.contains("NaN") && !svg.contains("inf"),
                    "{points:?}\n{svg}"
                );
                assert!(!svg.contains("<script>") && svg.contains("&lt;script&gt;"));
                for raw in ["<t>", "<x>", "<y>", "<m>", "<l>"] {
                    assert!(!svg.contains(raw), "{raw}");
                }
                assert!(svg.len() < 8000, "{} bytes", svg.len());
            }
        }
    }

    #[test]
    fn ticks_are_round_and_cover_what_is_drawn() {
        let words = |ticks: Vec<(f64, String)>| -> Vec<String> {
            ticks.into_iter().map(|tick| tick.1).collect()
        };
        assert_eq!(
            words(ticks([0.13, 0.91], 6)),
            ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]
        );
        assert_eq!(
            words(ticks([-0.3, 0.2], 6)),
            ["-0.3", "-0.2", "-0.1", "0.0", "0.1", "0.2"]
        );
        assert_eq!(
            words(ticks([1.0, 5.0], 8)),
            [
                "1.0", "1.5", "2.0", "2.5", "3.0", "3.5", "4.0", "4.5", "5.0"
            ]
        );
        assert_eq!(
            words(decades([-7.0, 0.92])),
            ["1e-7", "1e-6", "1e-5", "1e-4", "0.001", "0.01", "0.1", "1"]
        );
        for bounds in [[0.0, 1e-9], [-1e9, 1e9], [99.0, 101.0]] {
            let ticks = ticks(bounds, 6);
            assert!(ticks[0].0 <= bounds[0] && ticks[ticks.len() - 1].0 >= bounds[1]);
            assert!((3..=13).contains(&ticks.len()), "{ticks:?}");
        }
    }

    #[test]
    fn axes_end_where_there_are_no_such_numbers() {
        let words = |scale: Scale, bounds: [f64; 2]| -> Vec<String> {
            let ticks = scale.ticks(within(bounds, scale), 6);
            ticks.into_iter().map(|tick| tick.1).collect()
        };
        // Two epochs, and one.
        assert_eq!(
            words(Scale::Whole, bounds([1.0, 2.0].into_iter())),
            ["1", "2"]
        );
        assert_eq!(words(Scale::Whole, bounds([1.0].into_iter())), ["1"]);
        assert_eq!(
            words(Scale::Whole, [1.0, 12.0]),
            ["0", "2", "4", "6", "8", "10", "12"]
        );
        // The same accuracy all the time.
        let constant = bounds([0.9, 0.9].into_iter());
        assert_eq!(words(Scale::Share, constant).last().unwrap(), "100 %");
        assert_eq!(words(Scale::Fraction, constant).last().unwrap(), "1.0");
        assert_eq!(words(Scale::UpToOne, [-0.5, 0.98]).last().unwrap(), "1.0");
        assert_eq!(words(Scale::Share, [0.0, 0.9])[0], "0 %");
    }

    #[test]
    fn a_legend_takes_the_rows_that_it_needs() {
        let names = [
            "a long name of a curve that needs room",
            "another one that is not short",
            "third",
        ];
        let curves: Vec<Curve> = names.map(|name| curve(name, &[])).into();
        let rows: Vec<usize> = entries(&curves, &[], &[])
            .iter()
            .map(|entry| entry.row)
            .collect();
        assert_eq!(rows, [0, 1, 1]);
    }
}
