//! Floors of users that add up to more than the limit of the whole server.

use crate::support::*;

fn config(place: &Place, limit: &str) {
    let text = format!("[bandwidth]\nlimit = \"token-bucket:rate={limit}\"\nfloor = \"2kB/s\"\n");
    std::fs::write(place.path().join("config.toml"), text).unwrap();
}

/// What `check-config` warns of.
fn warnings(place: &Place) -> Vec<String> {
    let checked = place.json("check-config --config config.toml --json");
    assert_eq!(checked["ok"], true);
    let warnings = checked["warnings"].as_array().unwrap().iter();
    warnings
        .map(|warning| warning.as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn floors_that_do_not_fit_are_told_and_checked() {
    let place = Place::new();
    config(&place, "1kB/s");
    // Nobody is there yet: one user would be enough.
    assert!(warnings(&place)[0].contains("add up to 2000 B/s"));
    assert!(!place.path().join("users.db").exists());
    config(&place, "10kB/s");
    place.json("user add ada --password-file password --floor 6kB/s --json");
    place.json("user add bob --password-file password --json");
    assert_eq!(warnings(&place), [""; 0]);
    place.json("user set bob --floor 5kB/s --json");
    let all = "the floors of all users add up to 11000 B/s, more than the limit of the whole server, 10000 B/s";
    assert!(warnings(&place)[0].starts_with(all));
    let output = place.output("check-config --config config.toml");
    assert_eq!(output.stdout, b"ok\n");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.starts_with(&format!("warning: {all}")), "{said}");
    let server = place.serve("--config config.toml");
    server.wait_for_log(all);
    // From here on through the admin API, if there is one.
    place.json("user disable bob --json");
    server.wait_for_log("fit into the limit of the whole server again");
    place.json("user enable bob --json");
    place.json("user set bob --floor 7kB/s --json");
    server.wait_for_log("add up to 13000 B/s");
    place.json("user set bob --floor none --json");
    place.json("rules set --floor 9kB/s --json");
    place.json("user set bob --reset floor --json");
    server.wait_for_log("add up to 15000 B/s");
    assert!(warnings(&place)[0].contains("15000 B/s"));
    config(&place, "20kB/s");
    server.signal("HUP");
    let log = server.wait_for_log("\"bandwidth\"");
    let again = "fit into the limit of the whole server again";
    assert_eq!(log.matches(again).count(), 3, "{log}");
    assert_eq!(warnings(&place), [""; 0]);
}

#[test]
fn a_database_that_cannot_be_read_is_no_mistake_of_the_config() {
    let place = Place::new();
    config(&place, "10kB/s");
    std::fs::write(
        place.path().join("users.db"),
        "no database at all, and long enough for one",
    )
    .unwrap();
    assert!(warnings(&place)[0].contains("is not known: "));
}
