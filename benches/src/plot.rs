//! A chart of the time by number of containers.

use std::error::Error;
use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::prelude::{
    BLACK, BLUE, ChartBuilder, Circle, Color, EmptyElement, IntoDrawingArea, IntoFont, IntoLogRange, LineSeries,
    PointSeries, SVGBackend, Text, WHITE,
};

const SIZE: (u32, u32) = (720, 420);

/// Draws the times, given in microseconds. Both axes are logarithmic, so linear growth is a straight line.
///
/// # Errors
/// If the file cannot be written.
pub(crate) fn draw(times: &[(usize, f64)], path: &Path) -> Result<()> {
    draw_times(times, path).map_err(|error| anyhow!("cannot draw {}: {error}", path.display()))
}

#[expect(clippy::cast_precision_loss, reason = "there are few containers")]
fn draw_times(times: &[(usize, f64)], path: &Path) -> std::result::Result<(), Box<dyn Error>> {
    let points: Vec<(f64, f64)> = times.iter().map(|(containers, time)| (*containers as f64, time / 1000.0)).collect();
    let (Some(first), Some(last)) = (points.first(), points.last()) else {
        return Err("none of the measured scenarios has a number of containers".into());
    };
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .margin(16)
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d((first.0..last.0 * 1.6).log_scale(), (first.1 / 2.0..last.1 * 2.0).log_scale())?;
    chart
        .configure_mesh()
        .x_desc("containers in the Deployment")
        .y_desc("milliseconds for one admission")
        .light_line_style(BLACK.mix(0.06))
        .draw()?;
    chart.draw_series(LineSeries::new(points.iter().copied(), &BLUE))?;
    let labelled = |at: (f64, f64), size: i32, style| {
        EmptyElement::at(at)
            + Circle::new((0, 0), size, style)
            + Text::new(format!("{:.2} ms", at.1), (10, -4), ("sans-serif", 13).into_font())
    };
    chart.draw_series(PointSeries::of_element(points, 4, BLUE.filled(), &labelled))?;
    root.present()?;
    Ok(())
}
