//! Parameters.

use chrono::{DateTime, Utc};

/// A parameter. NULL keeps its type, which PostgreSQL wants to know.
#[derive(Debug, Clone)]
pub enum Value {
    Text(Option<String>),
    Int(Option<i64>),
    Time(Option<DateTime<Utc>>),
}

impl Value {
    /// The text; NULL if it is none.
    pub fn into_text(self) -> Option<String> {
        if let Self::Text(text) = self { text } else { None }
    }

    /// The integer; NULL if it is none.
    pub fn into_int(self) -> Option<i64> {
        if let Self::Int(int) = self { int } else { None }
    }

    /// The time; NULL if it is none.
    pub fn into_time(self) -> Option<DateTime<Utc>> {
        if let Self::Time(time) = self { time } else { None }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(Some(text.to_owned()))
    }
}
impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(Some(text))
    }
}
impl From<Option<&str>> for Value {
    fn from(text: Option<&str>) -> Self {
        Self::Text(text.map(str::to_owned))
    }
}
impl From<Option<String>> for Value {
    fn from(text: Option<String>) -> Self {
        Self::Text(text)
    }
}
impl From<i64> for Value {
    fn from(int: i64) -> Self {
        Self::Int(Some(int))
    }
}
impl From<i32> for Value {
    fn from(int: i32) -> Self {
        Self::Int(Some(int.into()))
    }
}
impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Int(Some(i64::from(flag)))
    }
}
impl From<DateTime<Utc>> for Value {
    fn from(time: DateTime<Utc>) -> Self {
        Self::Time(Some(time))
    }
}
impl From<Option<DateTime<Utc>>> for Value {
    fn from(time: Option<DateTime<Utc>>) -> Self {
        Self::Time(time)
    }
}
