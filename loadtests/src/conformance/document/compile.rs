//! From the document's text to compiled schemas.

use std::collections::BTreeMap;

use anyhow::{Context, anyhow};
use jsonschema::{Registry, Validator};
use serde_json::{Map, Value, json};

use super::{Answer, Document, Named, Operation, Parameter};

/// What the document is called while its schemas are compiled.
pub(super) const NAME: &str = "https://twinpay.dev/openapi.json";

impl Document {
    /// Compiles every schema that a request or a reply can meet.
    pub fn compile(text: &str) -> anyhow::Result<Self> {
        let root: Value = serde_json::from_str(text)?;
        let registry = Registry::new().add(NAME, &root)?.prepare()?;
        let source = Source { root: &root, registry: &registry };
        let answer = |name: &str| source.answer(&format!("/components/responses/{name}"));
        let mut paths = Vec::new();
        for (path, item) in members(&root["paths"]) {
            let mut operations = BTreeMap::new();
            for (method, _) in members(item) {
                let pointer = format!("/paths/{}/{method}", escape(path));
                let operation = source.operation(&pointer).with_context(|| pointer.clone())?;
                operations.insert(method.to_uppercase(), operation);
            }
            paths.push((path.clone(), operations));
        }
        Ok(Self {
            text: text.into(),
            paths,
            no_route: answer("RouteNotFound")?,
            no_method: [answer("MethodNotAllowed")?, answer("PublicMethodNotAllowed")?],
        })
    }
}

/// The document while it is compiled.
pub(super) struct Source<'a> {
    pub(super) root: &'a Value,
    pub(super) registry: &'a Registry<'a>,
}

impl<'a> Source<'a> {
    fn operation(&self, pointer: &str) -> anyhow::Result<Operation> {
        let mut parameters = Vec::new();
        for index in
            0..self.at(&format!("{pointer}/parameters")).map_or(0, |list| list.as_array().map_or(0, Vec::len))
        {
            let (pointer, value) = self.resolve(&format!("{pointer}/parameters/{index}"))?;
            let text = |name: &str| {
                value[name].as_str().map(str::to_owned).with_context(|| format!("{pointer} has no {name}"))
            };
            parameters.push(Parameter { place: text("in")?, value: self.named(&text("name")?, &pointer)? });
        }
        let schema = format!("{pointer}/requestBody/content/application~1json/schema");
        let body = self.at(&schema).map(|_| self.schema(&schema)).transpose()?;
        let mut answers = BTreeMap::new();
        for (status, _) in self.at(&format!("{pointer}/responses")).into_iter().flat_map(members) {
            answers.insert(status.clone(), self.answer(&format!("{pointer}/responses/{status}"))?);
        }
        Ok(Operation { parameters, body, answers })
    }

    fn answer(&self, pointer: &str) -> anyhow::Result<Answer> {
        let (pointer, value) = self.resolve(pointer)?;
        let headers = members(&value["headers"])
            .map(|(name, _)| {
                let (pointer, _) = self.resolve(&format!("{pointer}/headers/{}", escape(name)))?;
                self.named(name, &pointer)
            })
            .collect::<anyhow::Result<_>>()?;
        let media = members(&value["content"]).next().map(|(media, _)| {
            let schema = self.schema(&format!("{pointer}/content/{}/schema", escape(media)))?;
            anyhow::Ok((media.clone(), schema))
        });
        Ok(Answer { headers, content: media.transpose()? })
    }

    fn named(&self, name: &str, pointer: &str) -> anyhow::Result<Named> {
        let required = self.at(&format!("{pointer}/required")) == Some(&Value::Bool(true));
        Ok(Named { name: name.into(), required, schema: self.schema(&format!("{pointer}/schema"))? })
    }

    /// The compiled schema at a pointer.
    pub(super) fn schema(&self, pointer: &str) -> anyhow::Result<Validator> {
        self.at(pointer).with_context(|| format!("{pointer} is missing"))?;
        let fragment = pointer.replace('{', "%7B").replace('}', "%7D");
        let mut options = jsonschema::options().with_registry(self.registry).should_validate_formats(true);
        options = options.with_draft(jsonschema::Draft::Draft202012);
        options
            .build(&json!({"$ref": format!("{NAME}#{fragment}")}))
            .map_err(|error| anyhow!("{pointer}: {error}"))
    }

    fn at(&self, pointer: &str) -> Option<&'a Value> {
        self.root.pointer(pointer)
    }

    /// Follows a reference.
    fn resolve(&self, pointer: &str) -> anyhow::Result<(String, &'a Value)> {
        let missing = || format!("{pointer} is missing");
        let value = self.at(pointer).with_context(missing)?;
        match value["$ref"].as_str().and_then(|reference| reference.strip_prefix('#')) {
            Some(other) => {
                Ok((other.to_owned(), self.at(other).with_context(|| format!("{other} is missing"))?))
            }
            None => Ok((pointer.to_owned(), value)),
        }
    }
}

/// The members of an object; of anything else none.
pub(super) fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter)
}

/// A member's name in a JSON pointer.
pub(super) fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}
