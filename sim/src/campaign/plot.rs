//! The picture of a report: distinct species over seeds, as SVG.

use plotters::prelude::{
    ChartBuilder, IntoDrawingArea, IntoFont, LineSeries, RGBColor, SVGBackend, ShapeStyle,
};

/// Species over seeds: steps, because nothing is met between two seeds. `points` as [`super::unseen::curve`] makes them.
///
/// # Errors
/// The drawing library's, which a picture in memory never has.
pub fn species_over_seeds(points: &[(u64, u64)]) -> Result<String, String> {
    let mut svg = String::new();
    let (seeds, species) = points.last().copied().unwrap_or((1, 1));
    let mut steps: Vec<(f64, f64)> = Vec::with_capacity(points.len() * 2);
    for &(seed, count) in points {
        let before = steps.last().map_or(0.0, |(_, count)| *count);
        steps.push((coordinate(seed), before));
        steps.push((coordinate(seed), coordinate(count)));
    }
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        let word = |e: &dyn std::fmt::Display| e.to_string();
        let mut chart = ChartBuilder::on(&area)
            .margin(12)
            .x_label_area_size(42)
            .y_label_area_size(52)
            .build_cartesian_2d(
                0.0..coordinate(seeds.max(1)),
                0.0..coordinate(species + species / 10 + 1),
            )
            .map_err(|e| word(&e))?;
        let font = ("sans-serif", 13).into_font().color(&INK);
        chart
            .configure_mesh()
            .axis_style(ShapeStyle { color: INK.into(), filled: false, stroke_width: 1 })
            .bold_line_style(ShapeStyle { color: RULE.into(), filled: false, stroke_width: 1 })
            .light_line_style(ShapeStyle { color: RULE.into(), filled: false, stroke_width: 0 })
            .max_light_lines(0)
            .x_labels(8)
            .y_labels(8)
            .x_label_formatter(&|seeds| format!("{seeds:.0}"))
            .y_label_formatter(&|species| format!("{species:.0}"))
            .label_style(font)
            .x_desc("seeds of each scenario")
            .y_desc("distinct meetings")
            .draw()
            .map_err(|e| word(&e))?;
        let line = ShapeStyle { color: LINE.into(), filled: false, stroke_width: 2 };
        chart.draw_series(LineSeries::new(steps, line)).map_err(|e| word(&e))?;
        area.present().map_err(|e| word(&e))?;
    }
    Ok(svg)
}

/// The library's axes of whole 64-bit numbers overflow while they look for labels (0.3.7).
fn coordinate(n: u64) -> f64 {
    f64::from(u32::try_from(n).unwrap_or(u32::MAX))
}

const SIZE: (u32, u32) = (760, 320);
const INK: RGBColor = RGBColor(93, 103, 117);
const RULE: RGBColor = RGBColor(226, 228, 227);
const LINE: RGBColor = RGBColor(47, 111, 208);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_one_svg_whatever_the_points() {
        for points in [&[(0, 0), (1, 3), (40, 4), (100, 4)][..], &[(0, 0), (1, 0)], &[]] {
            let svg = species_over_seeds(points).unwrap();
            assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"), "{svg}");
            assert!(svg.contains("distinct meetings"), "{svg}");
        }
    }
}
