//! A store in memory whose writes fail when a test says so.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use hallpass_archive::{Object, Store, StoreError, Version};

/// Where a write fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing was written.
    Before,
    /// It was written, but the answer was lost.
    After,
}

#[derive(Debug, Default)]
struct State {
    objects: BTreeMap<String, Vec<u8>>,
    writes: usize,
    fault: Option<(usize, Fault)>,
    dead: bool,
    checkpoints: Vec<String>,
}

/// A store that forgets nothing until the test ends. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory(Arc<Mutex<State>>);

impl Memory {
    /// A store with the same objects and no faults.
    pub(crate) fn copy(&self) -> Self {
        let state = self.0.lock().unwrap();
        let copy = State {
            objects: state.objects.clone(),
            checkpoints: state.checkpoints.clone(),
            ..State::default()
        };
        Self(Arc::new(Mutex::new(copy)))
    }

    /// From now on the write with this number, from 0, fails, and everything after it.
    pub(crate) fn fail_at(&self, write: usize, fault: Fault) {
        let mut state = self.0.lock().unwrap();
        (state.writes, state.fault, state.dead) = (0, Some((write, fault)), false);
    }

    /// From now on nothing fails.
    pub(crate) fn heal(&self) {
        let mut state = self.0.lock().unwrap();
        (state.fault, state.dead) = (None, false);
    }

    /// Whether the fault came up.
    pub(crate) fn failed(&self) -> bool {
        self.0.lock().unwrap().dead
    }

    /// Every checkpoint that readers could see, in order.
    pub(crate) fn checkpoints(&self) -> Vec<String> {
        self.0.lock().unwrap().checkpoints.clone()
    }

    pub(crate) fn paths(&self) -> Vec<String> {
        self.0.lock().unwrap().objects.keys().cloned().collect()
    }

    pub(crate) fn edit(&self, path: &str, edit: impl FnOnce(&mut Vec<u8>)) {
        edit(self.0.lock().unwrap().objects.get_mut(path).unwrap());
    }

    pub(crate) fn remove(&self, path: &str) {
        self.0.lock().unwrap().objects.remove(path).unwrap();
    }

    fn write<T>(
        &self,
        work: impl FnOnce(&mut State) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut state = self.0.lock().unwrap();
        let fault = state.fault.filter(|(at, _)| *at == state.writes);
        state.writes += 1;
        if state.dead || fault.is_some_and(|(_, f)| f == Fault::Before) {
            state.dead = true;
            return Err(StoreError::io("injected"));
        }
        let done = work(&mut state);
        if fault.is_some() {
            state.dead = true;
            return Err(StoreError::io("injected"));
        }
        done
    }
}

fn version(bytes: &[u8]) -> Version {
    Version(hallpass_types::Sha256Digest::of(bytes).to_string())
}

impl Memory {
    fn look(&self, path: &str) -> Result<Option<Object>, StoreError> {
        let state = self.0.lock().unwrap();
        if state.dead {
            return Err(StoreError::io("injected"));
        }
        let object = |bytes: &Vec<u8>| Object {
            version: version(bytes),
            bytes: bytes.clone(),
        };
        Ok(state.objects.get(path).map(object))
    }

    fn make(&self, path: &str, bytes: Vec<u8>) -> Result<(), StoreError> {
        self.write(|state| match state.objects.get(path) {
            Some(found) if *found != bytes => Err(StoreError::Differs),
            _ => {
                state.objects.insert(path.to_owned(), bytes);
                Ok(())
            }
        })
    }

    fn swap(
        &self,
        path: &str,
        bytes: Vec<u8>,
        seen: Option<&Version>,
    ) -> Result<Version, StoreError> {
        self.write(|state| {
            if state.objects.get(path).map(|b| version(b)).as_ref() != seen {
                return Err(StoreError::Conflict);
            }
            if path == "checkpoint" {
                let text = String::from_utf8(bytes.clone()).unwrap();
                state.checkpoints.push(text);
            }
            let version = version(&bytes);
            state.objects.insert(path.to_owned(), bytes);
            Ok(version)
        })
    }

    fn below(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        let state = self.0.lock().unwrap();
        if state.dead {
            return Err(StoreError::io("injected"));
        }
        let folder = format!("{folder}/");
        let rest = |path: &String| Some(path.strip_prefix(&folder)?.to_owned());
        let rests = state.objects.keys().filter_map(rest);
        let names = rests.filter_map(|rest| Some(rest.split('/').next()?.to_owned()));
        Ok(names.collect::<BTreeSet<_>>().into_iter().collect())
    }

    fn forget(&self, folder: &str) {
        let mut state = self.0.lock().unwrap();
        if !state.dead {
            let folder = format!("{folder}/");
            state.objects.retain(|path, _| !path.starts_with(&folder));
        }
    }
}

impl Store for Memory {
    fn read<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<Option<Object>, StoreError>> {
        async { self.look(path) }.boxed()
    }

    fn create<'a>(
        &'a self,
        path: &'a str,
        bytes: Vec<u8>,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        async { self.make(path, bytes) }.boxed()
    }

    fn replace<'a>(
        &'a self,
        path: &'a str,
        bytes: Vec<u8>,
        seen: Option<&'a Version>,
    ) -> BoxFuture<'a, Result<Version, StoreError>> {
        async move { self.swap(path, bytes, seen) }.boxed()
    }

    fn names<'a>(&'a self, folder: &'a str) -> BoxFuture<'a, Result<Vec<String>, StoreError>> {
        async { self.below(folder) }.boxed()
    }

    fn discard<'a>(&'a self, folder: &'a str) -> BoxFuture<'a, ()> {
        async { self.forget(folder) }.boxed()
    }
}
