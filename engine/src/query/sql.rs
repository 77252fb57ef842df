//! Queries as parameterised SQL.

use std::fmt::Write;

use rusqlite::types::Value as Sql;
use serde_json::{Value, json};

use super::filter::{Filter, Op};
use super::kind::{Field, FieldType, Kind};
use super::{Cursor, Query};

/// The part of a statement after `FROM`: conditions, order and limit, with its parameters.
pub(crate) struct Plan {
    /// `WHERE …`, and `ORDER BY … LIMIT …` where it is of a page.
    pub(crate) sql: String,
    /// Values of `?1`, `?2`, …
    pub(crate) parameters: Vec<Sql>,
}

/// Which rows a query is of, whatever their order: `WHERE …`.
pub(crate) fn conditions(query: &Query) -> Plan {
    let mut plan = Plan { sql: String::from("WHERE "), parameters: Vec::new() };
    let null = if query.deleted { "IS NOT NULL" } else { "IS NULL" };
    let _ = write!(plan.sql, "deleted_at {null}");
    if query.kind == Kind::Execution && query.deleted {
        // What was deleted for good is not in the trash any more, whatever is left of it.
        plan.sql.push_str(
            " AND id NOT IN (SELECT gone.id FROM trash JOIN executions gone ON gone.rowid = root WHERE state = 3)",
        );
    }
    if !query.kind.is_of_executions() {
        let kind = plan.parameter(Sql::from(query.kind.as_str().to_owned()));
        let _ = write!(plan.sql, " AND kind = {kind}");
    }
    if let Some(projects) = &query.projects {
        let listed = plan.parameter(Sql::from(json!(projects).to_string()));
        let _ = write!(plan.sql, " AND {}", in_projects(query.kind, &listed));
    }
    if let Some(filter) = &query.filter {
        plan.sql.push_str(" AND ");
        plan.filter(filter);
    }
    plan
}

/// The plan of a query. It asks for one row more than the limit, which tells whether there is a next page.
pub(crate) fn plan(query: &Query) -> Plan {
    let mut plan = conditions(query);
    if let Some(cursor) = &query.cursor {
        plan.after(query.order.field, query.order.descending, cursor);
    }
    let (field, direction) = (expression(query.order.field), if query.order.descending { "DESC" } else { "ASC" });
    let nulls = if query.order.field.required { String::new() } else { format!("{field} IS NULL, ") };
    let _ = write!(plan.sql, " ORDER BY {nulls}{field} {direction}, id LIMIT {}", query.limit + 1);
    plan
}

/// That a row is in one of the projects whose ids stand in a parameter, as a JSON list. An execution is where its flow
/// is; an iteration of a schedule where the schedule is; a call of a connector by itself where the connector is; a
/// notification where its rule is.
pub(crate) fn in_projects(kind: Kind, parameter: &str) -> String {
    let listed = format!("IN (SELECT value FROM json_each({parameter}))");
    let of = |kind: &str, field: &str| {
        format!("SELECT {field} FROM records WHERE kind = '{kind}' AND (data ->> '$.project_id') {listed}")
    };
    match kind {
        Kind::Approval => {
            let of_execution = in_projects(Kind::Execution, parameter);
            format!("EXISTS (SELECT 1 FROM executions WHERE executions.id = execution_id AND {of_execution})")
        }
        Kind::Execution => {
            let homes = HOMES.iter().map(|home| {
                let named = joined(home.names, " UNION ", |name| of(home.kind, name) + home.only);
                format!("WHEN {} THEN {} IN ({named})", home.of, home.named_by)
            });
            format!("CASE {} END", homes.collect::<Vec<_>>().join(" "))
        }
        Kind::Project => format!("(id {listed})"),
        kind if kind.has_project() => format!("((data ->> '$.project_id') {listed})"),
        _ => "FALSE".to_owned(),
    }
}

/// Of an execution the projects that it is in, as a JSON list; no project of a record stands as null. It says the same
/// as [`in_projects`], where that is one row and not a list of them.
pub(crate) fn projects_of_execution() -> String {
    let homes = HOMES.iter().map(|home| {
        let named = joined(home.names, " OR ", |name| format!("{name} = {}", home.named_by));
        format!(
            "WHEN {} THEN (SELECT json_group_array(data ->> '$.project_id') FROM records
                 WHERE kind = '{}' AND ({named}){})",
            home.of, home.kind, home.only
        )
    });
    format!("CASE {} END", homes.collect::<Vec<_>>().join(" "))
}

fn joined(names: &[&str], with: &str, to_sql: impl Fn(&str) -> String) -> String {
    names.iter().map(|name| to_sql(name)).collect::<Vec<_>>().join(with)
}

/// Where executions are: in the project of a record.
struct Home {
    /// Which executions; the first that is true counts.
    of: &'static str,
    /// The kind of the record.
    kind: &'static str,
    /// By what the execution names it.
    named_by: &'static str,
    /// The columns of the record in which that may stand.
    names: &'static [&'static str],
    /// Which records alone.
    only: &'static str,
}

const HOMES: [Home; 4] = [
    Home { of: "type = 'SCHEDULE'", kind: "schedule", named_by: "schedule_id", names: &["id"], only: "" },
    Home {
        of: "flow_id = 'native:connect'",
        kind: "connector",
        named_by: "(CASE WHEN json_valid(input) THEN input ->> '$.connector' END)",
        names: &["id", "name"],
        only: " AND deleted_at IS NULL",
    },
    Home {
        of: "flow_id = 'native:notify'",
        kind: "notification",
        named_by: "(CASE WHEN json_valid(input) THEN input ->> '$.notification_id' END)",
        names: &["id"],
        only: "",
    },
    Home { of: "TRUE", kind: "flow", named_by: "flow_id", names: &["id"], only: "" },
];

impl Plan {
    /// The name of one more parameter, with that value.
    pub(crate) fn parameter(&mut self, value: Sql) -> String {
        self.parameters.push(value);
        format!("?{}", self.parameters.len())
    }

    fn filter(&mut self, filter: &Filter) {
        match filter {
            Filter::And(all) => self.join(all, " AND ", "TRUE"),
            Filter::Or(any) => self.join(any, " OR ", "FALSE"),
            Filter::Not(inner) => {
                self.sql.push_str("NOT ");
                self.filter(inner);
            }
            Filter::Leaf { field, op, value } => self.leaf(field, *op, value),
        }
    }

    fn join(&mut self, filters: &[Filter], with: &str, empty: &str) {
        self.sql.push('(');
        if filters.is_empty() {
            self.sql.push_str(empty);
        }
        for (index, filter) in filters.iter().enumerate() {
            if index > 0 {
                self.sql.push_str(with);
            }
            self.filter(filter);
        }
        self.sql.push(')');
    }

    /// Never null, so that `NOT` means what it says; and in a form that can use an index.
    fn leaf(&mut self, field: &Field, op: Op, value: &Value) {
        let name = expression(field);
        if op == Op::IsNull {
            let _ = write!(self.sql, "({name} IS {}NULL)", if *value == Value::Bool(true) { "" } else { "NOT " });
            return;
        }
        if op == Op::In {
            let items: Vec<String> =
                value.as_array().into_iter().flatten().map(|item| self.parameter(to_sql(item))).collect();
            let _ = write!(self.sql, "({name} IS NOT NULL AND {name} IN ({}))", items.join(", "));
            return;
        }
        let value = self.parameter(to_sql(value));
        let _ = match op {
            Op::Neq => write!(self.sql, "({name} IS NOT {value})"),
            _ => write!(self.sql, "({name} IS NOT NULL AND {name} {} {value})", operator(op)),
        };
    }

    fn after(&mut self, field: &Field, descending: bool, cursor: &Cursor) {
        let name = expression(field);
        let id = self.parameter(Sql::from(cursor.1.clone()));
        if cursor.0.is_null() {
            let _ = write!(self.sql, " AND ({name} IS NULL AND id > {id})");
            return;
        }
        let value = self.parameter(to_sql(&cursor.0));
        let beyond = if descending { "<" } else { ">" };
        let nulls = if field.required { String::new() } else { format!(" OR {name} IS NULL") };
        // The first comparison is implied by the rest; it lets the index skip to where the page starts.
        let implied = if field.required { format!("{name} {beyond}= {value} AND ") } else { String::new() };
        let _ = write!(self.sql, " AND {implied}({name} {beyond} {value} OR ({name} = {value} AND id > {id}){nulls})");
    }
}

fn operator(op: Op) -> &'static str {
    match op {
        Op::Eq => "=",
        Op::Lt => "<",
        Op::Lte => "<=",
        Op::Gt => ">",
        Op::Gte => ">=",
        Op::Like => "LIKE",
        Op::Neq | Op::In | Op::IsNull => unreachable!("written by the caller"),
    }
}

/// Field names come from the table of kinds, never from users.
fn expression(field: &Field) -> String {
    match (field.column, field.ty) {
        (true, _) => field.name.to_owned(),
        (false, FieldType::Json) => format!("(data -> '$.{}')", field.name),
        (false, _) => format!("(data ->> '$.{}')", field.name),
    }
}

fn to_sql(value: &Value) -> Sql {
    match value {
        Value::Bool(value) => Sql::from(i64::from(*value)),
        Value::Number(number) => number.as_i64().map_or_else(|| Sql::from(number.as_f64()), Sql::from),
        Value::String(text) => Sql::from(text.clone()),
        _ => Sql::Null,
    }
}
