//! `report.html`: one file that shows how well a model did, with nothing to load from elsewhere.

use rekindle_core::inspect::escape;
use rekindle_core::metrics::classify::Report;
use serde_json::Value;

use crate::judged::Judged;
use crate::skipped::Skipped;

/// What the report shows.
pub struct Page<'a> {
    /// The headline.
    pub title: String,
    /// What the figures were measured on.
    pub measured: &'a str,
    /// The figures.
    pub judged: &'a Judged,
    /// What else a reader should know of how the model came to be, in sentences.
    pub story: Vec<String>,
    /// What became of each fold of a cross-validation: the head and the rows of a table.
    pub folds: Option<([&'static str; 5], Vec<Vec<String>>)>,
    /// The names of the classes.
    pub classes: &'a [String],
    /// What a reader wants to know of the run: names and values.
    pub run: Vec<(&'static str, String)>,
    /// Everything else worth keeping, as the command prints it.
    pub facts: &'a Value,
    /// What could not be used.
    pub skipped: &'a [Skipped],
    /// How the training went: drawings of [`crate::curves`].
    pub curves: Vec<String>,
}

const STYLE: &str = "\
:root{color-scheme:light dark;--ember:#c2410c}\
@media(prefers-color-scheme:dark){:root{--ember:#ff9a5c}}\
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}\
h1{font-size:1.5rem}h2{font-size:1.1rem;margin-top:2rem}\
.big{font-size:3rem;font-weight:700;color:var(--ember);line-height:1}\
table{border-collapse:collapse}td,th{padding:.3rem .7rem;text-align:right;white-space:nowrap}\
th:first-child,td:first-child{text-align:left}tr{border-bottom:1px solid #8884}\
.matrix td{min-width:2.2rem;text-align:center}.matrix th{font-weight:500}\
.facts td,.facts th{text-align:left;vertical-align:top}.facts th{font-weight:500}\
.facts td{white-space:normal;overflow-wrap:anywhere}\
summary{cursor:pointer;margin-top:1rem}\
.scroll{overflow-x:auto}pre{overflow-x:auto;background:#8881;padding:1rem;border-radius:.5rem}";

/// The whole page.
pub fn html(page: &Page<'_>) -> String {
    let mut body = match page.judged {
        Judged::Classes(report) => of_classes(page, report),
        judged => of_targets(page, judged),
    };
    if let Some((head, rows)) = &page.folds {
        body += &format!("<h2>Folds</h2>{}", plain_table(head, rows));
    }
    if !page.curves.is_empty() {
        body += "<h2>Training</h2>";
        body += &page.curves.concat();
    }
    if !page.skipped.is_empty() {
        body += "<h2>Skipped</h2><ul>";
        for skipped in page.skipped {
            body += &format!("<li>{}: {}", escape(&skipped.path), escape(&skipped.reason));
        }
        body += "</ul>";
    }
    body += "<h2>Run</h2><table class=facts>";
    for (name, value) in &page.run {
        body += &format!("<tr><th>{}<td>{}", escape(name), escape(value));
    }
    body += "</table>";
    let facts = serde_json::to_string_pretty(page.facts).unwrap_or_default();
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8>\
         <meta name=viewport content=\"width=device-width\"><title>{}</title><style>{STYLE}</style>\
         {body}<details><summary>Everything, as --json prints it</summary><pre>{}</pre></details></html>\n",
        escape(&page.title),
        escape(&facts)
    )
}

/// The title, the one figure, what it is and of which photos, and how the model came to be.
fn beginning(page: &Page<'_>, what: &str) -> String {
    let mut body = format!(
        "<h1>{}</h1><p class=big>{}</p><p>{} on {} photos ({})</p>",
        escape(&page.title),
        escape(&page.judged.figure()),
        escape(what),
        page.judged.images(),
        escape(page.measured),
    );
    for sentence in &page.story {
        body += &format!("<p>{}</p>", escape(sentence));
    }
    body
}

/// The figures of a classifier.
fn of_classes(page: &Page<'_>, report: &Report) -> String {
    let share = |value: Option<f64>| {
        value.map_or_else(|| "–".to_owned(), |value| format!("{:.1} %", 100.0 * value))
    };
    let mut body = beginning(page, "accuracy");
    if let (Some(loss), Some(calibration)) = (report.log_loss, report.calibration_error) {
        body += &format!(
            "<p>log loss {loss:.3}, expected calibration error {:.1} %</p>",
            100.0 * calibration
        );
    }
    body += "<h2>Classes</h2><div class=scroll><table><tr><th>class<th>photos<th>precision<th>recall<th>F1";
    for (class, scores) in page.classes.iter().zip(&report.per_class) {
        body += &format!(
            "<tr><td>{}<td>{}<td>{}<td>{}<td>{}",
            escape(class),
            scores.support,
            share(scores.precision),
            share(scores.recall),
            scores
                .f1
                .map_or_else(|| "–".to_owned(), |f1| format!("{f1:.3}")),
        );
    }
    body += "</table></div>";
    body += &confusion(page, report);
    body
}

/// The figures of labels or values.
fn of_targets(page: &Page<'_>, judged: &Judged) -> String {
    let mut body = beginning(page, &judged.headline());
    if let Some(remark) = judged.remark() {
        body += &format!("<p>{}</p>", escape(remark));
    }
    let (head, rows) = judged.rows(page.classes);
    body + &plain_table(&head, &rows)
}

/// A table of texts.
fn plain_table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut table = "<div class=scroll><table><tr>".to_owned();
    for name in head {
        table += &format!("<th>{}", escape(name));
    }
    for row in rows {
        table += "<tr>";
        for cell in row {
            table += &format!("<td>{}", escape(cell));
        }
    }
    table + "</table></div>"
}

/// Rows are true classes, columns what they were taken for.
fn confusion(page: &Page<'_>, report: &Report) -> String {
    let mut table = String::from(
        "<h2>Confusions</h2><p>Rows are the true classes, columns what they were taken for.</p>\
         <div class=scroll><table class=matrix><tr><th>",
    );
    for class in page.classes {
        table += &format!("<th>{}", escape(class));
    }
    for (row, (class, counts)) in page.classes.iter().zip(report.confusion.rows()).enumerate() {
        let total: usize = counts.iter().sum();
        table += &format!("<tr><th>{}", escape(class));
        for (column, &count) in counts.iter().enumerate() {
            let share = if total == 0 {
                0.0
            } else {
                count as f64 / total as f64
            };
            let colour = if row == column {
                "22,163,74"
            } else {
                "220,38,38"
            };
            let text = if count == 0 {
                String::new()
            } else {
                count.to_string()
            };
            table += &format!(
                "<td style=\"background:rgba({colour},{:.2})\">{text}",
                0.7 * share
            );
        }
    }
    table + "</table></div>"
}

#[cfg(test)]
mod tests {
    use rekindle_core::train::judge;

    use crate::curves::{Axes, Curve, Scale, svg};

    use super::*;

    #[test]
    fn names_from_folders_cannot_inject_markup() {
        let classes = ["<script>alert(1)</script>".to_owned(), "b & c".to_owned()];
        let report = judge(&[1.0, 0.0, 0.0, 1.0], &[0, 1], 2).unwrap();
        let judged = Judged::Classes(report);
        let page = Page {
            title: "a <b> model".to_owned(),
            measured: "held-out photos",
            judged: &judged,
            story: vec!["tuned <last>".to_owned()],
            folds: Some((["fold"; 5], vec![vec!["<i>".to_owned()]])),
            classes: &classes,
            run: vec![("command", "rekindle <x>".to_owned())],
            facts: &Value::Null,
            skipped: &[],
            curves: Vec::new(),
        };
        let html = html(&page);
        assert!(!html.contains("<script>") && html.contains("b &amp; c"));
        assert!(html.contains("100.0 %"));
        for told in ["tuned &lt;last&gt;", "<td>&lt;i&gt;", "rekindle &lt;x&gt;"] {
            assert!(html.contains(told), "{told}");
        }
        assert!(html.contains("<details>"));
        assert!(!html.contains("Training") && !html.contains("<svg"));

        let curve = Curve {
            name: "loss <of> training".to_owned(),
            points: vec![(1.0, 2.0), (2.0, 1.0)],
        };
        let axes = Axes::of_epochs("Loss", "loss", Scale::Plain);
        let drawn = svg(&axes, &[curve], &[], &[]);
        let page = Page {
            curves: vec![drawn.clone(), drawn],
            ..page
        };
        let html = super::html(&page);
        assert!(html.contains("<h2>Training</h2><svg"));
        assert_eq!(html.matches("</svg>").count(), 2);
        assert_eq!(html.matches("loss &lt;of&gt; training").count(), 2);
    }
}
