//! Tables, columns and what labels mean, good and bad.

use std::fs;

use rekindle_core::task::Task;

use super::columns::{Columns, Named};
use super::meaning::{Meaning, Said};
use super::places::{Place, Places};
use super::spread;
use super::table::{Cell, Table};

fn table(text: &str) -> Result<Table, String> {
    Table::parse("f.csv", text.as_bytes()).map_err(|error| error.to_string())
}

fn cells(table: &Table) -> Vec<Vec<&str>> {
    let text = |cell: &'_ Cell| match cell {
        Cell::Text(text) => Some(text.as_str().to_owned()),
        _ => None,
    };
    let rows = table.rows.iter();
    rows.map(|(_, cells)| {
        let cells = cells.iter();
        cells
            .map(|cell| text(cell).map_or("", |text| Box::leak(text.into_boxed_str())))
            .collect()
    })
    .collect()
}

fn meaning(text: &str, task: Option<Task>) -> Result<Meaning, String> {
    let table = table(text)?;
    let columns =
        Columns::find(&table, Named::default(), &[]).map_err(|error| error.to_string())?;
    Meaning::of(&table, &columns.labels, task).map_err(|error| error.to_string())
}

#[test]
fn csv_is_read_as_rfc_4180_has_it_and_as_spreadsheets_write_it() {
    let plain = table("path,label\na.jpg,cat\nb.jpg,dog\n").unwrap();
    assert_eq!(plain.columns, ["path", "label"]);
    assert_eq!(cells(&plain), [["a.jpg", "cat"], ["b.jpg", "dog"]]);
    for same in [
        "\u{feff}path,label\r\na.jpg,cat\r\n\r\nb.jpg,dog",
        "path;label\na.jpg;cat\nb.jpg;dog",
        "path\tlabel\ra.jpg\tcat\rb.jpg\tdog\r",
        "\n\"path\", \"label\" \n \"a.jpg\" ,\"cat\"\nb.jpg , dog\n",
    ] {
        assert_eq!(cells(&table(same).unwrap()), cells(&plain), "{same:?}");
    }
    let quoted = table("path,label\n\"a, \"\"b\"\"\n.jpg\",cat\nc.jpg,5\" nail\n").unwrap();
    assert_eq!(
        cells(&quoted),
        [["a, \"b\"\n.jpg", "cat"], ["c.jpg", "5\" nail"]]
    );
    assert_eq!(
        quoted.rows.iter().map(|row| row.0).collect::<Vec<_>>(),
        [2, 4]
    );
}

#[test]
fn faults_of_a_file_name_their_lines() {
    for (text, words) in [
        ("", "empty"),
        ("path,label\n", "names no photos"),
        ("path,label\na.jpg\n", "line 2: it has 1 cell"),
        (
            "path,label\na.jpg,cat\nb.jpg,x,y\n",
            "line 3: it has 3 cells",
        ),
        (
            "path,label\n\"a.jpg,cat\nb.jpg,dog\n",
            "line 2: a quote is opened",
        ),
        ("path,label\n\"a\"b,cat\n", "line 2: `b` stands behind"),
        ("[{\"path\": 1}]", "one JSON list"),
        (
            "{\"path\": \"a\"}\n{oops}\n",
            "line 2: it is no JSON object",
        ),
        ("{\"path\": {}}\n", "line 1: `path` is no text"),
    ] {
        let told = table(text).unwrap_err();
        assert!(told.contains(words), "{text:?}: {told}");
    }
    let told = Table::parse("f", b"path,label\na.jpg,\xff\n")
        .unwrap_err()
        .to_string();
    assert!(told.contains("line 2: it is not text in UTF-8"), "{told}");
    let told = Table::parse("f", &[0xff, 0xfe, 0x70, 0])
        .unwrap_err()
        .to_string();
    assert!(told.contains("UTF-16"), "{told}");
    // Whatever the bytes, an answer or an error.
    let good = b"path,label\n\"a \"\"b\"\"\",cat;dog\r\n{\"path\": [1]}\n";
    for cut in 0..good.len() {
        let mut bytes = good[..cut].to_vec();
        _ = Table::parse("f", &bytes);
        bytes.extend_from_slice(b"\"\r{[");
        _ = Table::parse("f", &bytes);
    }
}

#[test]
fn columns_are_found_by_usual_names_or_by_those_that_are_given() {
    let of = |head: &str, named: Named<'_>| {
        let line = vec!["x"; head.split(',').count()].join(",");
        let table = table(&format!("{head}\n{line}\n")).unwrap();
        Columns::find(&table, named, &[]).map_err(|error| error.to_string())
    };
    let usual = of("Label,Image Path,animal", Named::default()).unwrap();
    assert_eq!((usual.path, usual.labels, usual.group), (1, vec![0], None));
    // The only one that is left.
    let group = Named {
        group: Some("animal"),
        ..Named::default()
    };
    let left = of("file,animal,breed", group).unwrap();
    assert_eq!((left.labels, left.group), (vec![2], Some(1)));
    for (head, named, words) in [
        (
            "a.jpg,cat",
            Named::default(),
            "is a photo, and names no columns",
        ),
        ("x,label", Named::default(), "no column of paths"),
        ("path,a,b", Named::default(), "no column of labels"),
        ("path,label", group, "no column `animal`"),
        ("animal,animal,path,label", group, "more than one column"),
        (
            "path,label",
            Named {
                group: Some("path"),
                ..Named::default()
            },
            "both",
        ),
    ] {
        let told = of(head, named).unwrap_err();
        assert!(told.contains(words), "{head}: {told}");
    }
}

#[test]
fn what_labels_are_is_found_from_them_and_said_where_it_might_be_otherwise() {
    for (labels, task, is_said) in [
        (&["cat", "dog"][..], Task::Classify, false),
        (&["1", "2"], Task::Classify, true),
        (&["1", "2.5"], Task::Regress, true),
        (&["1", "cat"], Task::Classify, false),
        (&["inf", "1.5"], Task::Classify, false),
        (&["cat;dog", "cat"], Task::MultiLabel, true),
        (&["1.5;2", "3;4"], Task::Regress, false),
    ] {
        let rows: Vec<_> = labels
            .iter()
            .map(|label| format!("a.jpg,{label}"))
            .collect();
        let meaning = meaning(&format!("path,label\n{}\n", rows.join("\n")), None).unwrap();
        assert_eq!(
            (meaning.task, meaning.remark.is_some()),
            (task, is_said),
            "{labels:?}"
        );
    }
    let json = "{\"path\": \"a\", \"label\": [\"x;y\", \"b\"]}\n{\"path\": \"c\", \"label\": []}\n";
    let several = meaning(json, None).unwrap();
    assert_eq!(several.task, Task::MultiLabel);
    assert_eq!(several.names_said(), ["b", "x;y"]);
    assert_eq!(several.said[1], Said::Names(Vec::new()));
    let values = meaning("{\"path\": \"a\", \"label\": [1, 2.5]}\n", None).unwrap();
    assert_eq!(values.names, ["label 1", "label 2"]);
    assert_eq!(values.said, [Said::Numbers(vec![1.0, 2.5])]);
    for (text, task, words) in [
        ("path,label\na,\n", None, "line 2: there is no label"),
        (
            "path,label\na,x\n",
            Some(Task::Regress),
            "line 2: `x` is not a number",
        ),
        (
            "path,label\na,nan\n",
            Some(Task::Regress),
            "line 2: `nan` is not a number",
        ),
        (
            "path,label\na,1e99\n",
            Some(Task::Regress),
            "line 2: `1e99` is not a number",
        ),
        (
            "path,label\na,1;2\nb,1\n",
            Some(Task::Regress),
            "line 3: it has another number",
        ),
        (json, Some(Task::Classify), "line 1: its label is a list"),
    ] {
        let told = meaning(text, task).unwrap_err();
        assert!(told.contains(words), "{text:?}: {told}");
    }
}

#[test]
fn paths_stay_in_the_folder_and_are_found_from_it_or_from_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("photos");
    fs::create_dir_all(root.join("cat")).unwrap();
    fs::write(root.join("cat/1.jpg"), b"x").unwrap();
    fs::write(folder.path().join("secret.jpg"), b"x").unwrap();
    let places = Places::new(&root, &folder.path().join("labels.csv"));
    let found = Place::Found(root.join("cat/1.jpg"), "cat/1.jpg".to_owned());
    let absolute = root.join("cat/1.jpg").display().to_string();
    for path in [
        "cat/1.jpg",
        "./cat/../cat/1.jpg",
        "photos/cat/1.jpg",
        "cat\\1.jpg",
        "cat/1",
        &absolute,
    ] {
        assert_eq!(places.find(path), found, "{path}");
    }
    for path in ["cat/2.jpg", "cat", ""] {
        assert_eq!(places.find(path), Place::Missing, "{path}");
    }
    for path in ["../../secret.jpg", "/etc/passwd"] {
        assert_eq!(places.find(path), Place::Outside, "{path}");
    }
}

#[test]
fn a_column_of_numbers_with_odd_ones_is_no_column_of_names() {
    for (text, words) in [
        ("path,label\na,1.5\nb,nan\nc,2.5\n", "line 3 is `nan`"),
        (
            "path,label\na,1.5\nb,-Inf\nc,2.5\n",
            "1 of 3 cannot be read",
        ),
        ("path;label\na;3,5\nb;4\nc;2\n", "line 2 is `3,5`"),
        ("path;label\na;3,5\nb;4,5\nc;2,1\n", "3 of 3"),
        ("path,label\na,1\nb,N/A\nc,2\n", "--task classify"),
    ] {
        let table = table(text).unwrap();
        let columns = Columns::find(&table, Named::default(), &[]).unwrap();
        let told = Meaning::of(&table, &columns.labels, None).unwrap_err();
        let told = format!("{told} {}", told.help().unwrap_or_default());
        assert!(told.contains(words), "{text:?}: {told}");
    }
    // Names some of which look so are names.
    for text in [
        "path,label\na,cat\nb,nan\nc,2\n",
        "path,label\na,nan\nb,inf\n",
        "path,label\na,1\nb,none\nc,2\n",
    ] {
        assert_eq!(
            meaning(text, None).unwrap().task,
            Task::Classify,
            "{text:?}"
        );
    }
    assert_eq!(
        meaning("path,label\na,nan\nb,1.5\nc,2\n", Some(Task::Classify))
            .unwrap()
            .task,
        Task::Classify
    );
}

#[test]
fn values_that_32_bits_cannot_tell_apart_are_refused_by_column() {
    let check = |make: &dyn Fn(f64) -> f64| {
        let rows: Vec<[f64; 2]> = (0..60).map(|row| [7.0, make(f64::from(row))]).collect();
        let rows: Vec<&[f64]> = rows.iter().map(|row| &row[..]).collect();
        let names = ["same".to_owned(), "age".to_owned()];
        spread::check("f.csv", &names, &rows).map_err(|failure| failure.to_string())
    };
    // Seconds of 1970 over a day, degrees of absolute temperature, small and large units, and a column that is the same.
    for fine in [
        (|row| 1.7e9 + 1440.0 * row) as fn(f64) -> f64,
        |row| 273.15 + 0.01 * row,
        |row| 1e-14 * row,
        |row| -1e13 * row,
        |_| 5.0,
    ] {
        assert_eq!(check(&fine), Ok(()));
    }
    for (bad, words) in [
        (
            (|row| 1e9 + 0.5 * row) as fn(f64) -> f64,
            "lies between 1000000000 and 1000000029.5",
        ),
        (|row| -3e7 - 1e-3 * row, "too little for numbers of 32 bits"),
        (|row| 1e-30 * row, "differs by about 2e-29"),
        (|row| 5.0 + 1e-30 * row, ""),
        (|row| 1e20 * row, "differs by about 2e21"),
        (|row| 1e37 * (row / 2.0 - 15.0), "differs by about 9e37"),
    ] {
        match check(&bad) {
            // What f64 does not tell apart either is the same of every photo.
            Ok(()) => assert_eq!(words, ""),
            Err(said) => {
                assert!(!words.is_empty() && said.contains(words), "{said}");
                assert!(said.contains("`age` in f.csv"), "{said}");
            }
        }
    }
}
