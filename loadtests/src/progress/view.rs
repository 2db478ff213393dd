//! Draws what is known so far.

use std::time::{Duration, Instant};

use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize};
use ratatui::symbols::Marker;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Axis, Block, Chart, Dataset, Gauge, GraphType, Paragraph, Row, Table};

use super::state::{Act, State};
use crate::report::wording::{millis, number, whole};
use crate::validity::Bound;

/// Of the two, as on the page.
const COLOURS: [Color; 2] = [Color::LightRed, Color::Cyan];
const MIB: f64 = 1_048_576.0;

/// The whole screen.
pub fn draw(frame: &mut Frame<'_>, state: &State, now: Instant) {
    let Some(act) = &state.act else {
        let [head, lines, foot] =
            Layout::vertical([Constraint::Length(1), Constraint::Min(1), Constraint::Length(1)])
                .areas(frame.area());
        frame.render_widget(Paragraph::new(title(state, None, now)), head);
        said(frame, state, lines);
        frame.render_widget(footer(state), foot);
        return;
    };
    let [head, gauge, figures, medians, validity, lines, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(5),
        Constraint::Fill(2),
        Constraint::Length(6),
        Constraint::Min(3),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    frame.render_widget(Paragraph::new(title(state, Some(act), now)), head);
    frame.render_widget(played(act), gauge);
    frame.render_widget(table(act), figures);
    chart(frame, act, medians);
    bounds(frame, act, validity);
    said(frame, state, lines);
    frame.render_widget(footer(state), foot);
}

fn title(state: &State, act: Option<&Act>, now: Instant) -> Line<'static> {
    let since = clock(now.saturating_duration_since(state.begun));
    let left =
        act.map_or(String::new(), |act| format!(", about {} left of this scenario", clock(act.left(now))));
    let doing = if state.interrupted { "interrupted, ending".to_owned() } else { state.doing.clone() };
    Line::from(vec![Span::from(doing).bold(), Span::from(format!("  {since}{left}")).dim()])
}

fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    format!("{}:{:02}", seconds / 60, seconds % 60)
}

fn played(act: &Act) -> Gauge<'static> {
    let (done, all) = act.slices;
    let share = done as f64 / all.max(1) as f64;
    Gauge::default()
        .ratio(share.clamp(0.0, 1.0))
        .label(format!("{done} of {all} {}", act.slices_are))
        .gauge_style(Style::new().fg(Color::Green).bg(Color::DarkGray))
}

fn table(act: &Act) -> Table<'static> {
    // Whoever is alone may be asked for more than it takes.
    let sixth = if act.sides.len() == 1 { "shed %" } else { "CPU µs/req" };
    let header = ["", "replies/s", "p50 ms", "p90 ms", "p99 ms", sixth, "CPU", "RSS MiB", "errors"];
    let row = |index: usize| Row::new(cells(act, index)).style(Style::new().fg(COLOURS[index]));
    let widths = [12, 10, 8, 8, 8, 11, 7, 8, 7].map(Constraint::Length);
    Table::new((0..act.sides.len()).map(row), widths)
        .header(Row::new(header).style(Style::new().add_modifier(Modifier::DIM)))
        .block(Block::bordered().title(" So far "))
}

fn cells(act: &Act, index: usize) -> Vec<String> {
    let (label, seen) = (&act.labels[index], &act.sides[index].seen);
    let at = |percentile| seen.latency.percentile(percentile).map_or("-".into(), |us| millis(us as f64));
    let told = |known: bool, text: String| if known { text } else { "-".to_owned() };
    let played = seen.length_ns > 0;
    let replies = seen.replies.max(1) as f64;
    let sixth = match act.sides.len() {
        1 => number(seen.shed as f64 * 100.0 / replies),
        _ => number(seen.cpu_ns as f64 / 1e3 / replies),
    };
    vec![
        label.clone(),
        told(played, number(seen.rate())),
        at(50.0),
        at(90.0),
        at(99.0),
        told(seen.replies > 0, sixth),
        told(played, format!("{:.0} %", seen.cpu_ns as f64 * 100.0 / seen.length_ns.max(1) as f64)),
        told(seen.rss_bytes > 0, number(seen.rss_bytes as f64 / MIB)),
        whole(seen.unexpected),
    ]
}

/// The medians by slice, where there is room.
fn chart(frame: &mut Frame<'_>, act: &Act, area: Rect) {
    let highest = act.sides.iter().flat_map(|side| &side.medians).map(|(_, ms)| *ms).fold(0.0, f64::max);
    let title = format!(" Median by {}, ms ", act.slices_are.trim_end_matches('s'));
    let block = Block::bordered().title(title);
    if area.height < 5 || highest <= 0.0 {
        frame.render_widget(block, area);
        return;
    }
    let pairs = (act.slices.1 / act.sides.len().max(1)).max(2) as f64;
    let dataset = |index: usize| {
        Dataset::default()
            .name(act.labels[index].clone())
            .marker(Marker::Braille)
            .graph_type(GraphType::Line)
            .style(Style::new().fg(COLOURS[index]))
            .data(&act.sides[index].medians)
    };
    let top = highest * 1.1;
    let chart = Chart::new((0..act.sides.len()).map(dataset).collect())
        .block(block)
        .x_axis(Axis::default().bounds([1.0, pairs]).labels(["1".to_owned(), format!("{pairs:.0}")]))
        .y_axis(Axis::default().bounds([0.0, top]).labels(["0".to_owned(), number(top)]));
    frame.render_widget(chart, area);
}

/// In two columns.
fn bounds(frame: &mut Frame<'_>, act: &Act, area: Rect) {
    let block = Block::bordered().title(" Validity so far ");
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let line = |bound: &Bound| {
        let (mark, colour) = if bound.held { ("✓", Color::Green) } else { ("✗", Color::Red) };
        let text = format!(" {}: {}", bound.name, bound.measured);
        let text = if bound.held { Span::from(text) } else { Span::from(text).fg(colour) };
        Line::from(vec![Span::from(mark).fg(colour), text])
    };
    let lines: Vec<_> = act.validity().iter().map(line).collect();
    let (left, right) = lines.split_at(lines.len().div_ceil(2));
    let columns: [Rect; 2] = Layout::horizontal([Constraint::Fill(1), Constraint::Fill(1)]).areas(inner);
    frame.render_widget(Paragraph::new(left.to_vec()), columns[0]);
    frame.render_widget(Paragraph::new(right.to_vec()), columns[1]);
}

/// The last lines that were said.
fn said(frame: &mut Frame<'_>, state: &State, area: Rect) {
    let rows = usize::from(area.height.saturating_sub(1));
    let from = state.lines.len().saturating_sub(rows);
    let lines: Vec<_> = state.lines[from..].iter().map(|line| Line::from(line.as_str())).collect();
    let block = Block::default().borders(ratatui::widgets::Borders::TOP).title(" Said ");
    frame.render_widget(Paragraph::new(lines).dim().block(block), area);
}

fn footer(state: &State) -> Paragraph<'static> {
    let text = if state.interrupted {
        "interrupted: ending the slice and reporting what there is; Ctrl-C ends at once"
    } else {
        "Ctrl-C ends the slice and reports what there is"
    };
    Paragraph::new(text).alignment(Alignment::Right).dim()
}
