//! Errors in one line.

use std::error::Error;

/// An error and what caused it, each said once: some messages hold their cause
/// already.
#[must_use]
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut line = error.to_string();
    let causes = std::iter::successors(error.source(), |&error| error.source());
    for cause in causes {
        let said = cause.to_string();
        let said = said.trim_end();
        if !line.contains(said) {
            line.push_str(": ");
            line.push_str(said);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{says}")]
    struct Link {
        says: &'static str,
        source: Option<Box<Link>>,
    }

    fn links(says: &[&'static str]) -> Option<Box<Link>> {
        let (&says, causes) = says.split_first()?;
        let source = links(causes);
        Some(Box::new(Link { says, source }))
    }

    #[test]
    fn each_cause_is_said_once() {
        let said = |says| chain(&*links(says).unwrap());
        assert_eq!(said(&["no"]), "no");
        assert_eq!(said(&["a", "b\n", "c"]), "a: b: c");
        // As of a database: the message holds its cause, which is told beside it.
        let repeated = [
            "the database fails",
            "returned: (code: 13) full",
            "(code: 13) full",
        ];
        let once = "the database fails: returned: (code: 13) full";
        assert_eq!(said(&repeated), once);
    }
}
