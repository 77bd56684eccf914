//! A number that may be a distribution.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use serde::{Serialize, Serializer};

use super::unit::{Quantity, QuantityVisitor, quantity_schema};
use crate::chance::{Chance, Site};

/// A quantity that is drawn: `"5s"`, `{ uniform = ["1s", "9s"] }`, `{ exp = { mean = "2s", min = "1s" } }` or
/// `{ pick = ["1s", "5s"] }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dist<T> {
    /// Always this.
    Is(T),
    /// Anything between the two, both included. Invariant: the first is not above the second.
    Uniform(T, T),
    /// At least `min`, with an exponential tail that brings the average to `mean`; never more than 23 times the
    /// mean. Invariant: `0 <= min <= mean`.
    Exp {
        /// The average.
        mean: T,
        /// The least.
        min: T,
    },
    /// One of these. Invariant: there is at least one.
    Pick(Vec<T>),
}

impl<T: Quantity> Dist<T> {
    /// Draws one. Always exactly one draw at `site`, so that editing a number moves no later one.
    pub fn draw(&self, chance: &mut Chance, site: &Site) -> T {
        match self {
            Dist::Is(value) => {
                chance.choice(site, 1);
                *value
            }
            Dist::Uniform(lo, hi) => T::from_units(chance.range_wide(site, lo.units(), hi.units())),
            Dist::Exp { mean, min } => {
                let tail = (mean.units() - min.units()).unsigned_abs();
                T::from_units(min.units() + chance.exponential(site, tail) as i128)
            }
            Dist::Pick(values) => *chance.pick(site, values),
        }
    }

    /// The least that can be drawn.
    pub fn least(&self) -> T {
        match self {
            Dist::Is(value) => *value,
            Dist::Uniform(lo, _) => *lo,
            Dist::Exp { min, .. } => *min,
            Dist::Pick(values) => *values.iter().min().expect("a pick has at least one value"),
        }
    }

    /// The most that can be drawn.
    pub fn most(&self) -> T {
        match self {
            Dist::Is(value) => *value,
            Dist::Uniform(_, hi) => *hi,
            Dist::Exp { mean, min } => {
                let tail = mean.units() - min.units();
                T::from_units(min.units() + 23 * tail)
            }
            Dist::Pick(values) => *values.iter().max().expect("a pick has at least one value"),
        }
    }
}

impl<T: Quantity> fmt::Display for Dist<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Dist::Is(value) => write!(f, "{value}"),
            Dist::Uniform(lo, hi) => write!(f, "{lo} to {hi}"),
            Dist::Exp { mean, min } => write!(f, "{mean} on average, at least {min}"),
            Dist::Pick(values) => {
                let values: Vec<String> = values.iter().map(T::to_string).collect();
                f.write_str(&values.join(" or "))
            }
        }
    }
}

impl<T: Serialize> Serialize for Dist<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap;
        let mut map = match self {
            Dist::Is(value) => return value.serialize(serializer),
            _ => serializer.serialize_map(Some(1))?,
        };
        match self {
            Dist::Is(_) => unreachable!("a plain value was written above"),
            Dist::Uniform(lo, hi) => map.serialize_entry("uniform", &[lo, hi])?,
            Dist::Exp { mean, min } => {
                let ends = std::collections::BTreeMap::from([("mean", mean), ("min", min)]);
                map.serialize_entry("exp", &ends)?;
            }
            Dist::Pick(values) => map.serialize_entry("pick", values)?,
        }
        map.end()
    }
}

impl<'de, T: Quantity + Deserialize<'de>> Deserialize<'de> for Dist<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Dist<T>, D::Error> {
        deserializer.deserialize_any(DistVisitor(QuantityVisitor::new()))
    }
}

struct DistVisitor<T>(QuantityVisitor<T>);

/// The table after `exp =`.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpFile<T> {
    mean: T,
    min: Option<T>,
}

impl<'de, T: Quantity + Deserialize<'de>> Visitor<'de> for DistVisitor<T> {
    type Value = Dist<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, or a distribution of such (uniform, exp, pick)", T::EXPECTED)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Dist<T>, E> {
        self.0.visit_str(text).map(Dist::Is)
    }

    fn visit_i64<E: de::Error>(self, integer: i64) -> Result<Dist<T>, E> {
        self.0.visit_i64(integer).map(Dist::Is)
    }

    fn visit_u64<E: de::Error>(self, integer: u64) -> Result<Dist<T>, E> {
        self.0.visit_u64(integer).map(Dist::Is)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Dist<T>, A::Error> {
        let Some(kind) = map.next_key::<Kind>()? else {
            return Err(de::Error::custom(
                "expected one of `uniform`, `exp`, `pick`, found an empty table",
            ));
        };
        let dist = match kind {
            Kind::Uniform => {
                let (lo, hi) = map.next_value::<(T, T)>()?;
                if lo > hi {
                    return Err(de::Error::custom(format!(
                        "expected the lower end first, found [{lo}, {hi}]"
                    )));
                }
                Dist::Uniform(lo, hi)
            }
            Kind::Exp => {
                let ExpFile { mean, min } = map.next_value::<ExpFile<T>>()?;
                let min = min.unwrap_or_else(|| T::from_units(0));
                if min.units() < 0 || min > mean {
                    return Err(de::Error::custom(format!(
                        "expected a mean not below min, and min not below zero, found mean {mean}, min {min}"
                    )));
                }
                Dist::Exp { mean, min }
            }
            Kind::Pick => {
                let values = map.next_value::<Vec<T>>()?;
                if values.is_empty() {
                    return Err(de::Error::custom(
                        "expected at least one value to pick, found none",
                    ));
                }
                Dist::Pick(values)
            }
        };
        match map.next_key::<Kind>()? {
            None => Ok(dist),
            Some(_) => Err(de::Error::custom(
                "expected exactly one of `uniform`, `exp`, `pick`, found several",
            )),
        }
    }
}

/// The key that says which distribution it is.
#[derive(serde::Deserialize)]
#[serde(field_identifier, rename_all = "lowercase")]
enum Kind {
    Uniform,
    Exp,
    Pick,
}

impl<T: Quantity + JsonSchema> JsonSchema for Dist<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("DistOf{}", T::schema_name()).into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let one = quantity_schema::<T>();
        let only = |kind: &str, form: Schema| {
            json_schema!({
                "type": "object",
                "properties": { kind: form },
                "required": [kind],
                "additionalProperties": false,
            })
        };
        let uniform = json_schema!({ "type": "array", "items": one, "minItems": 2, "maxItems": 2 });
        let exp = json_schema!({
            "type": "object",
            "properties": { "mean": one, "min": one },
            "required": ["mean"],
            "additionalProperties": false,
        });
        let pick = json_schema!({ "type": "array", "items": one, "minItems": 1 });
        json_schema!({
            "anyOf": [one, only("uniform", uniform), only("exp", exp), only("pick", pick)],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::unit::{Money, Nanos, Shift};
    use proptest::prelude::*;

    fn read<T: Quantity + de::DeserializeOwned>(text: &str) -> Result<Dist<T>, String> {
        let table: Result<std::collections::BTreeMap<String, Dist<T>>, _> =
            toml::from_str(&format!("x = {text}"));
        table.map(|mut table| table.remove("x").unwrap()).map_err(|e| e.message().to_string())
    }

    #[test]
    fn every_form_reads() {
        assert_eq!(read("\"5s\""), Ok(Dist::Is(Nanos::secs(5))));
        assert_eq!(
            read("{ uniform = [\"1s\", \"9s\"] }"),
            Ok(Dist::Uniform(Nanos::secs(1), Nanos::secs(9)))
        );
        let (mean, min) = (Nanos::secs(2), Nanos::ZERO);
        assert_eq!(read("{ exp = { mean = \"2s\" } }"), Ok(Dist::Exp { mean, min }));
        assert_eq!(read("{ pick = [\"-1s\"] }"), Ok(Dist::Pick(vec![Shift(-1_000_000_000)])));
    }

    #[test]
    fn what_is_no_distribution_is_refused() {
        let errors = [
            "5",
            "5.0",
            "{}",
            "{ uniform = [\"9s\", \"1s\"] }",
            "{ uniform = [\"9s\"] }",
            "{ unifrom = [\"1s\", \"9s\"] }",
            "{ exp = { mean = \"1s\", min = \"2s\" } }",
            "{ exp = { mean = \"1s\", max = \"2s\" } }",
            "{ pick = [] }",
            "{ pick = [\"1s\"], uniform = [\"1s\", \"9s\"] }",
        ]
        .map(|text| format!("{text}: {}", read::<Nanos>(text).unwrap_err()));
        insta::assert_snapshot!(errors.join("\n"));
    }

    proptest! {
        #[test]
        fn draws_stay_within_the_ends(seed: u64, a in 0u64..1 << 60, b in 0u64..1 << 60) {
            let (lo, hi) = (a.min(b), a.max(b));
            let site = Site::new("x");
            let mut chance = Chance::new(seed);
            let dists = [
                Dist::Is(Nanos(lo)),
                Dist::Uniform(Nanos(lo), Nanos(hi)),
                Dist::Exp { mean: Nanos(hi / 64), min: Nanos(lo / 128) },
                Dist::Pick(vec![Nanos(hi), Nanos(lo)]),
            ];
            for dist in dists.into_iter().filter(|dist| dist.least() <= dist.most()) {
                let drawn = dist.draw(&mut chance, &site);
                prop_assert!(dist.least() <= drawn && drawn <= dist.most(), "{dist}: {drawn}");
                let json = serde_json::to_string(&dist).unwrap();
                prop_assert_eq!(serde_json::from_str::<Dist<Nanos>>(&json).unwrap(), dist);
            }
        }

        #[test]
        fn money_beyond_64_bits_can_be_drawn(seed: u64) {
            let dist = Dist::Uniform(Money::read("1 wei").unwrap(), Money::read("1000000 ETH").unwrap());
            let drawn = dist.draw(&mut Chance::new(seed), &Site::new("x"));
            prop_assert!(dist.least() <= drawn && drawn <= dist.most());
        }
    }
}
