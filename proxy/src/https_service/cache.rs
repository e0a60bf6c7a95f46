//! Answers kept for equal requests, as RFC 9111 lets a shared cache keep them:
//! what may be stored and served is decided by `http-cache-semantics`.
//!
//! Each user has entries of their own: nobody learns what others have asked for. And
//! each entry belongs to the rules about targets under which it was fetched: under
//! others it answers nothing, so that nobody is served what they keep from them.

use std::sync::Arc;
use std::time::SystemTime;

use http::header::{ETAG, LAST_MODIFIED};
use http::{HeaderMap, Method, Uri, request, response};
use http_cache_semantics::{AfterResponse, BeforeRequest, CachePolicy};
use hyper::body::Bytes;
use lru::LruCache;
use parking_lot::Mutex;

use crate::acl::RuleList;

/// What an entry costs beside its texts, and a field beside its name and value.
const ENTRY: usize = 1_024;
const FIELD: usize = 64;

/// The answers that are kept.
#[derive(Debug)]
pub(crate) struct Cache {
    most: usize,
    entries: Mutex<Entries>,
}

#[derive(Debug)]
struct Entries {
    by_key: LruCache<Key, Arc<Entry>>,
    size: usize,
}

/// Whose request it is, and under which rules: only GET is kept.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    /// The user's number.
    pub(crate) user: i64,
    /// The rules about targets of the user's account; those of the server are the same
    /// for all entries ([`Cache::clear`]).
    pub(crate) rules: RuleList,
    /// The URL.
    pub(crate) uri: Uri,
}

#[derive(Debug)]
pub(crate) struct Entry {
    policy: CachePolicy,
    body: Bytes,
    /// About as many bytes of memory as it holds, its key included.
    cost: usize,
}

/// What the cache knows of a request.
#[derive(Debug)]
pub(crate) enum Known {
    /// Nothing.
    No,
    /// The answer.
    Fresh(response::Parts, Bytes),
    /// An answer that is too old: ask the target with these fields whether it
    /// still holds.
    Stale(Box<request::Parts>, Arc<Entry>),
}

impl Cache {
    pub(crate) fn new(most: usize) -> Self {
        let entries = Entries {
            by_key: LruCache::unbounded(),
            size: 0,
        };
        Self {
            most,
            entries: Mutex::new(entries),
        }
    }

    /// Looks for an answer to `request`.
    pub(crate) fn look_up(&self, key: &Key, request: &request::Parts) -> Known {
        if request.method != Method::GET {
            return Known::No;
        }
        let Some(entry) = self.entries.lock().by_key.get(key).map(Arc::clone) else {
            return Known::No;
        };
        match entry.policy.before_request(request, SystemTime::now()) {
            BeforeRequest::Fresh(parts) => Known::Fresh(parts, entry.body.clone()),
            BeforeRequest::Stale {
                request,
                matches: true,
            } => Known::Stale(Box::new(request), entry),
            BeforeRequest::Stale { matches: false, .. } => Known::No,
        }
    }

    /// Takes note of an answer from the target, and keeps it if `keeps`; what is to be
    /// told the client.
    pub(crate) fn heard(
        &self,
        key: Key,
        request: &request::Parts,
        stale: Option<&Entry>,
        (parts, body): (response::Parts, Bytes),
        keeps: bool,
    ) -> (response::Parts, Bytes) {
        if !request.method.is_safe() && (parts.status.is_success() || parts.status.is_redirection())
        {
            // RFC 9111, section 4.4.
            self.forget(&key);
            return (parts, body);
        }
        if request.method != Method::GET {
            return (parts, body);
        }
        let answer = http::Response::from_parts(parts, ());
        let (policy, parts, body) = match stale {
            Some(entry) => {
                let now = SystemTime::now();
                match entry.policy.after_response(request, &answer, now) {
                    AfterResponse::NotModified(policy, parts) => {
                        (policy, parts, entry.body.clone())
                    }
                    AfterResponse::Modified(policy, parts) => (policy, parts, body),
                }
            }
            None => (
                CachePolicy::new(request, &answer),
                answer.into_parts().0,
                body,
            ),
        };
        self.forget(&key);
        let cost = key.cost() + fields(&request.headers) + fields(&parts.headers) + body.len();
        let validator = [ETAG, LAST_MODIFIED];
        let useful = !policy.is_stale(SystemTime::now())
            || validator
                .iter()
                .any(|name| parts.headers.contains_key(name));
        if keeps && useful && policy.is_storable() {
            let body = body.clone();
            self.keep(key, Entry { policy, body, cost });
        }
        (parts, body)
    }

    /// An eighth of the whole is the most that one entry may have.
    fn keep(&self, key: Key, entry: Entry) {
        if entry.cost > self.most / 8 {
            return;
        }
        let mut entries = self.entries.lock();
        entries.size += entry.cost;
        // Another may have been heard of meanwhile.
        if let Some(before) = entries.by_key.put(key, Arc::new(entry)) {
            entries.size -= before.cost;
        }
        while entries.size > self.most {
            let Some((_, oldest)) = entries.by_key.pop_lru() else {
                return;
            };
            entries.size -= oldest.cost;
        }
    }

    /// Forgets everything.
    pub(crate) fn clear(&self) {
        let mut entries = self.entries.lock();
        entries.by_key.clear();
        entries.size = 0;
    }

    fn forget(&self, key: &Key) {
        let mut entries = self.entries.lock();
        if let Some(entry) = entries.by_key.pop(key) {
            entries.size -= entry.cost;
        }
    }
}

impl Key {
    fn cost(&self) -> usize {
        let uri = &self.uri;
        let authority = uri.authority().map_or(0, |it| it.as_str().len());
        let path = uri.path_and_query().map_or(0, |it| it.as_str().len());
        ENTRY + authority + path
    }
}

/// What the fields of a message cost: the policy of an entry holds those of both.
fn fields(fields: &HeaderMap) -> usize {
    let each = fields.iter();
    each.map(|(name, value)| FIELD + name.as_str().len() + value.len())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str) -> request::Parts {
        let request = http::Request::builder()
            .method(method)
            .uri("https://a.example/x");
        request.body(()).unwrap().into_parts().0
    }

    fn answer(fields: &[(&'static str, &str)]) -> response::Parts {
        let mut answer = http::Response::builder().status(200);
        for (name, value) in fields {
            answer = answer.header(*name, *value);
        }
        answer.body(()).unwrap().into_parts().0
    }

    fn key(user: i64) -> Key {
        Key {
            user,
            rules: RuleList::default(),
            uri: "https://a.example/x".parse().unwrap(),
        }
    }

    /// What is told the client of a fresh answer.
    fn heard(cache: &Cache, key: Key, fields: &[(&'static str, &str)], body: Bytes) {
        let heard = (answer(fields), body);
        cache.heard(key, &request("GET"), None, heard, true);
    }

    fn kept(cache: &Cache, fields: &[(&'static str, &str)]) -> bool {
        let body = Bytes::from_static(b"body");
        cache.forget(&key(1));
        heard(cache, key(1), fields, body);
        !matches!(cache.look_up(&key(1), &request("GET")), Known::No)
    }

    #[test]
    fn what_may_not_be_kept_is_not() {
        let cache = Cache::new(1 << 20);
        assert!(kept(&cache, &[("cache-control", "max-age=60")]));
        assert!(matches!(
            cache.look_up(&key(1), &request("GET")),
            Known::Fresh(_, body) if body == "body"
        ));
        for fields in [
            &[("cache-control", "no-store")][..],
            &[("cache-control", "private, max-age=60")],
            &[("cache-control", "max-age=60"), ("vary", "*")],
            &[],
        ] {
            assert!(!kept(&cache, fields), "{fields:?}");
        }
    }

    #[test]
    fn nobody_is_served_what_another_has_asked_for() {
        let cache = Cache::new(1 << 20);
        assert!(kept(&cache, &[("cache-control", "max-age=60")]));
        assert!(matches!(cache.look_up(&key(2), &request("GET")), Known::No));
        assert!(matches!(
            cache.look_up(&key(1), &request("HEAD")),
            Known::No
        ));
    }

    #[test]
    fn an_answer_is_one_under_the_rules_that_it_was_fetched_under() {
        let cache = Cache::new(1 << 20);
        let fields = [("cache-control", "max-age=60")];
        assert!(kept(&cache, &fields));
        let other = Key {
            rules: "deny *".parse().unwrap(),
            ..key(1)
        };
        assert!(matches!(cache.look_up(&other, &request("GET")), Known::No));
        // The rules have changed while it was under way.
        let body = Bytes::from_static(b"other");
        let told = (answer(&fields), body);
        let (_, body) = cache.heard(other.clone(), &request("GET"), None, told, false);
        assert_eq!(body, "other", "told, and not kept");
        assert!(matches!(cache.look_up(&other, &request("GET")), Known::No));
    }

    #[test]
    fn what_is_too_old_is_asked_for_with_its_validator() {
        let cache = Cache::new(1 << 20);
        let fields = [
            ("cache-control", "max-age=60"),
            ("age", "100"),
            ("etag", "\"v1\""),
        ];
        let body = Bytes::from_static(b"body");
        let answered = http::Response::from_parts(answer(&fields), ());
        let entry = Entry {
            policy: CachePolicy::new(&request("GET"), &answered),
            cost: body.len(),
            body,
        };
        cache.keep(key(1), entry);
        let Known::Stale(asked, entry) = cache.look_up(&key(1), &request("GET")) else {
            panic!("stale");
        };
        assert_eq!(asked.headers["if-none-match"], "\"v1\"");
        let mut same = answer(&[("cache-control", "max-age=60"), ("etag", "\"v1\"")]);
        same.status = http::StatusCode::NOT_MODIFIED;
        let (parts, body) = cache.heard(key(1), &asked, Some(&entry), (same, Bytes::new()), true);
        assert_eq!((parts.status.as_u16(), &body[..]), (200, &b"body"[..]));
    }

    #[test]
    fn what_changes_a_resource_makes_it_forgotten() {
        let cache = Cache::new(1 << 20);
        assert!(kept(&cache, &[("cache-control", "max-age=60")]));
        let posted = (answer(&[]), Bytes::new());
        cache.heard(key(1), &request("POST"), None, posted, true);
        assert!(matches!(cache.look_up(&key(1), &request("GET")), Known::No));
    }

    #[test]
    fn the_size_is_kept_and_the_longest_unused_go_first() {
        let cache = Cache::new(32 * 1_024);
        let fields = [("cache-control", "max-age=60")];
        let body = Bytes::from(vec![0; 1_000]);
        for user in 0..20 {
            heard(&cache, key(user), &fields, body.clone());
            cache.look_up(&key(0), &request("GET"));
        }
        let known = |user| !matches!(cache.look_up(&key(user), &request("GET")), Known::No);
        assert!(known(0), "used all the time");
        assert!(!known(1) && known(19));
        assert!(cache.entries.lock().size <= 32 * 1_024);
        heard(&cache, key(99), &fields, Bytes::from(vec![0; 4_000]));
        assert!(!known(99), "too large for one");
    }

    /// Fields and URLs are memory too, and those who ask choose how much of it.
    #[test]
    fn long_fields_and_urls_cost_what_they_hold() {
        let cache = Cache::new(128 * 1_024);
        let long = "h".repeat(6_000);
        let fields = [("cache-control", "max-age=60")];
        for user in 0..50 {
            let mut asked = request("GET");
            asked.headers.insert("x-long", long.parse().unwrap());
            let heard = (answer(&fields), Bytes::new());
            let url = format!("https://a.example/?{long}");
            let key = Key {
                uri: url.parse().unwrap(),
                ..key(user)
            };
            cache.heard(key, &asked, None, heard, true);
        }
        let entries = cache.entries.lock();
        assert!((8..=10).contains(&entries.by_key.len()), "{entries:?}");
    }

    #[test]
    fn what_two_have_heard_at_once_is_counted_once() {
        let cache = Cache::new(1 << 20);
        let fields = [("cache-control", "max-age=60")];
        let entry = || Entry {
            policy: CachePolicy::new(
                &request("GET"),
                &http::Response::from_parts(answer(&fields), ()),
            ),
            body: Bytes::new(),
            cost: 7,
        };
        cache.keep(key(1), entry());
        cache.keep(key(1), entry());
        cache.forget(&key(1));
        assert_eq!(cache.entries.lock().size, 0);
    }
}
