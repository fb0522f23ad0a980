//! Draws the growth of cost with size.

use std::fmt::Write as _;

use crate::parent::Row;

type Figure = (&'static str, fn(&Row) -> f64);

const FIGURES: [Figure; 3] = [
    ("memory per pod, bytes", |r| r.bytes_per_pod),
    ("CPU per pod, first list, microseconds", |r| r.list_us),
    ("CPU per update at 2,000/s, microseconds", |r| r.update_us),
];

const COLOURS: [&str; 3] = ["#b3261e", "#1f5fa8", "#1b7f3b"];

/// One panel per figure, the cost on a logarithmic scale.
pub fn draw(lines: &[(&str, Vec<(u32, Row)>)]) -> String {
    const WIDTH: f64 = 720.0;
    const PANEL: f64 = 230.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n",
        PANEL * FIGURES.len() as f64 + 60.0
    );
    for (n, (title, value)) in FIGURES.iter().enumerate() {
        let top = PANEL * n as f64 + 30.0;
        let (left, bottom, height, width) = (70.0, top + 170.0, 150.0, WIDTH - 110.0);
        let all = lines.iter().flat_map(|(_, points)| points.iter().map(|(_, row)| value(row)));
        let most = all.clone().fold(1.0, f64::max).log10().ceil();
        let least = all.fold(f64::MAX, f64::min).max(1.0).log10().floor();
        let y = |v: f64| bottom - (v.max(1.0).log10() - least) / (most - least).max(1.0) * height;
        let x = |pods: u32| left + f64::from(pods) / 150_000.0 * width;
        writeln!(svg, "<text x=\"{left}\" y=\"{}\" font-weight=\"bold\">{title}</text>", top + 8.0).unwrap();
        for decade in least as i32..=most as i32 {
            let v = 10f64.powi(decade);
            writeln!(
                svg,
                "<line x1=\"{left}\" x2=\"{}\" y1=\"{y0}\" y2=\"{y0}\" stroke=\"#ddd\"/><text x=\"{}\" y=\"{}\" text-anchor=\"end\">{v}</text>",
                left + width,
                left - 6.0,
                y(v) + 4.0,
                y0 = y(v),
            )
            .unwrap();
        }
        for pods in [10_000, 50_000, 100_000, 150_000] {
            writeln!(
                svg,
                "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{},000</text>",
                x(pods),
                bottom + 18.0,
                pods / 1000
            )
            .unwrap();
        }
        for ((_, points), colour) in lines.iter().zip(COLOURS) {
            let path: Vec<String> =
                points.iter().map(|(pods, row)| format!("{:.1},{:.1}", x(*pods), y(value(row)))).collect();
            writeln!(
                svg,
                "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" points=\"{}\"/>",
                path.join(" ")
            )
            .unwrap();
            for point in path {
                let (px, py) = point.split_once(',').unwrap();
                writeln!(svg, "<circle cx=\"{px}\" cy=\"{py}\" r=\"3\" fill=\"{colour}\"/>").unwrap();
            }
        }
    }
    let bottom = PANEL * FIGURES.len() as f64 + 40.0;
    for (n, ((name, _), colour)) in lines.iter().zip(COLOURS).enumerate() {
        let x = 50.0 + 215.0 * n as f64;
        writeln!(
            svg,
            "<rect x=\"{x}\" y=\"{}\" width=\"12\" height=\"12\" fill=\"{colour}\"/><text x=\"{}\" y=\"{}\">{name}</text>",
            bottom - 10.0,
            x + 18.0,
            bottom
        )
        .unwrap();
    }
    svg.push_str("</svg>\n");
    svg
}
