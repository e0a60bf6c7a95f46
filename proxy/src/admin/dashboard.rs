//! The web page: static files, built into the program, of our own origin alone.

use axum::Router;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::desk::Desk;

/// A file of the page: its path, its type and what it holds.
type File = (&'static str, &'static str, &'static [u8]);

/// Everything there is; `/` is the page itself.
const FILES: &[File] = &[(
    "/",
    "text/html; charset=utf-8",
    include_bytes!("dashboard/index.html"),
)];

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
