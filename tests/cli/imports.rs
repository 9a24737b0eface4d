//! Imports of what nobody should send: every bad row is named and kept, every good one goes in.

use std::io::Write;

use serde_json::Value;

use crate::place::Place;

on_both!(
    every_kind_of_bad_row_is_named_kept_and_can_be_mended,
    bad_programs_and_affiliates_are_named_by_their_column,
    a_wrong_header_in_any_of_the_files_changes_nothing_at_all,
    a_folder_without_one_of_the_files_changes_nothing,
    a_line_of_a_hundred_megabytes_costs_one_row,
    a_hundred_rejects_are_told_in_short_and_kept_in_full,
    an_import_of_seventy_thousand_commissions_takes_seconds,
);

const PROGRAMS: &str = "\
program,title,currency,hold_days,min_payout,auto_credit,auto_payout
creator,Creator,USD,30,50.00,true,true
tokyo,Tokyo,JPY,30,5000,true,true
";
const AFFILIATES: &str = "\
affiliate_id,program,partner_id,name,email,code,status,method,destination,method_status
aff-1,creator,p-1,Ann,ann@example.com,ANN,active,paypal,\"{\"\"email\"\":\"\"ann@example.com\"\"}\",verified
aff-2,tokyo,p-2,Ben,ben@example.com,BEN,active,,,
";
const HEADER: &str =
    "commission_id,affiliate_id,order_id,order_amount,amount,currency,converted_at";
/// Bad rows: what is wrong, and the column and words that must name it.
const BAD: [(&[u8], &str, &str); 13] = [
    (b"b-01,aff-9,o,10.00,1.00,USD,1997-01-01T12:00:00Z", "affiliate_id", "aff-9 does not exist"),
    (b"b-02,aff-1,o,10.00,1.234,USD,1997-01-01T12:00:00Z", "amount", "3 digits after the point"),
    (b"b-03,aff-2,o,10,1.5,JPY,1997-01-01T12:00:00Z", "amount", "1 digits after the point"),
    (b"b-04,aff-1,o,10.00,1.00,EUR,1997-01-01T12:00:00Z", "currency", "EUR is not a currency of"),
    (b"b-05,aff-1,o,10.00,1.00,USD,1997-02-30T12:00:00Z", "converted_at", "not an RFC 3339"),
    (b"b-06,aff-1,o,10.00,1.00,USD,01/02/1997", "converted_at", "not an RFC 3339"),
    (b"good-1,aff-1,o-1,10.00,9.99,USD,1997-01-01T12:00:00Z", "amount", "exists with another"),
    (b"b-07,aff-1,o\xFF,10.00,1.00,USD,1997-01-01T12:00:00Z", "order_id", "(0xFF) is not UTF-8"),
    (b"b-08,aff-1,o,10.00,-1.00,USD,1997-01-01T12:00:00Z", "amount", "below 0"),
    (b"b-09,aff-1,o,10.00,1e2,USD,1997-01-01T12:00:00Z", "amount", "is not an amount"),
    (b"b-10,aff-1,o,10.00,1.00,USD", "", "expected 7 columns, found 6"),
    (b"b-11,\"aff-1,o,10.00,1.00,USD,1997-01-01T12:00:00Z", "affiliate_id", "is not closed"),
    (b",aff-1,o,10.00,1.00,USD,1997-01-01T12:00:00Z", "commission_id", "is empty"),
];

fn good(id: &str) -> String {
    format!("{id},aff-1,o-1,10.00,1.00,USD,1997-01-01T12:00:00Z")
}

/// A folder with two good files and these commissions.
fn write(place: &Place, commissions: impl AsRef<[u8]>) {
    place.write("data/programs.csv", PROGRAMS);
    place.write("data/affiliates.csv", AFFILIATES);
    place.write("data/commissions.csv", commissions);
}

/// New, unchanged and rejected rows of a file of the report.
fn counts(report: &Value, index: usize) -> [u64; 3] {
    let file = &report["files"][index];
    ["new", "unchanged", "rejected"].map(|name| file[name].as_u64().expect("a count"))
}

/// The number of commissions in the books.
fn stored(place: &Place) -> u64 {
    place.json(&["summary", "--org", "acme"])["commissions"]["held"]["count"].as_u64().expect("one")
}

fn import(place: &Place, path: &str, code: i32) -> (Value, String) {
    let ran = place.run(&["import", path, "--org", "acme", "--json"]).code(code);
    (ran.json(), ran.err)
}

fn every_kind_of_bad_row_is_named_kept_and_can_be_mended(place: Place) {
    let mut commissions = format!("\u{feff}{HEADER}\r\n{}\r\n\n", good("good-1")).into_bytes();
    for (row, _, _) in BAD {
        commissions.extend_from_slice(row);
        commissions.push(b'\n');
    }
    commissions.extend_from_slice(good("good-2").as_bytes());
    write(&place, &commissions);

    let (report, err) = import(&place, "data", 3);
    let bad = BAD.len() as u64;
    assert_eq!(counts(&report, 2), [2, 0, bad]);
    assert_eq!(stored(&place), 2);
    let told: Vec<_> = err.lines().filter(|line| !line.contains("vault.key_made")).collect();
    assert_eq!(told.len(), BAD.len(), "{err}");
    let rejects = place.read("commissions.rejects.csv");
    let kept: Vec<_> = rejects.split(|byte| *byte == b'\n').collect();
    assert_eq!(kept[0], format!("{HEADER},reject_reason").as_bytes());
    for (index, (row, column, reason)) in BAD.into_iter().enumerate() {
        let line = index + 4;
        let place = match column {
            "" => format!("commissions.csv line {line}:"),
            column => format!("commissions.csv line {line}, column {column}:"),
        };
        let of_line = |told: &&&str| told.contains(&place) && told.contains(reason);
        assert!(told.iter().any(|told| of_line(&told)), "{place} … {reason}: {err}");
        let is_kept =
            |kept: &&&[u8]| kept.starts_with(row) && String::from_utf8_lossy(kept).contains(reason);
        assert!(kept.iter().any(|kept| is_kept(&kept)), "{reason} is not kept");
    }

    // Nothing moves the second time, and the same rows are refused for the same reasons.
    let (report, _) = import(&place, "data", 3);
    assert_eq!(counts(&report, 0), [0, 2, 0]);
    assert_eq!(counts(&report, 1), [0, 2, 0]);
    assert_eq!(counts(&report, 2), [0, 2, bad]);
    assert_eq!(stored(&place), 2);

    mend(&place);
    let (report, err) = import(&place, "commissions.rejects.csv", 3);
    assert_eq!(counts(&report, 0), [1, 0, bad - 1]);
    assert!(!err.contains("b-02"), "{err}");
    assert_eq!(stored(&place), 3);
    let again = place.read("commissions.rejects.rejects.csv");
    let again = String::from_utf8_lossy(&again);
    assert_eq!(again.lines().count(), BAD.len());
    let once = again.lines().all(|line| line.matches("\"line ").count() <= 1);
    assert!(once, "reasons pile up: {again}");
    place.run(&["check"]).code(0);
}

/// Mends one row of the rejects, as in an editor, and leaves its reason where it stands.
fn mend(place: &Place) {
    let rejects = place.read("commissions.rejects.csv");
    let lines = rejects.split(|byte| *byte == b'\n').map(|line| match line.starts_with(b"b-02") {
        true => String::from_utf8_lossy(line).replacen("1.234", "1.23", 1).into_bytes(),
        false => line.to_vec(),
    });
    place.write("commissions.rejects.csv", lines.collect::<Vec<_>>().join(&b'\n'));
}

fn bad_programs_and_affiliates_are_named_by_their_column(place: Place) {
    let programs = format!(
        "{PROGRAMS}creator,Creator,USD,31,50.00,true,true\nx,X,XXX,1,1.00,true,true\ny,Y,USD,1,1.00,yes,true\n"
    );
    let affiliates = format!(
        "{AFFILIATES}aff-3,nowhere,p,C,c@d.e,C,active,,,\n\
         aff-4,creator,p,C,c@d.e,C,retired,,,\n\
         aff-5,creator,p,C,c@d.e,C,active,paypal,\"{{\"\"mail\"\":\"\"c@d.e\"\"}}\",verified\n\
         aff-6,creator,p,C,c@d.e,C,active,,,verified\n"
    );
    write(&place, format!("{HEADER}\n{}\n", good("good-1")));
    place.write("data/programs.csv", programs);
    place.write("data/affiliates.csv", affiliates);
    let ran = place.run(&["import", "data", "--org", "acme"]).code(3).says(&[
        "programs.csv line 4, column hold_days: this id exists with another hold_days",
        "programs.csv line 5, column currency: ",
        "programs.csv line 6, column auto_credit: \"yes\" is neither true nor false",
        "affiliates.csv line 4, column program: program nowhere does not exist",
        "affiliates.csv line 5, column status: ",
        "affiliates.csv line 6, column destination: a paypal destination needs \"email\"",
        "affiliates.csv line 7, column method_status: it is filled although there is no method",
    ]);
    for name in ["programs.rejects.csv", "affiliates.rejects.csv"] {
        assert!(ran.out.contains(name), "{}", ran.out);
        place.read(name);
    }
    assert!(!place.path("commissions.rejects.csv").exists());
    assert_eq!(stored(&place), 1);
}

fn a_wrong_header_in_any_of_the_files_changes_nothing_at_all(place: Place) {
    let commissions = format!("{HEADER}\n{}\n", good("good-1"));
    for (file, header) in [
        ("programs.csv", "program,title,curency"),
        ("affiliates.csv", "affiliate,program"),
        ("commissions.csv", "commission_id;affiliate_id"),
        ("commissions.csv", ""),
        ("affiliates.csv", "\n\n"),
    ] {
        write(&place, &commissions);
        place.write(&format!("data/{file}"), header);
        let ran = place.run(&["import", "data", "--org", "acme"]).code(2);
        assert!(ran.err.contains(&format!("{file}: ")), "{}", ran.err);
        assert!(ran.err.contains("expected \""), "{}", ran.err);
        assert_eq!(ran.out, "");
    }
    place.write("other.csv", "a,b\n1,2\n");
    place.run(&["import", "other.csv", "--org", "acme"]).code(2).says(&["other.csv: column 1"]);
    // Not even the org came into being, and nothing lies about in the working directory.
    place.run(&["summary", "--org", "acme"]).code(2).says(&["no org \"acme\""]);
    let rejects = std::fs::read_dir(place.path("")).expect("our folder");
    let names = rejects.map(|entry| entry.expect("an entry").file_name().into_string());
    assert!(names.into_iter().all(|name| !name.expect("text").contains("rejects")));
}

fn a_folder_without_one_of_the_files_changes_nothing(place: Place) {
    for file in ["programs.csv", "affiliates.csv", "commissions.csv"] {
        write(&place, format!("{HEADER}\n{}\n", good("good-1")));
        std::fs::remove_file(place.path(format!("data/{file}"))).expect("it was there");
        place.run(&["import", "data", "--org", "acme"]).code(2).says(&[file, "cannot read"]);
    }
    place.run(&["import", "nowhere", "--org", "acme"]).code(2).says(&["cannot read nowhere"]);
    place.run(&["import", "data", "--org", "a b"]).code(2).says(&["--org", "a space"]);
    place.run(&["summary", "--org", "acme"]).code(2).says(&["no org \"acme\""]);
}

fn a_line_of_a_hundred_megabytes_costs_one_row(place: Place) {
    write(&place, "");
    let file = std::fs::File::create(place.path("data/commissions.csv")).expect("a file of ours");
    let mut file = std::io::BufWriter::new(file);
    let megabyte = vec![b'x'; 1 << 20];
    writeln!(file, "{HEADER}\n{}", good("good-1")).expect("written");
    (0..100).for_each(|_| file.write_all(&megabyte).expect("written"));
    writeln!(file, "\n{}", good("good-2")).expect("written");
    drop(file);
    let (report, err) = import(&place, "data", 3);
    assert_eq!(counts(&report, 2), [2, 0, 1]);
    assert!(err.contains("commissions.csv line 3: it has more than 1048576 bytes"), "{err}");
    assert!(err.len() < 1_000, "the line itself is not for the terminal");
    let rejects = std::fs::metadata(place.path("commissions.rejects.csv")).expect("kept");
    assert!(rejects.len() > 100 << 20, "the line is not kept as a whole: {}", rejects.len());
    assert_eq!(stored(&place), 2);
}

fn a_hundred_rejects_are_told_in_short_and_kept_in_full(place: Place) {
    let bad = (0..100).map(|index| format!("b-{index},aff-9,o,1.00,1.00,USD,1997-01-01T12:00:00Z"));
    write(&place, format!("{HEADER}\n{}\n", bad.collect::<Vec<_>>().join("\n")));
    let ran = place.run(&["import", "data", "--org", "acme"]).code(3);
    let told = ran.err.lines().filter(|line| !line.contains("vault.key_made"));
    assert_eq!(told.count(), 21, "{}", ran.err);
    assert!(ran.err.contains("and 80 more"), "{}", ran.err);
    let kept = place.read("commissions.rejects.csv");
    assert_eq!(kept.iter().filter(|byte| **byte == b'\n').count(), 101);
}

fn an_import_of_seventy_thousand_commissions_takes_seconds(place: Place) {
    crate::orders::write(&place, "large", 500, 70_000);
    let begun = std::time::Instant::now();
    let (report, _) = import(&place, "large", 0);
    let taken = begun.elapsed();
    assert_eq!(counts(&report, 2), [70_000, 0, 0]);
    // Unoptimised and beside other tests; it is a guard against minutes, not a benchmark.
    assert!(taken.as_secs() < 40, "{taken:?}");
}
