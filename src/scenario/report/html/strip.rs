//! The strip of a load: every message is a mark at the moment it was intended; of several in one place the worst shows.
use crate::scenario::ledger::{Ledger, Row};
use crate::scenario::plan::Load;
use crate::scenario::verdict::{Fate, effective_qos, fate};

use super::axis::{Axis, WIDTH};
use super::lanes::short;

/// The height of a strip, in its own units.
pub(super) const HEIGHT: u32 = 24;
/// The narrowest place.
const NARROWEST: f64 = 2.0;
const WIDEST_MARK: f64 = 8.0;
/// A mark narrower than this could vanish on a narrow page.
const THIN: f64 = 4.0;

/// What became of a message, as it is shown; the later the worse. Each has a shape of its own beside its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mark {
    NotSent,
    Delivered,
    Unacknowledged,
    Refused,
    OutOfOrder,
    Duplicated,
    Late,
    Unexpected,
    Lost,
}

use Mark::{Delivered, Duplicated, Late, Lost, NotSent, OutOfOrder, Refused, Unacknowledged, Unexpected};

/// All of them, the best first.
pub(super) const MARKS: [Mark; 9] =
    [NotSent, Delivered, Unacknowledged, Refused, OutOfOrder, Duplicated, Late, Unexpected, Lost];

impl Mark {
    fn of(row: &Row, qos: u8) -> Self {
        match fate(row, qos) {
            Fate::NotSent => NotSent,
            Fate::NeverSentButReceived | Fate::Altered => Unexpected,
            Fate::Late => Late,
            Fate::Lost => Lost,
            Fate::Refused => Refused,
            Fate::Unacknowledged => Unacknowledged,
            Fate::Delivered if row.copies() > 1 => Duplicated,
            Fate::Delivered if row.out_of_order() => OutOfOrder,
            Fate::Delivered => Delivered,
        }
    }

    /// The class of its path, and the beginning of its words.
    pub(super) fn name(self) -> &'static str {
        match self {
            NotSent => "not-sent",
            Delivered => "delivered",
            Unacknowledged => "unacknowledged",
            Refused => "refused",
            OutOfOrder => "out-of-order",
            Duplicated => "duplicated",
            Late => "late",
            Unexpected => "unexpected",
            Lost => "lost",
        }
    }

    /// What the legend says.
    pub(super) fn words(self) -> &'static str {
        match self {
            NotSent => "not sent",
            Delivered => "delivered",
            Unacknowledged => "neither acknowledged nor received",
            Refused => "refused",
            OutOfOrder => "delivered out of order",
            Duplicated => "received more than once",
            Late => "after the settle limit",
            Unexpected => "altered, or never sent",
            Lost => "lost: acknowledged, never received",
        }
    }

    /// From where down to where it reaches.
    fn shape(self) -> &'static [(u32, u32)] {
        match self {
            NotSent => &[(23, 24)],
            Delivered => &[(12, 24)],
            Unacknowledged => &[(21, 24)],
            Refused => &[(18, 24)],
            OutOfOrder => &[(12, 24), (5, 9)],
            Duplicated => &[(12, 24), (1, 10)],
            Late => &[(1, 13)],
            Unexpected => &[(4, 10), (15, 21)],
            Lost => &[(0, 24)],
        }
    }

    /// It drawn from `x` on, so wide.
    pub(super) fn draw(self, x: f64, width: f64) -> String {
        let bar = |&(top, bottom): &(u32, u32)| format!("M{x:.1} {top}h{width:.1}v{}h-{width:.1}z", bottom - top);
        self.shape().iter().map(bar).collect()
    }
}

/// A place in a strip and the messages that stand there.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Place {
    x: f64,
    width: f64,
    first: u64,
    last: u64,
    counts: [u32; MARKS.len()],
}

impl Place {
    /// The worst mark of it.
    pub(super) fn worst(&self) -> Mark {
        MARKS.into_iter().rev().find(|mark| self.counts[*mark as usize] > 0).unwrap_or(NotSent)
    }
}

/// A load's messages in their places.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Strip {
    /// In order of time.
    pub(super) places: Vec<Place>,
    /// Messages that stand in one place at most.
    pub(super) crowd: u64,
}

impl Strip {
    pub(super) fn of(load: &Load, index: usize, ledger: &Ledger, axis: Axis) -> Self {
        let apart = WIDTH / axis.seconds as f64 / load.qps;
        let crowded = apart < NARROWEST;
        let mut places: Vec<Place> = Vec::new();
        for (seq, row) in ledger.rows(index) {
            let Some(intended) = load.intended(seq) else { continue };
            let x = axis.x(intended.as_secs_f64());
            let (x, width) = match crowded {
                true => ((x / NARROWEST).floor() * NARROWEST, NARROWEST),
                false => (x, (apart * 0.8).min(WIDEST_MARK)),
            };
            let mark = Mark::of(&row, effective_qos(load)) as usize;
            match places.last_mut().filter(|place| crowded && place.x == x) {
                Some(place) => {
                    place.last = seq;
                    place.counts[mark] += 1;
                }
                None => {
                    let mut counts = [0; MARKS.len()];
                    counts[mark] = 1;
                    places.push(Place { x, width, first: seq, last: seq, counts });
                }
            }
        }
        let crowd = places.iter().map(|place| place.last + 1 - place.first).max().unwrap_or(0);
        Self { places, crowd }
    }

    /// Messages of a class in all places.
    pub(super) fn count(&self, mark: Mark) -> u64 {
        self.places.iter().map(|place| u64::from(place.counts[mark as usize])).sum()
    }

    /// One path for each class, the worst on top.
    pub(super) fn paths(&self) -> String {
        let thin = if self.places.iter().any(|place| place.width < THIN) { " thin" } else { "" };
        let path = |mark: Mark| {
            let places = self.places.iter().filter(|place| place.worst() == mark);
            let d: String = places.map(|place| mark.draw(place.x, place.width)).collect();
            match d.is_empty() {
                true => d,
                false => {
                    format!(
                        "<path class=\"mark {}{thin}\" data-messages=\"{}\" d=\"{d}\"/>",
                        mark.name(),
                        self.count(mark)
                    )
                }
            }
        };
        MARKS.into_iter().map(path).collect()
    }

    /// `x,first,last,count*mark+...;` for each place, the worst mark first: what a person who points at it is told.
    pub(super) fn places(&self) -> String {
        let place = |place: &Place| {
            let counts = MARKS.into_iter().rev().filter(|mark| place.counts[*mark as usize] > 0);
            let counts: Vec<String> =
                counts.map(|mark| format!("{}*{}", place.counts[mark as usize], mark as usize)).collect();
            format!("{},{},{},{}", short(place.x), place.first, place.last, counts.join("+"))
        };
        self.places.iter().map(place).collect::<Vec<_>>().join(";")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::story::{Story, plan};

    fn strip(qps: u64, seconds: u64, change: impl FnOnce(Story) -> Story) -> Strip {
        let text = format!(
            "load:\n  - {{ topic: t, qps: {qps} }}\ntimeline:\n  - {{ at: 0s, do: publish, for: {seconds}s }}\n"
        );
        let plan = plan(&text);
        let ledger = change(Story::flawless(plan.clone())).ledger();
        let axis = Axis::of(&plan, &[]);
        Strip::of(&plan.loads[0], 0, &ledger, axis)
    }

    #[test]
    fn few_messages_stand_alone() {
        let strip = strip(5, 4, |story| story.never_received(0, 6..=8).received(3900, 0, 3));
        assert_eq!((strip.places.len(), strip.crowd), (20, 1));
        let marks: Vec<Mark> = strip.places.iter().map(Place::worst).take(10).collect();
        let all = [Delivered, Delivered, Delivered, Duplicated, Delivered, Delivered, Lost, Lost, Lost, Delivered];
        assert_eq!(marks, all);
    }

    #[test]
    fn a_single_lost_one_shows_among_a_hundred_thousand() {
        let strip = strip(2500, 40, |story| story.never_received(0, 51_234..=51_234));
        assert!(strip.places.len() <= 500 && strip.crowd <= 201, "{} {}", strip.places.len(), strip.crowd);
        let worst: Vec<Mark> = strip.places.iter().map(Place::worst).filter(|mark| *mark != Delivered).collect();
        assert_eq!(worst, [Lost]);
        assert_eq!((strip.count(Lost), strip.count(Delivered)), (1, 99_999));
        let paths = strip.paths();
        assert!(
            paths.len() < 12_000 && paths.contains("class=\"mark lost thin\" data-messages=\"1\""),
            "{}",
            paths.len()
        );
    }

    #[test]
    fn every_class_has_a_shape_of_its_own() {
        for (index, mark) in MARKS.into_iter().enumerate() {
            assert_eq!(mark as usize, index);
            assert!(MARKS.into_iter().all(|other| other == mark || other.shape() != mark.shape()));
        }
    }
}
