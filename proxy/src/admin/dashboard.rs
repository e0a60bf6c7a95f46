//! The web page: static files, built into the program, of our own origin alone.

use axum::Router;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::desk::Desk;

/// A file of the page: its path, its type and what it holds.
type File = (&'static str, &'static str, &'static [u8]);

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

/// Everything there is; `/` is the page itself.
const FILES: &[File] = &[
    ("/", HTML, include_bytes!("dashboard/index.html")),
    (
        "/dashboard/page.css",
        STYLE,
        include_bytes!("dashboard/page.css"),
    ),
    (
        "/dashboard/theme.js",
        SCRIPT,
        include_bytes!("dashboard/theme.js"),
    ),
    (
        "/dashboard/page.js",
        SCRIPT,
        include_bytes!("dashboard/page.js"),
    ),
    (
        "/dashboard/users.js",
        SCRIPT,
        include_bytes!("dashboard/users.js"),
    ),
    (
        "/dashboard/user.js",
        SCRIPT,
        include_bytes!("dashboard/user.js"),
    ),
    (
        "/dashboard/chart.js",
        SCRIPT,
        include_bytes!("dashboard/chart.js"),
    ),
    (
        "/dashboard/format.js",
        SCRIPT,
        include_bytes!("dashboard/format.js"),
    ),
    (
        "/dashboard/dom.js",
        SCRIPT,
        include_bytes!("dashboard/dom.js"),
    ),
    (
        "/dashboard/api.js",
        SCRIPT,
        include_bytes!("dashboard/api.js"),
    ),
    (
        "/dashboard/mark.svg",
        "image/svg+xml",
        include_bytes!("dashboard/mark.svg"),
    ),
    (
        "/dashboard/uplot.js",
        SCRIPT,
        include_bytes!("dashboard/uplot/uplot.js"),
    ),
    (
        "/dashboard/uplot.css",
        STYLE,
        include_bytes!("dashboard/uplot/uplot.css"),
    ),
    // Whoever hands on uPlot hands on its licence.
    (
        "/dashboard/uplot-LICENSE",
        "text/plain; charset=utf-8",
        include_bytes!("dashboard/uplot/LICENSE"),
    ),
];

pub(super) fn routes() -> Router<Desk> {
    FILES.iter().fold(Router::new(), |router, file| {
        router.route(file.0, get(async || serve(file)))
    })
}

/// Whether a path is part of the page.
pub(super) fn is_part(path: &str) -> bool {
    FILES.iter().any(|file| file.0 == path)
}

fn serve(&(_, kind, bytes): &'static File) -> Response {
    let fields = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (fields, bytes).into_response()
}
