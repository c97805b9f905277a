//! A program for readers: its operations with shapes, bytes and share of the work.

use super::ops::Operand;
use super::{OnPaper, Op, Program, Var};
#[cfg(feature = "cli")]
use crate::table::{Table, bytes};
use serde_json::{Value, json};

/// What a line says of an operation.
struct Line {
    name: String,
    writes: Vec<String>,
    reads: Vec<String>,
    /// Read and written, where batches are largest.
    bytes: f64,
    /// Its part of all floating-point operations.
    share: f64,
}

impl Program {
    /// A table of the operations, a section after the other: what each writes and reads with rows x columns, the bytes of
    /// both, and its share of the floating-point operations of a step, repeated sections once.
    #[cfg(feature = "cli")]
    pub fn table_of_operations(&self) -> Table {
        let mut table =
            Table::new().left("operation").left("writes").left("reads").right("bytes").right("work");
        for section in self.sections.iter().filter(|section| !section.ops.is_empty()) {
            let repeats = if section.repeats { ", repeated" } else { "" };
            let heading = format!("{}{repeats}:", section.name);
            table.row([heading, String::new(), String::new(), String::new(), String::new()]);
            for op in &self.ops[section.ops.clone()] {
                let Line { name, writes, reads, bytes: size, share } = self.line(op);
                let share = format!("{:.1} %", 100.0 * share);
                table.row([
                    format!("  {name}"),
                    writes.join(", "),
                    reads.join(", "),
                    bytes(size as u64),
                    share,
                ]);
            }
        }
        table
    }

    /// The same as JSON.
    pub fn to_json(&self) -> Value {
        let sections = self.sections.iter().map(|section| {
            let ops = self.ops[section.ops.clone()].iter().map(|op| {
                let Line { name, writes, reads, bytes, share } = self.line(op);
                json!({ "operation": name, "writes": writes, "reads": reads, "bytes": bytes, "work": share })
            });
            json!({ "section": section.name, "repeats": section.repeats, "operations": ops.collect::<Vec<_>>() })
        });
        json!({
            "sections": sections.collect::<Vec<_>>(),
            "array_bytes": 4 * self.num_numbers(),
            "memory_bytes": 4 * self.memory().numbers(),
        })
    }

    fn line(&self, op: &Op<OnPaper>) -> Line {
        let total: f64 = self.ops.iter().map(|op| op.work()).sum();
        let (mut reads, mut writes, mut bytes) = (Vec::new(), Vec::new(), 0.0);
        op.operands(&mut |_, operand| match operand {
            Operand::Read(var) => {
                bytes += 4.0 * self.touched(op, var);
                reads.push(self.text_of(var));
            }
            Operand::Write(var) => {
                bytes += 4.0 * self.touched(op, var);
                writes.push(self.text_of(var));
            }
            Operand::Index(index) => reads.push(format!("[{}]", self.indices[index.number].name)),
            Operand::Groups(_) => {}
            Operand::Table(table) => {
                bytes += 4.0 * table.rows as f64 * table.cols as f64;
                writes.push(format!("{} {}x{}", self.tables[table.number].name, table.rows, table.cols));
            }
        });
        let kind = op.kind();
        let name = if kind.is_empty() { op.name().into() } else { format!("{} ({kind})", op.name()) };
        let share = if total > 0.0 { op.work() / total } else { 0.0 };
        Line { name, writes, reads, bytes, share }
    }

    /// Numbers of a matrix that an operation looks at: of a table only the rows of its index.
    fn touched(&self, op: &Op<OnPaper>, var: Var) -> f64 {
        let mut rows = var.rows.max();
        op.operands(&mut |name, operand| {
            if let (Operand::Index(index), "rows" | "inputs") = (operand, name) {
                rows = rows.min(index.len.max());
            }
        });
        rows as f64 * var.cols as f64
    }

    /// The name and the shape of a matrix.
    fn text_of(&self, var: Var) -> String {
        format!("{} {}x{}", self.name_of(var), var.rows.max(), var.cols)
    }
}
