//! The page of a report in a real browser without a network: algorithms on and off, a stretch
//! enlarged, values read, by pointer and by keyboard. Without a Chromium the visit is left out, unless
//! `WEIRGATE_REQUIRE_CHROMIUM` is set.

#![expect(clippy::unwrap_used, reason = "what cannot be set up fails the test")]

use std::fs;
use std::path::Path;
use std::process::Command;

const SMALL: &str = r#"
duration = "3 s"
mode = "stream"
sender = "blocking"
algorithms = ["token-bucket", "fixed-window", "none"]
reference = { rate = "5000 B/s", burst = "5000 B" }
repetitions = { model = 2 }
traffic = { pattern = "bursty" }
"#;

/// What a visitor does; what went wrong stands in the body's `data-test`.
const VISITOR: &str = r#"<script>
window.addEventListener("load", () => setTimeout(() => {
  const wrong = [];
  const need = (ok, what) => { if (!ok) wrong.push(what); };
  try {
    const part = document.getElementById("explore"), svg = part.querySelector("svg"), out = part.querySelector("output");
    const paths = () => svg.querySelectorAll("path[data-algorithm]").length;
    const button = (query) => part.querySelector("button[" + query + "]");
    const point = (kind, share, buttons) => {
      const box = svg.getBoundingClientRect();
      const at = { clientX: box.left + box.width * share, clientY: box.top + 40, buttons: buttons || 0, bubbles: true };
      svg.dispatchEvent(new PointerEvent(kind, at));
    };
    const key = (name) => svg.dispatchEvent(new KeyboardEvent("keydown", { key: name, bubbles: true }));
    need(!part.hidden, "the drawing is hidden");
    need(paths() === 3, "lines at first: " + paths());
    button('data-algorithm="none"').click();
    need(paths() === 2, "lines without one: " + paths());
    need(button('data-algorithm="none"').getAttribute("aria-pressed") === "false", "the button still looks pressed");
    point("pointermove", 0.5);
    need(out.querySelectorAll("li").length === 2, "values: " + out.textContent);
    need(/token-bucket: [\d.]+ k?B\/s/.test(out.textContent), "no value: " + out.textContent);
    const whole = svg.querySelector("path[data-algorithm]").getAttribute("d");
    point("pointerdown", 0.4, 1); point("pointermove", 0.6, 1); point("pointerup", 0.6);
    need(!button("data-reset").disabled, "dragging enlarges nothing");
    need(svg.querySelector("path[data-algorithm]").getAttribute("d") !== whole, "the line is drawn as before");
    svg.dispatchEvent(new MouseEvent("dblclick", { bubbles: true }));
    need(button("data-reset").disabled, "a double click does not show all");
    need(svg.querySelector("path[data-algorithm]").getAttribute("d") === whole, "the whole line is not back");
    key("+");
    need(!button("data-reset").disabled, "plus enlarges nothing");
    key("Escape"); key("ArrowRight");
    need(out.querySelectorAll("li").length === 2, "the keyboard reads no values");
    button("data-none").click();
    need(paths() === 0, "lines without any: " + paths());
    button("data-all").click();
    part.querySelectorAll("button[data-view]").forEach((view) => {
      view.click();
      need(paths() > 0, view.textContent + " is empty");
      need(![...svg.querySelectorAll("path")].some((path) => /NaN|Infinity/.test(path.getAttribute("d"))), view.textContent + " has holes");
    });
    need(document.documentElement.scrollWidth <= window.innerWidth, "the page is wider than the window: " + document.documentElement.scrollWidth);
  } catch (error) { wrong.push(String(error)); }
  document.body.dataset.test = wrong.length ? wrong.join("; ") : "all well";
}, 50));
</script></body>"#;

fn browser() -> Option<&'static str> {
    let runs = |name: &&str| Command::new(name).arg("--version").output().is_ok();
    ["chromium", "chromium-browser", "google-chrome"]
        .into_iter()
        .find(runs)
}

fn visited(browser: &str, folder: &Path, width: u32) -> String {
    let page = folder.join("visited.html");
    let profile = folder.join(format!("profile-{width}"));
    let shown = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"])
        // Whatever it may ask for is not there.
        .args([
            "--host-resolver-rules=MAP * ~NOTFOUND",
            "--virtual-time-budget=4000",
        ])
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(format!("--window-size={width},900"))
        .arg(format!("file://{}", page.display()))
        .output()
        .unwrap();
    let dom = String::from_utf8_lossy(&shown.stdout).into_owned();
    let found = dom
        .split_once("data-test=\"")
        .and_then(|(_, rest)| rest.split_once('"'));
    found.map_or_else(
        || {
            format!(
                "the visit did not end: {}",
                String::from_utf8_lossy(&shown.stderr)
            )
        },
        |(words, _)| words.to_owned(),
    )
}

#[test]
fn a_visitor_switches_enlarges_and_reads() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("small.toml"), SMALL).unwrap();
    let run = Command::new(env!("CARGO_BIN_EXE_weirgate"))
        .current_dir(folder.path())
        .args(["scenario", "small.toml", "--no-plots", "--out", "out"])
        .output()
        .unwrap();
    assert!(
        run.status.success(),
        "{}",
        String::from_utf8_lossy(&run.stderr)
    );
    let page = fs::read_to_string(folder.path().join("out/index.html")).unwrap();
    let links = page.matches("http").count() - page.matches("http://www.w3.org/2000/svg").count();
    assert_eq!(links, 0, "the page names something in a network");
    assert!(page.contains("</body>"));
    fs::write(
        folder.path().join("visited.html"),
        page.replace("</body>", VISITOR),
    )
    .unwrap();
    let Some(browser) = browser() else {
        let required = std::env::var_os("WEIRGATE_REQUIRE_CHROMIUM").is_some();
        assert!(!required, "chromium is required and not installed");
        return;
    };
    for width in [1280, 500] {
        assert_eq!(
            visited(browser, folder.path(), width),
            "all well",
            "{width} wide"
        );
    }
}
