//! Pipes, through which the kernel moves bytes from socket to socket without
//! copying them (splice(2)).
//!
//! A pipe is on loan while bytes are in it, so there are as many as there are
//! pieces under way; each thread keeps a few. Where there is none to be had,
//! bytes are copied.

pub(super) use imp::Pipe;

/// Pipes at once, two descriptors each.
pub(crate) const MOST: usize = imp::MOST;

#[cfg(target_os = "linux")]
mod imp {
    use std::cell::RefCell;
    use std::io;
    use std::os::fd::OwnedFd;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use rustix::pipe::{PipeFlags, SpliceFlags};
    use tokio::io::Interest;
    use tokio::net::TcpStream;

    pub(super) const MOST: usize = 256;

    /// Pipes that a thread keeps for the next piece.
    const KEPT: usize = 16;
    /// Sizes to ask for; who may have no large one (`pipe-max-size`,
    /// `pipe-user-pages-soft`) gets a smaller one, or what there was.
    const SIZES: [usize; 2] = [512 * 1024, 256 * 1024];
    /// A smaller one is no better than a buffer: a user beyond
    /// `pipe-user-pages-soft` gets two pages.
    const LEAST: usize = 64 * 1024;

    static OPEN: AtomicUsize = AtomicUsize::new(0);
    /// As many as this user may have of a size that is worth it.
    static ALLOWED: AtomicUsize = AtomicUsize::new(MOST);

    thread_local! {
        static SPARE: RefCell<Vec<Ends>> = const { RefCell::new(Vec::new()) };
    }

    /// A pipe on loan.
    #[derive(Debug)]
    pub(in super::super) struct Pipe {
        /// None only while it is dropped.
        ends: Option<Ends>,
        /// Bytes in it.
        len: usize,
    }

    #[derive(Debug)]
    struct Ends {
        read: OwnedFd,
        write: OwnedFd,
        size: usize,
    }

    impl Pipe {
        /// An empty pipe, if there is one to be had.
        pub(in super::super) fn take() -> Option<Self> {
            let spare = SPARE.with_borrow_mut(Vec::pop);
            let ends = spare.or_else(Ends::open)?;
            Some(Self {
                ends: Some(ends),
                len: 0,
            })
        }

        /// Bytes in it.
        pub(in super::super) const fn len(&self) -> usize {
            self.len
        }

        /// Moves up to `most` bytes out of `source` into the empty pipe; none
        /// is the end.
        pub(in super::super) fn fill(
            &mut self,
            source: &TcpStream,
            most: usize,
        ) -> io::Result<usize> {
            let Some(ends) = &self.ends else { return Ok(0) };
            let moved = source.try_io(Interest::READABLE, || {
                splice(source, &ends.write, most.min(ends.size))
            })?;
            self.len = moved;
            Ok(moved)
        }

        /// Moves up to `most` of its bytes into `sink`.
        pub(in super::super) fn drain(
            &mut self,
            sink: &TcpStream,
            most: usize,
        ) -> io::Result<usize> {
            let Some(ends) = &self.ends else { return Ok(0) };
            // Not more than there is: the kernel would wait for the rest
            // before it sends.
            let most = most.min(self.len);
            let moved = sink.try_io(Interest::WRITABLE, || splice(&ends.read, sink, most))?;
            self.len = self.len.saturating_sub(moved);
            Ok(moved)
        }
    }

    impl Drop for Pipe {
        fn drop(&mut self) {
            let empty = self.len == 0;
            let Some(ends) = self.ends.take().filter(|_| empty) else {
                return;
            };
            // A thread that is ending keeps nothing.
            let _ = SPARE.try_with(|spare| {
                let mut spare = spare.borrow_mut();
                if spare.len() < KEPT {
                    spare.push(ends);
                }
            });
        }
    }

    impl Ends {
        fn open() -> Option<Self> {
            let others = OPEN.fetch_add(1, Ordering::Relaxed);
            let ends = (others < ALLOWED.load(Ordering::Relaxed))
                .then(Self::open_uncounted)
                .flatten();
            let Some(ends) = ends else {
                OPEN.fetch_sub(1, Ordering::Relaxed);
                return None;
            };
            // From here on it is counted until it is dropped.
            if ends.size < LEAST {
                ALLOWED.fetch_min(others, Ordering::Relaxed);
                return None;
            }
            Some(ends)
        }

        fn open_uncounted() -> Option<Self> {
            let flags = PipeFlags::CLOEXEC | PipeFlags::NONBLOCK;
            let (read, write) = rustix::pipe::pipe_with(flags).ok()?;
            let set = |&size: &usize| rustix::pipe::fcntl_setpipe_size(&write, size).ok();
            let size = SIZES.iter().find_map(set);
            let size = size.or_else(|| rustix::pipe::fcntl_getpipe_size(&write).ok())?;
            Some(Self { read, write, size })
        }
    }

    impl Drop for Ends {
        fn drop(&mut self) {
            OPEN.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn splice(
        from: &impl std::os::fd::AsFd,
        to: &impl std::os::fd::AsFd,
        most: usize,
    ) -> io::Result<usize> {
        let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
        loop {
            match rustix::pipe::splice(from, None, to, None, most, flags) {
                Err(rustix::io::Errno::INTR) => {}
                outcome => return Ok(outcome?),
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod imp {
    use std::io;

    use tokio::net::TcpStream;

    pub(super) const MOST: usize = 0;

    /// No such pipes here.
    #[derive(Debug)]
    pub(in super::super) enum Pipe {}

    impl Pipe {
        pub(in super::super) const fn take() -> Option<Self> {
            None
        }

        pub(in super::super) const fn len(&self) -> usize {
            match *self {}
        }

        pub(in super::super) const fn fill(
            &mut self,
            _: &TcpStream,
            _: usize,
        ) -> io::Result<usize> {
            match *self {}
        }

        pub(in super::super) const fn drain(
            &mut self,
            _: &TcpStream,
            _: usize,
        ) -> io::Result<usize> {
            match *self {}
        }
    }
}
