//! The rules for everybody.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};

use super::access::Actor;
use super::desk::{Desk, Refusals, entry};
use super::extract::{self, IfMatch, etag};
use super::problem::Problem;
use super::users::body::RulesPatch;
use crate::users::view::{RulesView, change_body};

/// Shows the rules that hold for whoever has none of their own.
#[utoipa::path(get, path = "/api/v1/rules", operation_id = "showRules", tag = "users",
    responses((status = 200, description = "The rules", body = RulesView,
               headers(("ETag" = String, description = "What If-Match wants"))), Refusals))]
pub(super) async fn show(State(desk): State<Desk>) -> Response {
    answer(&desk)
}

/// Changes them; open connections feel it at once.
#[utoipa::path(patch, path = "/api/v1/rules", operation_id = "changeRules", tag = "users", request_body = RulesPatch,
    params(("If-Match" = String, Header, description = "The ETag of what is changed, or *; required", pattern = r#"^([*]|"[0-9a-f]{32}")$"#)),
    responses((status = 200, description = "As they are then", body = RulesView,
               headers(("ETag" = String, description = "What If-Match wants"))),
              (status = 412, description = "They have been changed meanwhile", body = Problem, content_type = "application/problem+json"),
              (status = 428, description = "If-Match is missing", body = Problem, content_type = "application/problem+json"),
              Refusals))]
pub(super) async fn change(
    State(desk): State<Desk>,
    Extension(actor): Extension<Actor>,
    if_match: IfMatch,
    extract::Json(body): extract::Json<RulesPatch>,
) -> Result<Response, Problem> {
    let users = desk.users();
    let expected = if_match.expected(&users.rules_tag())?;
    let change = body.rules()?;
    let audit = entry(&actor, "rules.change", "", change_body(&change).to_string());
    users.edit_rules(change, expected.as_ref(), &audit).await?;
    Ok(answer(&desk))
}

fn answer(desk: &Desk) -> Response {
    let users = desk.users();
    let rules = RulesView::from(&users.rules());
    (etag(&users.rules_tag()), Json(rules)).into_response()
}
