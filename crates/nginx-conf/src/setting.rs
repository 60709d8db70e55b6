//! Written values: each is optional and knows where it was written. Settling fills the gaps from the block outside, then from the default.

use std::ops::Deref;

use crate::fault::Fault;
use crate::span::Span;

/// A value and the place it was read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub span: Span,
}

impl<T> Spanned<T> {
    /// Another value from the same place.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Spanned<U> {
        Spanned {
            value: change(self.value),
            span: self.span,
        }
    }
}

impl<T> Deref for Spanned<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// A value that a block may or may not set.
///
/// ```
/// # use nginx_conf::Setting;
/// let written: Setting<u16> = Setting::default();
/// assert_eq!(written.settle(Some(&429), || 503), 429); // the block outside
/// assert_eq!(written.settle(None, || 503), 503); // the default
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting<T>(Option<Spanned<T>>);

impl<T> Setting<T> {
    /// Takes the value.
    ///
    /// # Errors
    /// `"name" directive is duplicate` when one was set before.
    pub fn set(&mut self, value: Spanned<T>) -> Result<(), Fault> {
        if let Some(first) = &self.0 {
            return Err(Fault::directive("is duplicate")
                .note(first.span, "first given here")
                .help("keep one of the two"));
        }
        self.0 = Some(value);
        Ok(())
    }

    /// Takes the value in place of an earlier one.
    pub fn replace(&mut self, value: Spanned<T>) {
        self.0 = Some(value);
    }

    /// The value, if the block set it.
    pub fn get(&self) -> Option<&T> {
        self.0.as_ref().map(|written| &written.value)
    }

    /// The value with its place, if the block set it.
    pub fn spanned(&self) -> Option<&Spanned<T>> {
        self.0.as_ref()
    }

    /// Where the block set it.
    pub fn span(&self) -> Option<Span> {
        self.0.as_ref().map(|written| written.span)
    }

    /// Whether the block set it.
    pub fn is_set(&self) -> bool {
        self.0.is_some()
    }

    /// The block's own value, else that of the block outside, else the default.
    pub fn settle(&self, outside: Option<&T>, default: impl FnOnce() -> T) -> T
    where
        T: Clone,
    {
        self.get().or(outside).cloned().unwrap_or_else(default)
    }

    /// The setting that holds here: the block's own if it has one, else that of the block outside, each with its place.
    pub fn or(&self, outside: &Setting<T>) -> Setting<T>
    where
        T: Clone,
    {
        Setting(self.0.clone().or_else(|| outside.0.clone()))
    }
}

impl<T> Default for Setting<T> {
    fn default() -> Self {
        Setting(None)
    }
}

/// Values of a directive that may be repeated. A block that has any inherits none, as `add_header` and `allow` do in nginx.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List<T>(Vec<Spanned<T>>);

impl<T> List<T> {
    /// One more. Returns `Ok` so that a reader can end with it.
    ///
    /// # Errors
    /// None.
    pub fn push(&mut self, value: Spanned<T>) -> Result<(), Fault> {
        self.0.push(value);
        Ok(())
    }

    /// The values with their places, in the order written.
    pub fn iter(&self) -> std::slice::Iter<'_, Spanned<T>> {
        self.0.iter()
    }

    /// Whether the block has none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The block's own values if it has any, else those of the block outside.
    pub fn settle(&self, outside: &[T]) -> Vec<T>
    where
        T: Clone,
    {
        if self.0.is_empty() {
            return outside.to_vec();
        }
        self.0.iter().map(|written| written.value.clone()).collect()
    }
}

impl<T> Default for List<T> {
    fn default() -> Self {
        List(Vec::new())
    }
}

impl<'a, T> IntoIterator for &'a List<T> {
    type Item = &'a Spanned<T>;
    type IntoIter = std::slice::Iter<'a, Spanned<T>>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
