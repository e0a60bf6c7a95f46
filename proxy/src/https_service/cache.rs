//! Answers kept for equal requests, as RFC 9111 lets a shared cache keep them:
//! what may be stored and served is decided by `http-cache-semantics`.
//!
//! Each user has entries of their own: nobody is served what rules about
//! targets keep from them, and nobody learns what others have asked for.

use std::sync::Arc;
use std::time::SystemTime;

use http::header::{ETAG, LAST_MODIFIED};
use http::{Method, Uri, request, response};
use http_cache_semantics::{AfterResponse, BeforeRequest, CachePolicy};
use hyper::body::Bytes;
use lru::LruCache;
use parking_lot::Mutex;

/// What an entry costs beside its body.
const ENTRY: usize = 1_024;

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

/// The user's number and the URL: only GET is kept.
pub(crate) type Key = (i64, Uri);

#[derive(Debug)]
pub(crate) struct Entry {
    policy: CachePolicy,
    body: Bytes,
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

    /// Takes note of an answer from the target; what is to be told the client.
    pub(crate) fn heard(
        &self,
        key: Key,
        request: &request::Parts,
        stale: Option<&Entry>,
        parts: response::Parts,
        body: Bytes,
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
        let validator = [ETAG, LAST_MODIFIED];
        let useful = !policy.is_stale(SystemTime::now())
            || validator
                .iter()
                .any(|name| parts.headers.contains_key(name));
        if useful && policy.is_storable() {
            self.keep(key, policy, body.clone());
        }
        (parts, body)
    }

    /// An eighth of the whole is the most that one entry may have.
    fn keep(&self, key: Key, policy: CachePolicy, body: Bytes) {
        let cost = ENTRY + body.len();
        if cost > self.most / 8 {
            return;
        }
        let mut entries = self.entries.lock();
        entries.size += cost;
        entries.by_key.put(key, Arc::new(Entry { policy, body }));
        while entries.size > self.most {
            let Some((_, oldest)) = entries.by_key.pop_lru() else {
                return;
            };
            entries.size -= ENTRY + oldest.body.len();
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
            entries.size -= ENTRY + entry.body.len();
        }
    }
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
        (user, "https://a.example/x".parse().unwrap())
    }

    fn kept(cache: &Cache, fields: &[(&'static str, &str)]) -> bool {
        let body = Bytes::from_static(b"body");
        cache.forget(&key(1));
        cache.heard(key(1), &request("GET"), None, answer(fields), body);
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
    fn what_is_too_old_is_asked_for_with_its_validator() {
        let cache = Cache::new(1 << 20);
        let fields = [
            ("cache-control", "max-age=60"),
            ("age", "100"),
            ("etag", "\"v1\""),
        ];
        let body = Bytes::from_static(b"body");
        cache.keep(
            key(1),
            CachePolicy::new(
                &request("GET"),
                &http::Response::from_parts(answer(&fields), ()),
            ),
            body,
        );
        let Known::Stale(asked, entry) = cache.look_up(&key(1), &request("GET")) else {
            panic!("stale");
        };
        assert_eq!(asked.headers["if-none-match"], "\"v1\"");
        let mut same = answer(&[("cache-control", "max-age=60"), ("etag", "\"v1\"")]);
        same.status = http::StatusCode::NOT_MODIFIED;
        let (parts, body) = cache.heard(key(1), &asked, Some(&entry), same, Bytes::new());
        assert_eq!((parts.status.as_u16(), &body[..]), (200, &b"body"[..]));
    }

    #[test]
    fn what_changes_a_resource_makes_it_forgotten() {
        let cache = Cache::new(1 << 20);
        assert!(kept(&cache, &[("cache-control", "max-age=60")]));
        cache.heard(key(1), &request("POST"), None, answer(&[]), Bytes::new());
        assert!(matches!(cache.look_up(&key(1), &request("GET")), Known::No));
    }

    #[test]
    fn the_size_is_kept_and_the_longest_unused_go_first() {
        let cache = Cache::new(16 * 1_024);
        let fields = [("cache-control", "max-age=60")];
        let body = Bytes::from(vec![0; 1_000]);
        for user in 0..20 {
            cache.heard(
                key(user),
                &request("GET"),
                None,
                answer(&fields),
                body.clone(),
            );
            cache.look_up(&key(0), &request("GET"));
        }
        let known = |user| !matches!(cache.look_up(&key(user), &request("GET")), Known::No);
        assert!(known(0), "used all the time");
        assert!(!known(1) && known(19));
        assert!(cache.entries.lock().size <= 16 * 1_024);
        cache.heard(
            key(99),
            &request("GET"),
            None,
            answer(&fields),
            Bytes::from(vec![0; 4_000]),
        );
        assert!(!known(99), "too large for one");
    }
}
