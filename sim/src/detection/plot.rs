//! The picture: what part of all trials has found its bug, over runs.

use plotters::prelude::{
    ChartBuilder, IntoDrawingArea, IntoFont, IntoLogRange, LineSeries, PathElement, RGBColor,
    SVGBackend, SeriesLabelPosition, ShapeStyle,
};

use super::{Arm, Record};

/// One line an arm.
///
/// # Errors
/// The drawing library's, which a picture in memory never has.
pub fn found_over_runs(record: &Record) -> Result<String, String> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        let word = |e: &dyn std::fmt::Display| e.to_string();
        let most = coordinate(record.trials.iter().map(|t| t.limit).max().unwrap_or(10).max(10));
        let mut chart = ChartBuilder::on(&area)
            .margin(12)
            .x_label_area_size(42)
            .y_label_area_size(52)
            .build_cartesian_2d((1.0..most).log_scale(), 0.0..100.0)
            .map_err(|e| word(&e))?;
        let font = ("sans-serif", 13).into_font().color(&INK);
        let thin = |color: RGBColor, width| ShapeStyle {
            color: color.into(),
            filled: false,
            stroke_width: width,
        };
        chart
            .configure_mesh()
            .axis_style(thin(INK, 1))
            .bold_line_style(thin(RULE, 1))
            .light_line_style(thin(RULE, 0))
            .max_light_lines(0)
            .y_labels(6)
            .x_label_formatter(&|runs| format!("{runs:.0}"))
            .y_label_formatter(&|part| format!("{part:.0} %"))
            .label_style(font.clone())
            .x_desc("runs")
            .y_desc("trials that have found their bug")
            .draw()
            .map_err(|e| word(&e))?;
        for (arm, color) in Arm::ALL.into_iter().zip(COLORS) {
            let steps = steps(record, arm);
            if steps.is_empty() {
                continue;
            }
            chart
                .draw_series(LineSeries::new(steps, thin(color, 2)))
                .map_err(|e| word(&e))?
                .label(arm.name())
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::LowerRight)
            .label_font(font)
            .border_style(thin(RULE, 1))
            .draw()
            .map_err(|e| word(&e))?;
        area.present().map_err(|e| word(&e))?;
    }
    Ok(svg)
}

/// Runs, and the percentage of an arm's trials that were done after so many: steps, because nothing is found between two runs.
fn steps(record: &Record, arm: Arm) -> Vec<(f64, f64)> {
    let trials: Vec<_> = record.trials.iter().filter(|t| t.arm == arm).collect();
    let Some(limit) = trials.iter().map(|t| t.limit).max() else { return Vec::new() };
    let mut found: Vec<u64> = trials.iter().filter(|t| t.found.is_some()).map(|t| t.runs).collect();
    found.sort_unstable();
    let part = |n: usize| 100.0 * coordinate(n as u64) / coordinate(trials.len() as u64);
    let mut steps = vec![(1.0, 0.0)];
    for (n, runs) in found.iter().enumerate() {
        steps.extend([(coordinate(*runs), part(n)), (coordinate(*runs), part(n + 1))]);
    }
    steps.push((coordinate(limit), part(found.len())));
    steps
}

/// The library's axes of whole 64-bit numbers overflow while they look for labels (0.3.7).
fn coordinate(n: u64) -> f64 {
    f64::from(u32::try_from(n).unwrap_or(u32::MAX))
}

const SIZE: (u32, u32) = (760, 340);
const INK: RGBColor = RGBColor(93, 103, 117);
const RULE: RGBColor = RGBColor(226, 228, 227);
/// Told apart by who sees few colours, too (Okabe and Ito).
const COLORS: [RGBColor; 4] =
    [RGBColor(0, 0, 0), RGBColor(230, 159, 0), RGBColor(86, 180, 233), RGBColor(0, 158, 115)];
