//! What a run measured, for people and for scripts.

use serde::Serialize;

use super::BenchArgs;
use super::compare::Compared;
use super::load::Measured;
use crate::app::App;
use crate::error::CliError;

/// One run. The names are what scripts rely on.
#[derive(Serialize)]
pub(super) struct Report {
    op: String,
    face: String,
    clients: u16,
    size: u16,
    seconds: u64,
    ops_per_second: f64,
    p50_us: u32,
    p99_us: u32,
    p999_us: u32,
    errors: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    echo_ops_per_second: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    echo_p50_us: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fdatasync_p50_us: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    primitive_per_second: Option<f64>,
}

impl Report {
    pub(super) fn new(
        args: &BenchArgs,
        measured: &Measured,
        compared: Option<Compared>,
        primitive_per_second: Option<f64>,
    ) -> Self {
        Self {
            op: format!("{:?}", args.op),
            face: format!("{:?}", args.face),
            clients: args.clients,
            size: args.size,
            seconds: args.seconds,
            ops_per_second: measured.ops_per_second(),
            p50_us: measured.quantile_us(0.5),
            p99_us: measured.quantile_us(0.99),
            p999_us: measured.quantile_us(0.999),
            errors: measured.errors,
            first_error: measured.first_error.clone(),
            echo_ops_per_second: compared.as_ref().map(|c| c.echo.ops_per_second()),
            echo_p50_us: compared.as_ref().map(|c| c.echo.quantile_us(0.5)),
            fdatasync_p50_us: compared.as_ref().map(|c| c.fdatasync_p50_us),
            primitive_per_second,
        }
    }

    pub(super) fn print(&self, app: &App) -> Result<(), CliError> {
        app.show(self, |out| {
            writeln!(
                out,
                "{} over {} by {} clients, {} bytes, {} s",
                self.op, self.face, self.clients, self.size, self.seconds
            )?;
            writeln!(out, "throughput  {:.0} operations/s", self.ops_per_second)?;
            writeln!(
                out,
                "latency     p50 {} µs, p99 {} µs, p99.9 {} µs",
                self.p50_us, self.p99_us, self.p999_us
            )?;
            writeln!(out, "errors      {}", self.errors)?;
            if let Some(error) = &self.first_error {
                writeln!(out, "            first: {error}")?;
            }
            if let (Some(ops), Some(p50)) = (self.echo_ops_per_second, self.echo_p50_us) {
                let share = 100.0 * self.ops_per_second / ops.max(1.0);
                writeln!(
                    out,
                    "bare echo   {ops:.0} operations/s, p50 {p50} µs; {share:.0} % of it reached"
                )?;
            }
            if let Some(disk) = self.fdatasync_p50_us {
                writeln!(out, "disk        4 KiB append and fdatasync p50 {disk} µs")?;
            }
            if let Some(primitive) = self.primitive_per_second {
                writeln!(out, "primitive   {primitive:.0} operations/s on one processor")?;
            }
            Ok(())
        })
    }
}
