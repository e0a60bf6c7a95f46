//! Who changed what.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::desk::{Desk, Refusals};
use super::extract::Query;
use super::problem::Problem;

/// Which entries.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// Those older than this entry: the `next` of the page before.
    before: Option<i64>,
    /// At most so many.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
}

/// One entry.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AuditView {
    /// Its number; later ones are larger.
    pub id: i64,
    /// When it was done.
    pub at: String,
    /// Who asked, and the way they came.
    pub actor: String,
    /// What was done, as in `user.change`.
    pub action: String,
    /// To whom or what.
    pub subject: String,
    /// What it was; secrets are left out.
    pub detail: serde_json::Value,
}

/// A page of the audit log.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AuditPage {
    /// The newest first.
    pub entries: Vec<AuditView>,
    /// Where the next page begins; null is: there is none.
    pub next: Option<i64>,
}

/// Lists changes, the newest first.
#[utoipa::path(get, path = "/api/v1/audit", operation_id = "listAudit", tag = "server", params(Which),
    responses((status = 200, description = "A page of them", body = AuditPage), Refusals))]
pub(super) async fn list(
    State(desk): State<Desk>,
    Query(which): Query<Which>,
) -> Result<Json<AuditPage>, Problem> {
    let most = super::sessions::limit(which.limit)?;
    let most = u32::try_from(most).unwrap_or(u32::MAX);
    let found = desk.users().audited(which.before, most).await?;
    let whole = u32::try_from(found.len()).is_ok_and(|found| found == most);
    let next = found.last().map(|entry| entry.id).filter(|_| whole);
    let entries = found.into_iter().map(|entry| AuditView {
        id: entry.id,
        at: entry.at.to_string(),
        actor: entry.actor,
        action: entry.action,
        subject: entry.subject,
        detail: serde_json::from_str(&entry.detail).unwrap_or_default(),
    });
    Ok(Json(AuditPage {
        entries: entries.collect(),
        next,
    }))
}
